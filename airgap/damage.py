"""Damage in words: which frames, bytes, files and volumes are not what was signed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

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
    wrong = _wrong_volumes(source, table, offsets, damaged)
    told = "".join(f"{one}; " for one in _told(source, table, offsets, wrong))
    again = ", ".join(copy_again(source, table, offsets, damaged)) or "the bundle"
    return DamagedError(
        f"'{source.name}' is not what was signed: {told}{'; '.join(named)}{more}",
        rule="frame.digest",
        hint=f"copy {again} again; the medium or the copy is damaged, or someone changed it",
    )


def copy_again(
    source: Bytes, table: Table, offsets: Sequence[int], damaged: Sequence[int]
) -> list[str]:
    """The volumes to copy again; none where the bundle is one file.

    A frame that reaches into a volume of which nothing fits says nothing against its neighbour.
    """
    wrong = _wrong_volumes(source, table, offsets, damaged)
    again = set(wrong)
    for frame in damaged:
        touched = list(volumes_of(source, offsets, frame))
        if not any(volume in wrong for volume in touched):
            again.update(touched)
    return [volume.name for volume in source.volumes if volume in again]


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
) -> dict[Volume, list[int]]:
    """The volumes of which no frame fits, with the frames that lie inside: at least one."""
    bad = frozenset(damaged)
    wrong = {}
    for volume in source.volumes:
        inside = [
            frame
            for frame in range(1, len(table.slots))
            if volume.start <= offsets[frame] and offsets[frame + 1] <= volume.end
        ]
        if inside and bad.issuperset(inside):
            wrong[volume] = inside
    return wrong


def _told(
    source: Bytes, table: Table, offsets: Sequence[int], wrong: Mapping[Volume, Sequence[int]]
) -> Iterator[str]:
    """What volumes hold of which nothing fits: another one's bytes, or another bundle's."""
    for volume, inside in wrong.items():
        if owner := _owner(source, table, offsets, volume, wrong):
            yield f"'{volume.name}' holds what belongs into '{owner.name}'"
        elif len(inside) > 1:  # one frame alone may be one flipped bit
            yield f"nothing in '{volume.name}' belongs there: it may be another bundle's"


def _owner(
    source: Bytes,
    table: Table,
    offsets: Sequence[int],
    volume: Volume,
    wrong: Mapping[Volume, Sequence[int]],
) -> Volume | None:
    """Whose bytes a volume holds: the one whose frame is found here, as far from the start."""
    for other, (frame, *_more) in wrong.items():
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
