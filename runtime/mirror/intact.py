"""Files whose bytes were compared with the manifest, and have not changed since.

A file is hashed once, and remembered by what the kernel says of it: file system, inode, size,
and both its times. Of these, the time of the last change to an inode can be set by no program.
While all of them stay, so did the bytes; when one differs, the file is hashed once more before
a byte of it is served. A new link to a blob, which another mount makes, is such a difference.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from airgap.errors import AirgapError, DamagedError
from runtime.folders import Folder
from runtime.mirror import limits

_BILLION: Final = 1_000_000_000

_LOOKS: Final = 3


@dataclass(frozen=True)
class Signed:
    """A file as a signed manifest has it: where it lies below the root, its size, its SHA-256."""

    place: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Stamp:
    """What the kernel says of an open file; times in nanoseconds."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, descriptor: int) -> Stamp:
        """That of an open file. Raises OSError."""
        now = os.fstat(descriptor)
        return cls(now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)

    @property
    def settled(self) -> bool:
        """Whether a change from now on would show in `changed`, however coarse its steps are."""
        return abs(time.time_ns() - self.changed) > limits.SETTLED_SECONDS * _BILLION


class OpenFile:
    """A file that was what was signed when it was opened."""

    def __init__(self, descriptor: int, stamp: Stamp) -> None:
        self.descriptor = descriptor
        self._stamp = stamp

    @property
    def unchanged(self) -> bool:
        """Whether it still is: no byte that was read from it since then is another's."""
        return Stamp.of(self.descriptor) == self._stamp


class Intact:
    """The files below a host's root. Any thread may ask; a file is hashed by one at a time.

    Args:
        root: held open, so that nothing is made anew where it lay.
    """

    def __init__(self, root: Folder) -> None:
        self._root = root
        self._digests: dict[tuple[int, int], tuple[Stamp, str]] = {}
        self._hashing: dict[str, threading.Lock] = {}

    @contextmanager
    def open(self, file: Signed) -> Iterator[OpenFile]:
        """A file, compared with what was signed before this returns.

        Raises:
            DamagedError: it is another.
            AirgapError: it is missing, or cannot be read.
        """
        descriptor = self._root.open(file.place)
        try:
            yield OpenFile(descriptor, self._compared(descriptor, file))
        finally:
            os.close(descriptor)

    def check(self, file: Signed) -> None:
        """Compare a file with what was signed. Raises as `open` does."""
        with self.open(file):
            pass

    def forget_all_but(self, files: set[str]) -> None:
        """Drop what is remembered of files with other digests than these."""
        self._digests = {key: one for key, one in self._digests.items() if one[1] in files}

    def _compared(self, descriptor: int, file: Signed) -> Stamp:
        path = self._root.path / file.place
        try:
            # A hundred clients at once cost one reading.
            with self._hashing.setdefault(file.sha256, threading.Lock()):
                stamp, digest = self._digest(descriptor)
        except OSError as error:
            raise AirgapError(f"cannot read '{path}': {error.strerror}") from error
        if digest != file.sha256:
            raise DamagedError(
                f"'{path}' is not what was signed: expected SHA-256 {file.sha256}, found "
                f"{digest or 'bytes that change while they are read'}",
                rule="mount.digest",
                hint="airgap mount BUNDLE, once more; the disk is failing, or someone changed it",
            )
        return stamp

    def _digest(self, descriptor: int) -> tuple[Stamp, str]:
        """The stamp of a file, and its SHA-256: remembered, else from its bytes.

        A file may get another name while it is read, so a second look is worth it. The digest is
        empty where no look held.
        """
        for _look in range(_LOOKS):
            stamp = Stamp.of(descriptor)
            inode = (stamp.device, stamp.inode)
            known, digest = self._digests.get(inode, (None, ""))
            if known == stamp:
                return stamp, digest
            settled = stamp.settled  # judged before the first byte is read
            digest = _sha256(descriptor)
            if Stamp.of(descriptor) == stamp:
                if settled:
                    self._digests[inode] = (stamp, digest)
                return stamp, digest
        return stamp, ""


def _sha256(descriptor: int) -> str:
    with os.fdopen(os.dup(descriptor), "rb") as stream:
        stream.seek(0)
        return hashlib.file_digest(stream, "sha256").hexdigest()
