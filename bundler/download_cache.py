"""The builder's files by SHA-256: `sha256/aa/HEX`, read-only, there whole or not at all.

What is still coming lies in `partial/`, see `bundler.partial`. Killed at any moment, nothing but
right files has a final name, and the next run goes on from the last recorded byte.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airgap.console import Advance, console, human_size
from airgap.digest import is_sha256, sha256_file
from airgap.errors import AirgapError
from airgap.sink import OwnSideError, Sink, WrongBytesError
from bundler import partial
from bundler.partial import Partial, SinkFor

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a disk that takes no more says."""

Fill = Callable[[Sink], None]
"""Pours a file into a sink, from the sink's position on."""


@dataclass(frozen=True)
class DownloadCache:
    """The folder, and the event that stops everything which is being written into it.

    Attributes:
        root: the folder.
        stop: set when nothing more is to be written.
        called: what errors call it.
        elsewhere: how a person chooses another folder.
    """

    root: Path
    stop: threading.Event
    called: str
    elsewhere: str

    @classmethod
    def at(cls, root: Path) -> DownloadCache:
        """The builder's own cache in the folder `root`, which need not exist yet."""
        return cls(root, threading.Event(), f"the download cache '{root}'", "set AIRGAP_CACHE to")

    @classmethod
    def exported(cls, root: Path) -> DownloadCache:
        """A folder for another builder, on a medium that `airgap fetch --export` names."""
        return cls(root, threading.Event(), f"'{root}'", "--export to")

    @property
    def measured(self) -> Path:
        """What dry-loads took on this builder; see `bundler.measured`."""
        return self.root / "measured.json"

    def path(self, sha256: str) -> Path:
        """Where the file of this digest lies, or would lie."""
        return self.root / "sha256" / sha256[:2] / sha256

    def partial(self, sha256: str) -> Path:
        """Where it lies while it is still coming."""
        return self.root / "partial" / sha256

    def holds(self, sha256: str, size: int) -> bool:
        """Whether a file of this digest and size is there; its bytes are hashed when packed."""
        path = self.path(sha256)
        return path.is_file() and not path.is_symlink() and path.stat().st_size == size

    def holds_intact(self, sha256: str) -> bool:
        """Whether a file of this digest is there and still has it; for those of unknown size."""
        path = self.path(sha256)
        return path.is_file() and not path.is_symlink() and sha256_file(path) == sha256

    def touch(self, sha256: str) -> None:
        """Note that a file was used today: `airgap cache clear` goes by that."""
        with suppress(OSError):  # a cache that others own: they clear it
            os.utime(self.path(sha256))

    def digests(self) -> list[str]:
        """Of every whole file that is there, sorted."""
        found = (path for path in self.root.glob("sha256/??/*") if path.is_file())
        return sorted(path.name for path in found if is_sha256(path.name))

    @contextmanager
    def used(self) -> Iterator[None]:
        """While this holds, nothing is cleared away; any number of builds may hold it.

        Raises:
            OwnSideError: the folder cannot be written.
        """
        with self._lock_file() as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While this holds, no build begins. Raises AirgapError where one is at work."""
        with self._lock_file() as descriptor:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise AirgapError(
                    f"a build or a fetch is using the download cache '{self.root}'",
                    hint="wait until it has ended",
                ) from error
            yield

    @contextmanager
    def _lock_file(self) -> Iterator[int]:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self.root / "lock", flags, 0o644)
        except OSError as error:
            raise self.cannot_write(error) from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def check_room(self, files: Mapping[str, int]) -> None:
        """Refuse at the start what would fill the disk after an hour.

        Args:
            files: that are to come: the size of each in bytes, by SHA-256.

        Raises:
            OwnSideError: they do not fit.
        """
        needed = sum(self.missing_bytes(sha256, size) for sha256, size in files.items())
        place = next(folder for folder in (self.root, *self.root.parents) if folder.exists())
        free = shutil.disk_usage(place).free
        if free < needed:
            raise OwnSideError(
                f"not enough space in {self.called}: {human_size(needed)} are to come, and "
                f"{human_size(free)} are free",
                hint=f"free some space there, or {self.elsewhere} a folder on a larger disk",
            )

    def cannot_write(self, error: OSError) -> OwnSideError:
        """The disk takes no more, or takes nothing; what is in it stays good."""
        hint = f"{self.elsewhere} a folder that you can write to"
        if error.errno in FULL:
            hint = (
                f"free some space there, or {self.elsewhere} a folder on a larger disk; "
                "the next run goes on from here"
            )
        return OwnSideError(f"cannot write to {self.called}: {error.strerror}", hint=hint)

    def missing_bytes(self, sha256: str, size: int) -> int:
        """What must still come of a file that is not there."""
        return max(0, size - partial.recorded(self.partial(sha256)))

    def keep(self, sha256: str, size: int | None, limit: int, advance: Advance, fill: Fill) -> Path:
        """Have the file of this digest: filled on from what an earlier run left, and checked.

        Where the whole turns out wrong and part of it was left by an earlier run, all of it is
        dropped and filled once more: it may have been the earlier source that lied.

        Args:
            sha256: of the whole.
            size: of the whole in bytes, None where it is not known.
            limit: the most bytes that it may have.
            advance: told the bytes that are there.
            fill: pours it; its errors come through, and what came until then is kept.

        Raises:
            WrongBytesError: these are other bytes; nothing of them is kept.
            OwnSideError: the cache cannot be written, or the work was stopped.
        """
        sink_for = SinkFor(size, limit, advance, self.stop, self.cannot_write)
        with partial.claimed(self.partial(sha256), sink_for) as unfinished:
            if self.holds_intact(sha256):  # another build was faster
                unfinished.discard()
                return self.path(sha256)
            try:
                self._fill(unfinished, sha256, fill)
            except WrongBytesError:
                unfinished.sink.withdraw()
                unfinished.discard()
                raise
            except BaseException:
                unfinished.sink.withdraw()
                _set_aside(unfinished)
                raise
            unfinished.finish(self.path(sha256))
        return self.path(sha256)

    @staticmethod
    def _fill(unfinished: Partial, sha256: str, fill: Fill) -> None:
        sink = unfinished.sink
        taken_over = unfinished.resume()
        try:
            if not taken_over or sink.position != sink.size:
                fill(sink)
            sink.check_whole(sha256)
        except WrongBytesError:
            if not taken_over:
                raise
            sink.restart()
            fill(sink)
            sink.check_whole(sha256)


def _set_aside(unfinished: Partial) -> None:
    """Leave what came for the next run, or nothing at all where nothing came."""
    if unfinished.sink.position:
        partial.keep_what_came(unfinished)
    else:
        unfinished.discard()


def changed(paths: Iterable[Path]) -> list[Path]:
    """Those files of a download cache that are other bytes than their names say, sorted."""
    sizes = {path: path.stat().st_size for path in sorted(set(paths)) if path.is_file()}
    with console.progress("check the download cache", sum(sizes.values())) as progress:
        return [path for path in sizes if not _is_intact(path, progress.advance)]


def _is_intact(path: Path, advance: Advance) -> bool:
    try:
        return sha256_file(path, advance) == path.name
    except AirgapError:  # a dying disk: what cannot be read is not what it was
        return False
