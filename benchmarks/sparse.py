"""A sound bundle of any size that takes little disk: its frames are stored zeros, left as holes.

Nothing about it is special to a reader, who reads and hashes every byte; only the disk is spared.

python benchmarks/sparse.py FOLDER BYTES BYTES_OF_A_VOLUME
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from airgap import frames, limits, tar
from airgap.archive import SKIPPABLE_HEADER
from airgap.envelope import Envelope
from airgap.frames import Slot, Table
from airgap.manifest import File, Manifest
from airgap.statement import Statement
from airgap.volume_names import locate
from bundler.volume_writer import writing

CREATED = "2026-01-02T03:04:05Z"
BLOCK = 128 * limits.KIB
"""The most that one block of a zstd frame holds (RFC 8878, 3.1.1.2)."""


STEP = 4096
"""Bytes that are left out together: a page."""


def write(path: Path, size: int, each: int | None = None) -> Path:
    """Write a bundle of one file of `size` zero bytes; returns the file with its head.

    Args:
        path: `NAME-VERSION.tar.zst`, which is not there.
        size: bytes of the file; the bundle is some thousandths larger.
        each: bytes of a volume, None for one file.
    """
    manifest = _manifest(size)
    content = manifest.to_bytes()
    plain_first = tar.manifest_member(content, CREATED)
    first = frames.compress(plain_first)
    payload = list(_payload(manifest))
    slots = [Slot(len(first), len(plain_first), frames.digest(first, "sha256"))]
    known: dict[int, tuple[Slot, bytes]] = {}
    total = hashlib.sha256(first)
    for plain in payload:
        if id(plain) not in known:
            stored = _stored(plain)
            digest = frames.digest(stored, "sha256")
            known[id(plain)] = Slot(len(stored), len(plain), digest), stored
        slots.append(known[id(plain)][0])
        total.update(known[id(plain)][1])
    table = Table("sha256", tuple(slots))
    statement = _statement(manifest, content, table, total.hexdigest())
    with writing(path, each) as output:
        output.write(Envelope(statement.to_bytes(), ()).to_head())
        output.write(frames.skippable(frames.TABLE_MAGIC, table.to_bytes()))
        output.write(first)
        spoken = {plain: _spoken(stored) for plain, (_slot, stored) in known.items()}
        at = limits.HEAD_SLOT + SKIPPABLE_HEADER + statement.table_size + len(first)
        for plain, slot in zip(payload, slots[1:], strict=True):
            for start, piece in spoken[id(plain)]:
                output.seek(at + start)
                output.write(piece)
            at += slot.stored
        output.seek(at - 1)
        output.write(b"\0")
    for volume in locate(output.first).in_order()[:-1]:
        os.truncate(volume, each or 0)  # a hole at its end
    return output.first


def _manifest(size: int) -> Manifest:
    zeros = File("samples/zeros.bin", size, _sha256_of_zeros(size), None, 0, None)
    (header_and_file,) = tar.members([zeros], CREATED)
    return Manifest(
        name="sparse",
        version="1.0.0",
        sequence=1,
        created=CREATED,
        expires=None,
        base=None,
        profile="sparse",
        profile_sha256="0" * 64,
        lock_sha256="0" * 64,
        built_with={},
        platform="any",
        features={},
        artifacts=(),
        files=(header_and_file[1],),
        derived=(),
        built=(),
        scan=None,
        dry_load=None,
    )


def _sha256_of_zeros(size: int) -> str:
    digest, zeros = hashlib.sha256(), bytes(limits.FRAME_PLAIN)
    for _ in range(size // len(zeros)):
        digest.update(zeros)
    digest.update(zeros[: size % len(zeros)])
    return digest.hexdigest()


def _payload(manifest: Manifest) -> Iterator[bytes]:
    """The payload's frames, plain: full ones of zeros are one object."""
    ((header, _file),) = tar.members(manifest.files, CREATED)
    left = tar.payload_size(manifest.carried, CREATED)
    start = header.ljust(min(left, limits.FRAME_PLAIN), b"\0")
    yield start
    left -= len(start)
    zeros = bytes(limits.FRAME_PLAIN)
    while left > len(zeros):
        yield zeros
        left -= len(zeros)
    if left:
        yield bytes(left)


def _stored(plain: bytes) -> bytes:
    """A zstd frame of raw blocks."""
    pieces = [frames.FRAME_MAGIC, b"\xa0", len(plain).to_bytes(4, "little")]
    for at in range(0, len(plain), BLOCK):
        piece = plain[at : at + BLOCK]
        last = at + BLOCK >= len(plain)
        pieces += [(len(piece) << 3 | last).to_bytes(3, "little"), piece]
    return b"".join(pieces)


def _spoken(stored: bytes) -> list[tuple[int, bytes]]:
    """The parts of a frame that are not zeros, with where they start in it."""
    pieces = ((at, stored[at : at + STEP]) for at in range(0, len(stored), STEP))
    return [(at, piece) for at, piece in pieces if piece.strip(b"\0")]


def _statement(manifest: Manifest, content: bytes, table: Table, payload: str) -> Statement:
    return Statement(
        subjects={
            "manifest.json": hashlib.sha256(content).hexdigest(),
            "payload": payload,
            "table": hashlib.sha256(table.to_bytes()).hexdigest(),
        },
        name=manifest.name,
        version=manifest.version,
        sequence=manifest.sequence,
        created=CREATED,
        expires=None,
        base=None,
        hash="sha256",
        table_size=len(table.to_bytes()),
        manifest_size=len(content),
        frames=len(table.slots),
        plain_total=table.plain_total,
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]) / "sparse-1.0.0.tar.zst", int(sys.argv[2]), int(sys.argv[3]) or None)
