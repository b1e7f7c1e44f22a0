"""SHA256SUMS, as `sha256sum -c --strict` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FILE: Final = "SHA256SUMS"


def text(digests: Mapping[str, str]) -> str:
    """A line for each file, sorted by path: 64 hex digits, two spaces, the path.

    A path with a newline, which a file beside a bundle may have, is escaped as GNU's sha256sum
    does it: else it would be two lines.
    """
    return "".join(_line(digest, path) for path, digest in sorted(digests.items()))


def _line(digest: str, path: str) -> str:
    escaped = path.replace("\\", r"\\").replace("\n", r"\n").replace("\r", r"\r")
    mark = "" if escaped == path else "\\"
    return f"{mark}{digest}  {escaped}\n"
