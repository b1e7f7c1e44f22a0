"""SHA256SUMS, as `sha256sum -c --strict` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FILE: Final = "SHA256SUMS"


def text(digests: Mapping[str, str]) -> str:
    """A line for each file, sorted by path: 64 hex digits, two spaces, the path."""
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(digests.items()))
