"""Where a source pours one file: bounded, hashed as it passes, stopped when the work stops."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

from airgap.console import Advance
from airgap.errors import AirgapError
from airgap.limits import KIB, MIB

CHECKPOINT: Final = 32 * MIB
"""Bytes between two records of what is safely on the disk: what a power cut can cost."""


WORTH_A_THREAD: Final = 32 * KIB
"""Bytes whose hashing takes longer than to hand them over."""


class OwnSideError(AirgapError):
    """This machine's own disk failed, or the work was stopped: no other source would help."""


class WrongBytesError(AirgapError):
    """The bytes are not those that were to come."""


class Stream(Protocol):
    """The part of an unbuffered binary file that a sink needs."""

    def write(self, data: memoryview, /) -> int | None:
        """Take some bytes from the front, and say how many."""

    def seek(self, position: int, /) -> int:
        """Go to a byte."""

    def truncate(self) -> int:
        """Drop what lies behind."""


class _Hash:
    """SHA-256 beside the receiving: one piece is hashed while the next one comes."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._worker: ThreadPoolExecutor | None = None
        self._busy: Future[None] | None = None

    def update(self, chunk: bytes) -> None:
        self._settle()
        if len(chunk) < WORTH_A_THREAD:
            self._hash.update(chunk)
            return
        self._worker = self._worker or ThreadPoolExecutor(1, thread_name_prefix="hash")
        self._busy = self._worker.submit(self._hash.update, chunk)

    def hexdigest(self) -> str:
        self._settle()
        return self._hash.copy().hexdigest()

    def close(self) -> None:
        self._settle()
        if self._worker:
            self._worker.shutdown()
            self._worker = None

    def _settle(self) -> None:
        if self._busy:
            self._busy.result()
            self._busy = None


@dataclass(frozen=True)
class Origin:
    """Which state of which file is being poured, so that the rest of it can be asked for.

    Attributes:
        name: whatever tells two files apart; it holds no secret, for it is written down.
        etag: the server's strong validator of this state (RFC 9110, 8.8.3); None without one.
    """

    name: str
    etag: str | None


class Sink:
    """Takes one file from a source, from `position` on.

    Made with what words a failure of the disk; `checkpoint` is called whenever so much has come.

    Attributes:
        size: of the whole file in bytes, where it is known.
        is_page: whether the file is a web page; in place of any other it is a login or an error.
        origin: whose bytes the last ones were.
        stop: set when nothing more is to be written.
        restarts: how often it was begun anew.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        size: int | None,
        limit: int,
        advance: Advance,
        stop: threading.Event,
        worded: Callable[[OSError], OwnSideError] | None = None,
        checkpoint: Callable[[], None] | None = None,
        is_page: bool = False,
    ) -> None:
        self.size, self.stop, self.is_page = size, stop, is_page
        self.origin: Origin | None = None
        self._stream, self._limit, self._advance = stream, limit, advance
        self._worded = worded or _cannot_write
        self._checkpoint, self._unrecorded = checkpoint, 0
        self._hash, self._position = _Hash(), 0
        self.restarts = 0

    @property
    def position(self) -> int:
        """How many bytes are there: the first one that is still wanted."""
        return self._position

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes that are there, hex."""
        return self._hash.hexdigest()

    def close(self) -> None:
        """Let go of what hashing needed; the file itself is its owner's."""
        self._hash.close()

    def adopt(self, chunk: bytes) -> None:
        """Count bytes that lie in the file already, as the next ones."""
        self.check_going()
        self._count(chunk)

    def write(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            WrongBytesError: it is one byte more than there may be.
            OwnSideError: the disk does not take them, or the work was stopped.
        """
        self.check_going()
        if self._position + len(chunk) > self._limit:
            raise WrongBytesError(f"expected {self._limit} bytes, it sends more")
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[self._stream.write(rest) :]
        except OSError as error:
            raise self._worded(error) from error
        self._count(chunk)
        self._unrecorded += len(chunk)
        if self._checkpoint and self._unrecorded >= CHECKPOINT:
            self._unrecorded = 0
            self._checkpoint()

    def restart(self) -> None:
        """Drop everything and begin at the first byte. Raises OwnSideError."""
        self._advance(-self._position)
        self._hash.close()
        self._hash, self._position, self.origin = _Hash(), 0, None
        self.restarts += 1
        try:
            self._stream.seek(0)
            self._stream.truncate()
        except OSError as error:
            raise self._worded(error) from error

    def check_going(self) -> None:
        """Raise OwnSideError where the work was stopped."""
        if self.stop.is_set():
            raise OwnSideError("the fetch was stopped")

    def check_whole(self, sha256: str) -> None:
        """Compare what came with what was to come. Raises WrongBytesError naming both."""
        found = self.digest
        if self.size is not None and self._position != self.size:
            raise WrongBytesError(
                f"expected {self.size} bytes, found {self._position} (sha256 {found})"
            )
        if found != sha256:
            raise WrongBytesError(f"expected sha256 {sha256}, found sha256 {found}")

    def withdraw(self) -> None:
        """Take back the progress that was told: these bytes do not count yet."""
        self._advance(-self._position)

    def _count(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self._position += len(chunk)
        self._advance(len(chunk))


def _cannot_write(error: OSError) -> OwnSideError:
    return OwnSideError(
        f"cannot write what was fetched: {error.strerror}",
        hint="free some space, then run it again: it goes on from here",
    )
