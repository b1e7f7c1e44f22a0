"""One step of a verb in a process of its own, for what no verb does alone.

inside.py pack PROFILE OUT     pack and flush to the disk; no self-check, no signature
inside.py frames BUNDLE        check all frames; prints the seconds without Python's start
inside.py hash FILE            hash a file with one thread; prints the seconds likewise
inside.py sparse BUNDLE SIZE KEY   make a signed bundle of SIZE bytes of holes
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import time
from pathlib import Path
from typing import IO

from airgap import frames, limits, pack, signing, tar, volumes
from airgap.archive import SKIPPABLE_HEADER, open_bundle, read_head
from airgap.envelope import Envelope
from airgap.frames import Slot, Table
from airgap.manifest import File, Manifest
from airgap.statement import Statement
from bundler.compose import compose
from bundler.lock import read_lock
from bundler.profile import read_profile
from bundler.sources.environment import access_for


def pack_profile(profile: str, out: str) -> None:
    """What `airgap build` does between fetching and checking."""
    path, wanted = read_profile(profile)
    lock = read_lock(path, wanted)
    cache = access_for(path).cache
    cached = {file.sha256: cache.path(file.sha256) for _, file in lock.files() if file.sha256}
    manifest, contents = compose(wanted, lock, cached)

    def opened(file: File) -> IO[bytes]:
        content = contents[file.path]
        return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")

    with Path(out).open("x+b") as stream:
        pack.write_bundle(stream, manifest, opened, wanted.hash)
        stream.flush()
        os.fsync(stream.fileno())


def check_frames(bundle: str) -> None:
    """What `airgap verify` does after it has decided whom to believe."""
    with volumes.opened(Path(bundle)) as source:
        envelope = read_head(source)
        opened = open_bundle(source, envelope, Statement.parse(envelope.statement))
        start = time.perf_counter()
        opened.check_frames()
        print(time.perf_counter() - start)


def hash_file(path: str) -> None:
    """One thread of hashlib over the same bytes, read as fast as hashlib can."""
    start = time.perf_counter()
    with Path(path).open("rb") as stream:
        hashlib.file_digest(stream, "sha256").hexdigest()
    print(time.perf_counter() - start)


def make_sparse(bundle: str, size: int, key: str) -> None:
    """A bundle whose frames are holes of a file: larger than the disk, and true to its table.

    Its frames are not in the format, which `airgap verify` does not ask: it hashes what lies
    there. That its contents are believed nowhere else, `--deep` and mount see to.
    """
    created = "2026-01-01T00:00:00Z"
    file = File("samples/holes.bin", size, "0" * 64, None, 0, None)
    files = tuple(laid_out for _, laid_out in tar.members((file,), created))
    digests = {"profile_sha256": "0" * 64, "lock_sha256": "0" * 64}
    manifest = Manifest(
        name="holes", version="1.0.0", sequence=1, created=created, expires=None, base=None,
        profile="holes", **digests, built_with={}, platform="any",
        features={"diarization_enabled": False}, artifacts=(), files=files, derived=(), built=(),
        scan=None, dry_load=None,
    )  # fmt: skip
    content = manifest.to_bytes()
    first = frames.compress(tar.manifest_member(content, created))
    slots = [Slot(len(first), len(tar.manifest_member(content, created)), _sha256(first))]
    full, rest = divmod(tar.payload_size(files, created), limits.FRAME_PLAIN)
    hole = Slot(limits.FRAME_PLAIN, limits.FRAME_PLAIN, _sha256(bytes(limits.FRAME_PLAIN)))
    slots += [hole] * full + [Slot(rest, rest, _sha256(bytes(rest)))] * bool(rest)
    table = Table("sha256", tuple(slots))
    statement = Statement(
        subjects={
            "manifest.json": _sha256(content).hex(),
            "payload": "0" * 64,
            "table": _sha256(table.to_bytes()).hex(),
        },
        name="holes", version="1.0.0", sequence=1, created=created, expires=None, base=None,
        hash="sha256", table_size=frames.table_size("sha256", len(slots)),
        manifest_size=len(content), frames=len(slots), plain_total=table.plain_total,
    )  # fmt: skip
    unsigned = Envelope(statement.to_bytes(), ())
    private = signing.unlock(key, Path(key).parent, None, None)
    with Path(bundle).open("xb") as stream:
        stream.write(signing.sign(unsigned, private).to_head())
        stream.write(frames.skippable(frames.TABLE_MAGIC, table.to_bytes()))
        stream.write(first)
        stream.truncate(
            limits.HEAD_SLOT + SKIPPABLE_HEADER + statement.table_size + table.stored_total
        )


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


if __name__ == "__main__":
    step, *arguments = sys.argv[1:]
    if step == "pack":
        pack_profile(*arguments)
    elif step == "frames":
        check_frames(*arguments)
    elif step == "hash":
        hash_file(*arguments)
    elif step == "sparse":
        bundle, size, key = arguments
        make_sparse(bundle, int(size), key)
    else:
        raise SystemExit(__doc__)
