"""The store: blobs by SHA-256, read-only, one copy however many bundles hold them.

A blob is staged under a private name while it is being checked, and gets its own name only when
the whole bundle has held. So whatever has a digest for a name in the store is that file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from typing import Final

from airgap.console import human_size
from airgap.errors import AirgapError, DamagedError
from airgap.manifest import File
from airgap.parallel import in_order
from runtime.folders import Folder

BLOBS: Final = "store/sha256"
STAGING: Final = "staging"

SPARE: Final = 64 << 20
"""Bytes that must stay free on the file system after a mount, for its own book-keeping."""

_PROBE: Final = "probe"

_COPIED_AT_ONCE: Final = 1 << 20
"""Bytes."""

_FLUSH_EVERY: Final = 64 << 20
"""Bytes written between two flushes that go on beside the work: the disk is never idle, and the
last flush is short."""

_PIECES_BEHIND: Final = 4
"""Pieces, a frame each at most, that wait to be written while the next are hashed."""


class Store:
    """The store under an open root, for one mount that holds the root's lock."""

    def __init__(self, root: Folder) -> None:
        self._root = root

    def missing(self, files: Iterable[File]) -> dict[str, int]:
        """The blobs that these files need and the store lacks: size in bytes by SHA-256.

        A blob that has rotted counts as missing: mounting once more is what mends a store.
        """
        wanted = {file.sha256: file.size for file in files}
        with self._root.inside(BLOBS) as blobs:
            shards = set(blobs.names())  # `inside` would make them, for what may yet be refused
            there = (one for one in wanted.items() if one[0][:2] in shards)
            held = {
                sha256
                for sha256, intact in in_order(partial(_intact, blobs, *one) for one in there)
                if intact
            }
        return {sha256: size for sha256, size in wanted.items() if sha256 not in held}

    def check_space(self, needed: int) -> None:
        """Raise AirgapError where the file system has fewer bytes free than `needed`."""
        free = shutil.disk_usage(self._root.descriptor).free
        if free < needed + SPARE:
            raise AirgapError(
                f"not enough space in '{self._root.path}': the bundle needs "
                f"{human_size(needed + SPARE)}, and {human_size(free)} are free",
                hint="free some space, or choose a larger place with --root",
            )

    @contextmanager
    def staging(self) -> Iterator[Staging]:
        """A staging folder for new blobs. Leftovers of a mount that was killed go first."""
        self.sweep()
        with (
            self._root.inside(STAGING) as folder,
            ThreadPoolExecutor(1, thread_name_prefix="write") as writer,
            ThreadPoolExecutor(1, thread_name_prefix="flush") as flusher,
        ):
            try:
                yield Staging(folder, writer, flusher)
            finally:
                for name in folder.names():
                    folder.remove(name)

    def sweep(self) -> None:
        """Remove what a mount that was killed has staged."""
        with self._root.inside(STAGING) as folder:
            for name in folder.names():
                folder.remove(name)

    def take(self, staging: Staging) -> None:
        """Move what was staged, checked and durable into the store."""
        staging.settle()
        with self._root.inside(BLOBS) as blobs:
            for sha256 in staging.staged:
                with blobs.inside(sha256[:2]) as shard:
                    staging.folder.rename(sha256, shard, sha256)
            # After all of them: a journal writes every change so far at the first sync.
            for name in sorted({sha256[:2] for sha256 in staging.staged}):
                with blobs.inside(name, make=False) as shard:
                    shard.sync()

    def links(self) -> bool:
        """Whether the file system has hard links. Raises AirgapError where it has no symbolic ones.

        Both are tried, in the staging folder, before anything else is written.
        """
        self.sweep()
        with self._root.inside(STAGING) as folder:
            os.close(folder.create(_PROBE))
            try:
                can = folder.link(_PROBE, folder, f"{_PROBE}-2")
                folder.point(f"{_PROBE}-3", _PROBE)
            except AirgapError as error:
                error.hint = "`current` must be a link: choose another file system with --root"
                raise
            finally:
                self.sweep()
        return can

    def link(self, file: File, target: Folder, name: str) -> None:
        """Give a blob a name in `target`; where the file system cannot, a copy of it.

        Raises:
            AirgapError: the copy cannot be written.
            DamagedError: the blob is not what its name says: a disk that is failing.
        """
        with self._root.inside(f"{BLOBS}/{file.sha256[:2]}") as folder:
            if not folder.link(file.sha256, target, name):
                _copy(folder, file.sha256, target, name)


