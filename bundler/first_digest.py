"""A file that no hub tells the digest of: downloaded, hashed, and kept for the build."""

from __future__ import annotations

import tempfile
from contextlib import closing

from airgap.console import console, quietly
from airgap.digest import CHUNK
from airgap.errors import AirgapError
from airgap.sink import Sink
from bundler.locked_model import LockedFile
from bundler.sources import Access, Source


def take(
    file: str, source: Source, expected: str | None, access: Access, *, limit: int
) -> LockedFile:
    """What a lock says of a file whose source alone knows it.

    Args:
        file: its name at the source.
        source: where it is published.
        expected: the SHA-256 that the profile gives; None trusts what the source has now.
        access: its download cache keeps the file.
        limit: bytes that it may have.

    Raises:
        AirgapError: it could not be had, is larger, or is not what the profile says.
    """
    console.say(f"Hashing {file} ({source.name})")
    with tempfile.TemporaryFile(buffering=0) as stream:
        sink = Sink(stream, size=None, limit=limit, advance=quietly, stop=access.cache.stop)
        with closing(sink):
            source.copy(file, None, access, sink)
        size, sha256 = sink.position, sink.digest
        if expected not in {None, sha256}:
            raise AirgapError(
                f"'{file}' is not what the profile says: expected sha256 {expected}, found "
                f"{sha256}",
                hint="compare with the digest that its publisher gives",
            )

        def fill(kept: Sink) -> None:
            stream.seek(kept.position)
            while chunk := stream.read(CHUNK):
                kept.write(chunk)

        if not access.cache.holds(sha256, size):
            access.cache.keep(sha256, size, size, quietly, fill)
    return LockedFile(file, size, sha256)
