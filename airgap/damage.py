"""Damage in words: which frames, bytes, files and volumes are not what was signed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from airgap import frames, limits, volumes
from airgap.errors import AirgapError, DamagedError
from airgap.frames import Table
from airgap.manifest import Manifest
from airgap.volumes import Bytes, Volume


def refusal(
    source: Bytes,
    table: Table,
    offsets: Sequence[int],
    manifest: Manifest,
    damaged: Sequence[int],
) -> DamagedError:
    """The refusal of a bundle some of whose frames do not match its table.

    Args:
        source: the bundle; where it has volumes they are told, and looked at once more.
        table: every frame's sizes and hash.
        offsets: where each frame starts, and where the last one ends.
        manifest: for the names of files.
        damaged: numbers of the damaged frames, ascending; at least one.
    """
    named = [
        f"frame {index} (bytes {offsets[index]} to {offsets[index + 1] - 1}"
        f"{_inside(source, offsets, index)}; "
        f"{', '.join(_files_in(manifest, table, index)) or 'tar headers alone'})"
        for index in damaged[: limits.NAMED]
    ]
    more = f", and {len(damaged) - len(named)} more" if len(damaged) > len(named) else ""
    told = "".join(f"; {one}" for one in _wrong_volumes(source, table, offsets, damaged))
    return DamagedError(
        f"'{source.name}' is not what was signed: {'; '.join(named)}{more}{told}",
        rule="frame.digest",
        hint=_hint(source, offsets, damaged),
    )


def volumes_of(source: Bytes, offsets: Sequence[int], frame: int) -> Iterator[Volume]:
    """The volumes that hold bytes of a frame; none where the bundle is one file."""
    for volume in source.volumes:
        if volume.start < offsets[frame + 1] and offsets[frame] < volume.end:
            yield volume


def _inside(source: Bytes, offsets: Sequence[int], frame: int) -> str:
    names = [f"'{volume.name}'" for volume in volumes_of(source, offsets, frame)]
    return f", in {' and '.join(names)}" if names else ""


def _files_in(manifest: Manifest, table: Table, frame: int) -> list[str]:
    """The files that a frame holds bytes of."""
    start = (frame - 1) * limits.FRAME_PLAIN
    end = start + table.slots[frame].plain
    return [
        f"'{file.path}'"
        for file in manifest.files
        if file.offset is not None and file.offset < end and file.offset + file.size > start
    ]


def _wrong_volumes(
    source: Bytes, table: Table, offsets: Sequence[int], damaged: Sequence[int]
) -> Iterator[str]:
    """The volumes of which nothing fits: another's in its place, or another bundle's."""
    bad = frozenset(damaged)
    wrong: dict[Volume, int] = {}
    several: set[Volume] = set()
    for volume in source.volumes:
        within = [
            frame
            for frame in range(1, len(table.slots))
            if volume.start <= offsets[frame] and offsets[frame + 1] <= volume.end
        ]
        if within and bad.issuperset(within):
            wrong[volume] = within[0]
            if len(within) > 1:  # one frame alone may be one flipped bit
                several.add(volume)
    for volume in wrong:
        owner = _owner(source, table, offsets, volume, wrong)
        if owner:
            yield f"'{volume.name}' holds what belongs into '{owner.name}'"
        elif volume in several:
            yield f"nothing in '{volume.name}' belongs there: it may be another bundle's"


def _owner(
    source: Bytes,
    table: Table,
    offsets: Sequence[int],
    volume: Volume,
    wrong: dict[Volume, int],
) -> Volume | None:
    """Whose bytes a volume holds: the one whose frame is found here, as far from the start."""
    for other, frame in wrong.items():
        at = volume.start + offsets[frame] - other.start
        size = table.slots[frame].stored
        if other is volume or at + size > volume.end:
            continue
        try:
            stored = volumes.read(source, at, size)
        except AirgapError:  # it is being explained why the bundle is refused, which stands
            continue
        if frames.digest(stored, table.hash) == table.slots[frame].digest:
            return other
    return None


def _hint(source: Bytes, offsets: Sequence[int], damaged: Sequence[int]) -> str:
    again = {
        volume.name: None  # each once, in order
        for frame in damaged
        for volume in volumes_of(source, offsets, frame)
    }
    what = ", ".join(again) or "the bundle"
    return f"copy {what} again; the medium or the copy is damaged, or someone changed it"
