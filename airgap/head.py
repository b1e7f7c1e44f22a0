"""The head's slot of a bundle on disk: read it, and change it so that a crash loses nothing."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airgap import archive, limits
from airgap.envelope import Envelope
from airgap.errors import AirgapError, DamagedError
from airgap.files import sync_folder, write_whole
from airgap.volumes import OpenFile


class HeadSlot:
    """A bundle opened for a new head, which nobody else changes meanwhile."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.source = OpenFile(str(path), descriptor)
        self._path, self._descriptor = path, descriptor

    def read(self) -> Envelope:
        """The envelope that the slot holds now. Raises DamagedError."""
        return archive.read_head(self.source)

    def write(self, envelope: Envelope) -> None:
        """Replace the head; the old one lies beside the bundle until the new one is durable."""
        new, old = envelope.to_head(), self.read().to_head()
        write_whole(_backup(self._path), old)
        os.pwrite(self._descriptor, new, 0)
        os.fsync(self._descriptor)
        _backup(self._path).unlink()
        sync_folder(self._path.parent)

    def recover(self) -> None:
        """Put back the old head where a crash left the new one half-written."""
        backup = _backup(self._path)
        if not backup.is_file():
            return
        try:
            self.read()
        except DamagedError:
            with backup.open("rb") as stream:
                head = stream.read(limits.HEAD_SLOT + 1)
            Envelope.from_head(head)
            os.pwrite(self._descriptor, head, 0)
            os.fsync(self._descriptor)
        backup.unlink()


@contextmanager
def locked(path: Path) -> Iterator[HeadSlot]:
    """Open a bundle to read it and to change its head; a second process waits."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise AirgapError(f"cannot open '{path}' to sign it: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        slot = HeadSlot(path, descriptor)
        slot.recover()
        yield slot
    finally:
        os.close(descriptor)


def _backup(path: Path) -> Path:
    return path.with_name(f".{path.name}.old-head")
