"""The head's slot of a bundle on disk: read it, and change it so that a crash loses nothing."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airgap import archive, limits
from airgap.envelope import Envelope
from airgap.errors import AirgapError, DamagedError, RefusedError
from airgap.files import read_bounded, sync_folder, write_whole
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
        old = Envelope.from_head(read_bounded(backup, limits.HEAD_SLOT, "the old head"))
        if self._is_torn(old):
            os.pwrite(self._descriptor, old.to_head(), 0)
            os.fsync(self._descriptor)
        backup.unlink()
        sync_folder(self._path.parent)

    def _is_torn(self, old: Envelope) -> bool:
        """Whether the slot is neither the old head nor that with signatures added.

        A half-written head can still be one in form, where a key signed anew: half of the new
        signature, then half of the old one. So no signature that was there may be another now.
        """
        try:
            now = self.read()
        except DamagedError:
            return True
        return now.statement == old.statement and not set(old.signatures) <= set(now.signatures)


@contextmanager
def interruption_told(path: Path) -> Iterator[None]:
    """A refusal of a bundle whose signing was interrupted says so, and how to mend it."""
    try:
        yield
    except RefusedError as error:
        if _backup(path).is_file():
            error.hint = (
                "its signing was interrupted; this puts the old head back, and signs: "
                f"airgap sign {path} --key NAME"
            )
        raise


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
