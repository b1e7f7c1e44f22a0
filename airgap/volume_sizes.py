"""How large each volume of a set must be: all have one size, but the last, which holds the rest.

Where the bundle ends only its own table tells. Until then the size is a guess, and no volume is
refused for its own: one that looks too small may be the last, and what follows it left over from
another cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from airgap import limits

_FEW: Final = 3


@dataclass(frozen=True)
class Wrong:
    """A volume, numbered from 1, that has another size than it must have, in bytes."""

    number: int
    found: int
    expected: int


@dataclass(frozen=True)
class Fit:
    """How far the volumes that are there are those of a bundle that ends where its table says.

    Attributes:
        each: bytes of every volume but the last.
        count: how many volumes the bundle has.
        wrong: volumes of another size.
        missing: numbers of those that are not there; without end where a forged head claims so.
        extra: numbers of those that lie after the bundle's end.
    """

    each: int
    count: int
    wrong: tuple[Wrong, ...]
    missing: Sequence[int]
    extra: tuple[int, ...]


def guess(sizes: Sequence[int | None]) -> int:
    """The size that most volumes have, the last left out; the first of them where it is a draw.

    Args:
        sizes: bytes of each volume in order, None for one that is not there; the first is there.
    """
    return _most_common(sizes)[0]


def fit(sizes: Sequence[int | None], end: int) -> Fit:
    """The cut that the fewest volumes contradict.

    Args:
        sizes: as `guess`; the first has room for the head.
        end: bytes of the bundle.
    """
    found = [_of_cut(sizes, end, each) for each in dict.fromkeys(_candidates(sizes, end))]
    return min(found, key=lambda one: len(one.missing) + len(one.wrong))


def _most_common(sizes: Sequence[int | None]) -> list[int]:
    """A few sizes that volumes have, the last left out: with three, one cut short is a draw."""
    full = [size for size in sizes[:-1] if size is not None and size >= limits.HEAD_SLOT]
    return [size for size, _count in Counter(full).most_common(_FEW)] or [sizes[0] or 0]


def _candidates(sizes: Sequence[int | None], end: int) -> Iterator[int]:
    """What most have; the first's, where leftovers are most; what a last one that is sound leaves.

    The last is never larger than the others: where it looks so, the others are cut short.
    """
    most, last, others = _most_common(sizes), sizes[-1] or 0, len(sizes) - 1
    yield from most
    yield sizes[0] or 0
    if last > most[0] and end - last >= others * last and (end - last) % others == 0:
        yield (end - last) // others


def _of_cut(sizes: Sequence[int | None], end: int, each: int) -> Fit:
    needed = -(-end // each)
    expected = [min(each, end - start) for start in range(0, min(needed, len(sizes)) * each, each)]
    pairs = list(enumerate(zip(sizes, expected, strict=False), start=1))
    gaps = [number for number, (size, _must) in pairs if size is None]
    tail = range(len(sizes) + 1, needed + 1)
    return Fit(
        each,
        needed,
        tuple(
            Wrong(number, size, must)
            for number, (size, must) in pairs
            if size is not None and size != must
        ),
        [*gaps, *tail[: limits.VOLUMES]] if gaps else tail,
        tuple(
            number
            for number, size in enumerate(sizes[needed:], start=needed + 1)
            if size is not None
        ),
    )
