"""The builder's files by SHA-256: `sha256/aa/HEX`, read-only, there whole or not at all."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from airgap.console import Advance
from airgap.digest import sha256_file
from airgap.errors import AirgapError
from airgap.files import written_whole

RESTARTS: Final = 3
"""How often one source may begin a file anew."""


class BuilderSideError(AirgapError):
    """The builder's own disk failed, or the work was stopped: no other source would help."""


class Sink:
    """Takes one file from a source: bounded, hashed as it passes, stopped when the work stops.

    It has the part of a file object that download libraries use. They may start over by going
    back to the beginning and truncating.
    """

    def __init__(
        self, stream: IO[bytes], limit: int, advance: Advance, stop: threading.Event
    ) -> None:
        self._stream, self._limit, self._advance, self._stop = stream, limit, advance, stop
        self._hash = hashlib.sha256()
        self._size = self._restarts = 0

    def write(self, chunk: bytes) -> int:
        """Take the next bytes. Raises AirgapError at the first byte more than there may be."""
        if self._stop.is_set():
            raise BuilderSideError("the fetch was stopped")
        if self._size + len(chunk) > self._limit:
            raise AirgapError(f"expected {self._limit} bytes, it sends more")
        try:
            self._stream.write(chunk)
        except OSError as error:
            raise BuilderSideError(
                f"cannot write to the download cache: {error.strerror}",
                hint="free some space, or set AIRGAP_CACHE to a folder on a larger disk",
            ) from error
        self._hash.update(chunk)
        self._size += len(chunk)
        self._advance(len(chunk))
        return len(chunk)

    def tell(self) -> int:
        """How many bytes were taken."""
        return self._size

    def seek(self, position: int) -> int:
        """Go back to the beginning, where a server cannot resume; nowhere else is needed."""
        if position != 0:
            raise AirgapError(f"the download resumed at byte {position}, which it cannot")
        self._restarts += 1
        if self._restarts > RESTARTS:
            # huggingface_hub would go on for ever with a server that always breaks off.
            raise AirgapError(f"it broke off and began anew more than {RESTARTS} times")
        self._advance(-self._size)
        self._hash, self._size = hashlib.sha256(), 0
        return self._stream.seek(0)

    def truncate(self) -> int:
        """Drop what lies behind the current position."""
        return self._stream.truncate()

    def close_with(self, sha256: str, size: int | None) -> None:
        """Compare what came with what was to come. Raises AirgapError naming both."""
        found = self._hash.hexdigest()
        if size is not None and self._size != size:
            raise AirgapError(f"expected {size} bytes, found {self._size} (sha256 {found})")
        if found != sha256:
            raise AirgapError(f"expected sha256 {sha256}, found sha256 {found}")

    def withdraw(self) -> None:
        """Take back the progress that was told: these bytes do not count."""
        self._advance(-self._size)


@dataclass(frozen=True)
class DownloadCache:
    """The folder, and the event that stops everything which is being written into it."""

    root: Path
    stop: threading.Event

    @classmethod
    def at(cls, root: Path) -> DownloadCache:
        """The cache in the folder `root`, which need not exist yet."""
        return cls(root, threading.Event())

    def path(self, sha256: str) -> Path:
        """Where the file of this digest lies, or would lie."""
        return self.root / "sha256" / sha256[:2] / sha256

    def holds(self, sha256: str, size: int) -> bool:
        """Whether a file of this digest and size is there; its bytes are hashed when packed."""
        path = self.path(sha256)
        return path.is_file() and not path.is_symlink() and path.stat().st_size == size

    def holds_intact(self, sha256: str) -> bool:
        """Whether a file of this digest is there and still has it; for those of unknown size."""
        path = self.path(sha256)
        return path.is_file() and not path.is_symlink() and sha256_file(path) == sha256

    @contextmanager
    def receive(
        self, sha256: str, size: int | None, limit: int, advance: Advance
    ) -> Iterator[Sink]:
        """A sink that becomes the cached file, if its bytes prove right when the block ends.

        Raises:
            AirgapError: the bytes are others than `sha256`; nothing is left behind.
        """
        with self._staged(self.path(sha256)) as stream:
            sink = Sink(stream, limit, advance, self.stop)
            try:
                yield sink
                sink.close_with(sha256, size)
            except BaseException:
                sink.withdraw()
                raise

    @contextmanager
    def _staged(self, path: Path) -> Iterator[IO[bytes]]:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BuilderSideError(
                f"cannot write to the download cache '{self.root}': {error.strerror}",
                hint="set AIRGAP_CACHE to a folder that you can write to",
            ) from error
        with written_whole(path, mode=0o444) as stream:
            yield stream
