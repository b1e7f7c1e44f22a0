"""A file on a web server that is read in parts: the directory of a zip, and the member wanted."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from airgap.errors import AirgapError
from airgap.limits import KIB, MIB
from bundler.sources.web import Web

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

AHEAD: Final = 64 * KIB
"""Bytes that one request asks for at least: most archives' directories lie within their last."""

LONGEST: Final = 64 * MIB
"""Bytes of one request: the directory of a wheel of a hundred thousand files is below a third."""


class RangedFile(io.RawIOBase):
    """A seekable file, of which only what is read crosses the network.

    Attributes:
        size: of the whole, in bytes.
    """

    def __init__(self, web: Web, url: str) -> None:
        """Ask for the end. Raises AirgapError: the server cannot be reached, or sends no parts."""
        super().__init__()
        self._web, self._url, self._at = web, url, 0
        self._held, self.size = web.part(url, None, AHEAD)
        self._start = self.size - len(self._held)

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; nothing is asked for."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        """The next bytes, from what is held or from the server. Raises AirgapError."""
        view = memoryview(buffer).cast("B")
        end = min(self._at + len(view), self.size)
        if end <= self._at:
            return 0
        if not self._start <= self._at <= end <= self._start + len(self._held):
            self._fetch(end)
        read = end - self._at
        view[:read] = self._held[self._at - self._start : end - self._start]
        self._at = end
        return read

    def _fetch(self, end: int) -> None:
        length = min(max(end - self._at, AHEAD), self.size - self._at)
        if length > LONGEST:
            raise AirgapError(f"the archive wants {length} bytes read at once")
        held, _size = self._web.part(self._url, self._at, length)
        if len(held) != length:
            raise AirgapError(f"asked for {length} bytes, the server sent {len(held)}")
        self._held, self._start = held, self._at
