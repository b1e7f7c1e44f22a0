"""Digests of streams and files, and git's name for a file's bytes."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import IO, Final

from airgap.console import Advance, quietly
from airgap.errors import AirgapError

CHUNK: Final = 1 << 20

HASHES: Final = {"sha256": 32, "sha384": 48}
"""The hashes that a bundle may use, with the size of a digest in bytes.

SHA-256 unless a profile asks for CNSA 2.0, which wants SHA-384.
"""

_HEX256: Final = re.compile(r"[0-9a-f]{64}")


def is_sha256(text: object) -> bool:
    """Whether `text` is a SHA-256 as we write it: 64 lower-case hex digits."""
    return isinstance(text, str) and _HEX256.fullmatch(text) is not None


def sha256_file(path: Path, advance: Advance = quietly) -> str:
    """SHA-256 of a regular file, hex; `advance` is told the bytes that are done.

    Raises AirgapError where it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
                advance(len(chunk))
            return digest.hexdigest()
    except OSError as error:
        raise AirgapError(f"cannot read '{path}': {error.strerror}") from error


def git_blob_id(stream: IO[bytes]) -> str:
    """Git's SHA-1 name of the bytes of an open, seekable file; the hub shows it for small files.

    It identifies, it does not protect: SHA-1 is broken for that. Source: git-hash-object(1).
    """
    size = os.fstat(stream.fileno()).st_size
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def grouped(hexadecimal: str) -> str:
    """A digest in groups of four, as it is printed on paper and read over a telephone."""
    return " ".join(hexadecimal[i : i + 4] for i in range(0, len(hexadecimal), 4))


def ungrouped(typed: str) -> str:
    """What a person typed from paper, without the groups: spaces, colons, dashes and case go."""
    return re.sub(r"[\s:-]", "", typed).lower()