class Staging:
    """Blobs being written and flushed to the disk, both beside the checking of what comes next."""

    def __init__(
        self, folder: Folder, writer: ThreadPoolExecutor, flusher: ThreadPoolExecutor
    ) -> None:
        self.folder = folder
        self.staged: list[str] = []
        self._writer, self._flusher = writer, flusher
        self._writes: deque[Future[None]] = deque()
        self._flushes: list[Future[None]] = []

    def write(self, sha256: str, pieces: Iterable[memoryview]) -> None:
        """Write one blob under its digest's name; whether it fits is checked by who made it."""
        descriptor = self.folder.create(sha256)
        unflushed = 0
        try:
            for piece in pieces:
                self._wait_for_writes(_PIECES_BEHIND - 1)
                self._writes.append(self._writer.submit(_write_all, descriptor, piece))
                unflushed += len(piece)
                if unflushed >= _FLUSH_EVERY:
                    self._flush(os.dup(descriptor))
                    unflushed = 0
            self._wait_for_writes(0)
        except BaseException:
            wait(self._writes)  # nobody may write to a descriptor that is closed, or another's
            os.close(descriptor)
            raise
        self._flush(descriptor)
        self.staged.append(sha256)

    def settle(self) -> None:
        """Wait until every byte is on the disk. Raises AirgapError where one cannot be written."""
        try:
            for flush in self._flushes:
                flush.result()
            self.folder.sync()
        except OSError as error:
            raise _unwritten(self.folder, error) from error

    def _wait_for_writes(self, most: int) -> None:
        """Until no more than so many pieces wait. Raises AirgapError where one is not written."""
        try:
            while len(self._writes) > most:
                self._writes.popleft().result()
        except OSError as error:
            raise _unwritten(self.folder, error) from error

    def _flush(self, descriptor: int) -> None:
        self._flushes.append(self._flusher.submit(_sync_and_close, descriptor))


def _intact(blobs: Folder, sha256: str, size: int) -> tuple[str, bool]:
    """A digest, and whether its blob is there with the bytes that it names."""
    with blobs.inside(sha256[:2], make=False) as folder:
        if not folder.holds(sha256, size):
            return sha256, False
        with os.fdopen(folder.open(sha256), "rb") as stream:
            try:
                return sha256, hashlib.file_digest(stream, "sha256").hexdigest() == sha256
            except OSError:  # a disk that cannot read it back: it is written anew
                return sha256, False


def _copy(folder: Folder, sha256: str, target: Folder, name: str) -> None:
    """Copy a blob, durably; what is read is compared with its digest as it is written."""
    digest = hashlib.sha256()
    try:
        with (
            os.fdopen(folder.open(sha256), "rb") as source,
            os.fdopen(target.create(name), "wb") as copy,
        ):
            while piece := source.read(_COPIED_AT_ONCE):
                digest.update(piece)
                copy.write(piece)
            copy.flush()
            os.fsync(copy.fileno())
    except OSError as error:
        raise _unwritten(target, error) from error
    if digest.hexdigest() != sha256:
        raise DamagedError(
            f"'{folder.path / sha256}' changed while it was copied: the disk is failing",
            rule="store.digest",
            hint="choose another disk with --root",
        )


def _write_all(descriptor: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(descriptor, piece) :]


def _sync_and_close(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritten(folder: Folder, error: OSError) -> AirgapError:
    return AirgapError(
        f"cannot write to '{folder.path}': {error.strerror}; what is mounted is as it was",
        hint="free some space, or choose a larger place with --root",
    )
