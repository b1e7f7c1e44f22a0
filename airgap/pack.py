"""Write a bundle: frames on all cores, then the table before them, then the head.

Every size is known before the first byte: the manifest names each file's, and the dialect gives
each header's. So the table's place is kept free, and nothing is written twice.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO

from airgap import frames, limits, tar
from airgap.archive import SKIPPABLE_HEADER
from airgap.console import Advance, quietly
from airgap.digest import CHUNK
from airgap.envelope import Envelope
from airgap.errors import AirgapError, UsageError
from airgap.frames import Slot, Table
from airgap.manifest import File, Manifest
from airgap.parallel import in_order
from airgap.statement import Statement

Opener = Callable[[File], IO[bytes]]
"""Opens the bytes of a file of the manifest."""


def write_bundle(
    stream: IO[bytes],
    manifest: Manifest,
    open_file: Opener,
    algorithm: str,
    advance: Advance = quietly,
) -> Statement:
    """Write a whole, unsigned bundle.

    Args:
        stream: an empty, seekable file; nobody else may see it before its contents were checked.
        manifest: with the offsets that `tar.members` gives.
        open_file: opens each file's bytes; their digests are checked when the bundle is read
            back, not here.
        algorithm: the hash of table, frames and manifest.
        advance: told the plain bytes that are done.

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
    for plain_size, stored in in_order(_compressions(first, manifest, open_file)):
        slots.append(Slot(len(stored), plain_size, frames.digest(stored, algorithm)))
        payload.update(stored)
        stream.write(stored)
        advance(plain_size)
    table = Table(algorithm, tuple(slots))
    table_bytes = table.to_bytes()
    statement = Statement(
        subjects={
            "manifest.json": frames.digest(content, algorithm).hex(),
            "payload": payload.hexdigest(),
            "table": frames.digest(table_bytes, algorithm).hex(),
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


def _compressions(
    first: bytes, manifest: Manifest, open_file: Opener
) -> Iterator[Callable[[], tuple[int, bytes]]]:
    yield partial(_compressed, first)
    for plain in _cut(_payload(manifest, open_file)):
        yield partial(_compressed, plain)


def _compressed(plain: bytes | bytearray) -> tuple[int, bytes]:
    return len(plain), frames.compress(plain)


def _cut(pieces: Iterator[bytes]) -> Iterator[bytearray]:
    """The same bytes in pieces of exactly a frame; the last has what remains."""
    frame = bytearray()
    for piece in pieces:
        view = memoryview(piece)
        while view:
            room = limits.FRAME_PLAIN - len(frame)
            frame += view[:room]
            view = view[room:]
            if len(frame) == limits.FRAME_PLAIN:
                yield frame
                frame = bytearray()
    if frame:
        yield frame


def _payload(manifest: Manifest, open_file: Opener) -> Iterator[bytes]:
    """The tar after the manifest's member."""
    for header, file in tar.members(manifest.carried, manifest.created):
        yield header
        with open_file(file) as stream:
            yield from _exactly(stream, file)
        yield tar.padding(file.size)
    yield tar.END


def _exactly(stream: IO[bytes], file: File) -> Iterator[bytes]:
    left = file.size
    while chunk := stream.read(min(CHUNK, left + 1)):
        left -= len(chunk)
        if left < 0:
            break
        yield chunk
    if left:
        found = "more" if left < 0 else "fewer"
        raise AirgapError(
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
