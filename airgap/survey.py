"""What is wrong with a bundle: all of it that can be seen at once, and what to do about it.

`airgap.verify` stops at the first thing that is wrong; who has a bad medium in hand wants to copy
once. The bundle is judged by its own statement, which nobody has authenticated here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from airgap import damage, limits, volume_names, volumes
from airgap.archive import OpenBundle, open_bundle, read_head
from airgap.console import Advance, quietly
from airgap.errors import AirgapError, DamagedError, RefusedError
from airgap.statement import Statement
from airgap.volume_names import Files, volume_name
from airgap.volume_sizes import Fit
from airgap.volumes import OpenFile, Volume, VolumeSet


@dataclass(frozen=True)
class Range:
    """Damaged bytes of one file: from `start` to `end`, that one included."""

    file: str
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.file}, bytes {self.start} to {self.end}"


@dataclass(frozen=True)
class Survey:
    """What is wrong with a bundle.

    Attributes:
        defects: for a person: volumes that are missing or of another size, a damaged head, ….
        ranges: damaged bytes of files that have the size that they should have.
        again: names of files to copy again.
        extra: names of volumes after the bundle's end; they are no damage of it.
        rule: the one by which `airgap verify` refuses it.
        otherwise: what a person does where it cannot be mended.
    """

    defects: tuple[str, ...]
    ranges: tuple[Range, ...]
    again: tuple[str, ...]
    extra: tuple[str, ...]
    rule: str
    otherwise: str

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.again or self.extra)

    @property
    def told(self) -> tuple[str, ...]:
        """All that is wrong, in words."""
        return (*self.defects, *map(str, self.ranges))


def survey(files: Files, advance: Advance = quietly) -> Survey:
    """Look at every byte of a bundle, and go on past what is damaged or missing.

    Raises:
        DamagedError: the file with the head is missing, or has no room for it.
        AirgapError: a file cannot be opened.
    """
    with volumes.opened_files(files) as source:
        remains = Remains(files, source)
        try:
            envelope = read_head(remains)
            bundle = open_bundle(remains, envelope, Statement.parse(envelope.statement))
        except RefusedError as error:
            return _not_opened(remains, error)
        return _of_frames(remains, bundle, bundle.damaged(advance))


class Remains:
    """What a medium still gives of a bundle: zeros where it gives nothing, which no digest fits.

    Attributes:
        files: of the bundle.
        reached: where the bytes end that were asked for so far.
        defect: what `expect_end` would have refused.
        fit: how the volumes fit, once the table has told where the bundle ends.
    """

    def __init__(self, files: Files, source: OpenFile | VolumeSet) -> None:
        self.name, self.size, self.files = source.name, source.size, files
        self.volumes: Sequence[Volume] = source.volumes
        self.reached = 0
        self.defect: DamagedError | None = None
        self.fit: Fit | None = None
        self._source = source

    @property
    def misfits(self) -> frozenset[int]:
        """Numbers of the volumes that are missing or have another size."""
        if self.fit is None:
            return frozenset(self.files.gaps)
        missing = self.fit.missing[: limits.VOLUMES]  # more than that have no name
        return frozenset((*missing, *(one.number for one in self.fit.wrong)))

    def reads_misfit(self, start: int, end: int) -> bool:
        """Whether some of the bytes [start, end) belong into such a volume."""
        if self.fit is None:
            return False
        touched = range(start // self.fit.each + 1, (end - 1) // self.fit.each + 2)
        return not self.misfits.isdisjoint(touched)

    def read_into(self, offset: int, buffer: bytearray | memoryview) -> None:
        """Fill `buffer` with the bytes at `offset`, or with zeros."""
        self.reached = max(self.reached, offset + len(buffer))
        try:
            self._source.read_into(offset, buffer)
        except AirgapError:  # a digest will not fit, and this is told with what it is the digest of
            memoryview(buffer)[:] = bytes(len(buffer))

    def expect_end(self, offset: int) -> None:
        """Keep what is wrong with the end, and with the volumes before it."""
        if isinstance(self._source, VolumeSet):
            self.fit = self._source.fit(offset)
            self.volumes = self._source.volumes
        try:
            self._source.expect_end(offset)
        except DamagedError as error:
            self.defect = error

    def read_to_end(self, offset: int) -> None:
        """Nothing more: `expect_end` has judged it."""


def _not_opened(remains: Remains, error: RefusedError) -> Survey:
    """Head, table or manifest are damaged: they lie in what was read so far."""
    refusals = [error]
    if remains.defect:
        refusals.append(remains.defect)
    elif remains.files.gaps:
        files = remains.files
        refusals.append(volume_names.missing(files.name, files.gaps, str(files.folder)))
    again = [one.name for one in remains.volumes if one.start < remains.reached]
    return _surveyed(remains, refusals, again)


def _of_frames(remains: Remains, bundle: OpenBundle, damaged: Sequence[int]) -> Survey:
    """Damaged frames; one that a missing volume has damaged says nothing against its neighbour."""
    at = bundle.offsets
    telling = [one for one in damaged if not remains.reads_misfit(at[one], at[one + 1])]
    again = damage.copy_again(remains, bundle.table, at, telling)
    refusals = [remains.defect] if remains.defect else []
    return _surveyed(remains, refusals, again, tuple(_ranges(remains, at, telling)))


def _surveyed(
    remains: Remains,
    refusals: Sequence[RefusedError],
    again: Iterable[str],
    ranges: tuple[Range, ...] = (),
) -> Survey:
    """Put together what was found, with what to do about it."""
    files, rule = remains.files, refusals[0].rule if refusals else "frame.digest"
    names = sorted({*again, *_names(files, remains.misfits)})
    if not files.is_split and (refusals or ranges):
        names = [files.name]
    extra = _names(files, remains.fit.extra if remains.fit else ())
    do = [f"copy again: {', '.join(names)}"] if names else []
    if rule in {"head.magic", "statement.form"}:
        do.append("if it stays so, airgap --version: a newer bundle needs a newer airgap")
    if extra:
        do.append(f"take {', '.join(extra)} away: another bundle's, or nobody's")
    defects = tuple(one.message for one in refusals)
    return Survey(defects, ranges, tuple(names), tuple(extra), rule, "; ".join(do))


def _names(files: Files, numbers: Iterable[int]) -> list[str]:
    return [volume_name(files.name, number) for number in sorted(numbers)]


def _ranges(remains: Remains, offsets: Sequence[int], frames: Sequence[int]) -> Iterator[Range]:
    """Where damaged frames lie, in the files' own bytes; neighbours as one."""
    spans: list[tuple[int, int]] = []
    for frame in frames:
        start, end = offsets[frame], offsets[frame + 1]
        if spans and spans[-1][1] == start:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    for volume in remains.volumes or (Volume(remains.files.name, 0, offsets[-1]),):
        for start, end in spans:
            first, last = max(start, volume.start), min(end, volume.end)
            if first < last:
                yield Range(volume.name, first - volume.start, last - volume.start - 1)
