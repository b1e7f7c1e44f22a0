"""Write a bundle: frames on all cores, then the table before them, then the head.

Every size is known before the first byte: the manifest names each file's, and the dialect gives
each header's. So the table's place is kept free, and nothing is written twice.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import IO, Protocol

from airgap import frames, limits, tar
from airgap.archive import SKIPPABLE_HEADER
from airgap.console import Advance, quietly
from airgap.envelope import Envelope
from airgap.errors import AirgapError, UsageError
from airgap.frames import Slot, Table
from airgap.manifest import File, Manifest
from airgap.parallel import in_order, own_buffer
from airgap.statement import Statement

Opener = Callable[[File], IO[bytes]]
"""Opens the bytes of a file of the manifest, seekable; for each frame anew, from any thread."""


class Output(Protocol):
    """Where a bundle is written: an empty file, or volumes."""

    def seek(self, offset: int, /) -> int:
        """Go to an offset."""
        ...

    def write(self, data: bytes, /) -> int:
        """Write all of `data` there."""
        ...


def write_bundle(
    stream: Output,
    manifest: Manifest,
    open_file: Opener,
    algorithm: str,
    advance: Advance = quietly,
    *,
    beside: Mapping[str, bytes] | None = None,
) -> Statement:
    """Write a whole, unsigned bundle.

    Args:
        stream: empty; nobody else may see it before its contents were checked.
        manifest: with the offsets that `tar.members` gives.
        open_file: opens each file's bytes; their digests are checked when the bundle is read
            back, not here.
        algorithm: the hash of table, frames and manifest.
        advance: told the plain bytes that are done.
        beside: files beside the bundle that are signed for as well, by their subject's name.

    Returns:
        The statement, which the head now holds without any signature.

    Raises:
        AirgapError: a file has another size than the manifest says.
        UsageError: the bundle would exceed a bound of the format.
    """
    content = manifest.to_bytes()
    first = tar.manifest_member(content, manifest.created)
    count = 1 + -(-tar.payload_size(manifest.carried, manifest.created) // limits.FRAME_PLAIN)
    _check_bounds(content, manifest, count)
    table_size = frames.table_size(algorithm, count)
    stream.seek(limits.HEAD_SLOT + SKIPPABLE_HEADER + table_size)
    payload, slots = hashlib.new(algorithm), []
    for slot, stored in in_order(_frames(first, manifest, open_file, algorithm)):
        slots.append(slot)
        payload.update(stored)
        stream.write(stored)
        advance(slot.plain)
    table = Table(algorithm, tuple(slots))
    table_bytes = table.to_bytes()
    statement = Statement(
        subjects={
            "manifest.json": frames.digest(content, algorithm).hex(),
            "payload": payload.hexdigest(),
            "table": frames.digest(table_bytes, algorithm).hex(),
            **{name: frames.digest(one, algorithm).hex() for name, one in (beside or {}).items()},
        },
        name=manifest.name,
        version=manifest.version,
        sequence=manifest.sequence,
        created=manifest.created,
        expires=manifest.expires,
        base=manifest.base,
        hash=algorithm,
        table_size=table_size,
        manifest_size=len(content),
        frames=count,
        plain_total=table.plain_total,
    )
    stream.seek(0)
    stream.write(Envelope(statement.to_bytes(), ()).to_head())
    stream.write(frames.skippable(frames.TABLE_MAGIC, table_bytes))
    return statement


def write_head(stream: IO[bytes], envelope: Envelope) -> None:
    """Put an envelope into a bundle's slot; not one byte after it changes."""
    stream.seek(0)
    stream.write(envelope.to_head())
    stream.flush()
    os.fsync(stream.fileno())


@dataclass(frozen=True)
class _Part:
    """`size` bytes of the payload, which start at `start` of a file or of a header or pad."""

    whole: File | bytes
    start: int
    size: int


def _frames(
    first: bytes, manifest: Manifest, open_file: Opener, algorithm: str
) -> Iterator[Callable[[], tuple[Slot, bytes]]]:
    """The work of each frame. Every thread reads for itself: this one has hashing and writing."""
    yield partial(_frame, first, algorithm)
    for parts in _cut(_payload(manifest)):
        yield partial(_frame_of, parts, open_file, algorithm)


def _payload(manifest: Manifest) -> Iterator[_Part]:
    """The tar after the manifest's member."""
    for header, file in tar.members(manifest.carried, manifest.created):
        padding = tar.padding(file.size)
        yield _Part(header, 0, len(header))
        yield _Part(file, 0, file.size)
        yield _Part(padding, 0, len(padding))
    yield _Part(tar.END, 0, len(tar.END))


def _cut(parts: Iterator[_Part]) -> Iterator[tuple[_Part, ...]]:
    """The same bytes in frames, each exactly full but the last."""
    frame: list[_Part] = []
    room = limits.FRAME_PLAIN
    for part in parts:
        rest = part
        while rest.size:
            taken = replace(rest, size=min(rest.size, room))
            rest = replace(rest, start=rest.start + taken.size, size=rest.size - taken.size)
            frame.append(taken)
            room -= taken.size
            if not room:
                yield tuple(frame)
                frame, room = [], limits.FRAME_PLAIN
    if frame:
        yield tuple(frame)


def _frame_of(parts: tuple[_Part, ...], open_file: Opener, algorithm: str) -> tuple[Slot, bytes]:
    """Read the parts of one frame and compress them."""
    plain = own_buffer(sum(part.size for part in parts))
    at = 0
    for part in parts:
        _read(part, open_file, plain[at : at + part.size])
        at += part.size
    return _frame(plain, algorithm)


def _frame(plain: bytes | memoryview, algorithm: str) -> tuple[Slot, bytes]:
    stored = frames.compress(plain)
    return Slot(len(stored), len(plain), frames.digest(stored, algorithm)), stored


def _read(part: _Part, open_file: Opener, into: memoryview) -> None:
    """Fill `into`; at a file's end, look that it is the end."""
    if isinstance(part.whole, bytes):
        into[:] = part.whole[part.start : part.start + part.size]
        return
    with open_file(part.whole) as stream:
        stream.seek(part.start)
        while into:
            count = stream.readinto(into)  # type: ignore[attr-defined]  # typeshed#5931
            if not count:
                raise _wrong_size(part.whole, "fewer")
            into = into[count:]
        if part.start + part.size == part.whole.size and stream.read(1):
            raise _wrong_size(part.whole, "more")


def _wrong_size(file: File, found: str) -> AirgapError:
    return AirgapError(
        f"'{file.path}' has {found} bytes than the {file.size} that the lock names",
        hint="airgap fetch, which checks the download cache and loads again what is wrong",
    )


def _check_bounds(content: bytes, manifest: Manifest, count: int) -> None:
    """What a reader would refuse is not written."""
    for what, size, most in (
        ("bytes of manifest.json", len(content), limits.MANIFEST_SIZE),
        ("files", len(manifest.files), limits.FILES),
        ("frames", count, limits.FRAMES),
    ):
        if size > most:
            raise UsageError(
                f"the bundle would have {size} {what}, and the format allows {most}",
                hint="split the profile into several bundles",
            )
