"""The head's slot of a bundle on disk: read it, and change it so that a crash loses nothing."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from airgap import archive, limits, volume_names, volumes
from airgap.envelope import Envelope
from airgap.errors import AirgapError, DamagedError, RefusedError
from airgap.files import read_bounded, sync_folder, write_whole
from airgap.volumes import Bytes


class HeadSlot:
    """A bundle opened for a new head, which nobody else changes meanwhile.

    Attributes:
        source: the bundle, to be read.
        path: the file that the head lies in: the bundle, or its first volume.
    """

    def __init__(self, source: Bytes, path: Path, descriptor: int) -> None:
        self.source, self.path = source, path
        self._descriptor = descriptor

    def read(self) -> Envelope:
        """The envelope that the slot holds now. Raises DamagedError."""
        return archive.read_head(self.source)

    def write(self, envelope: Envelope) -> None:
        """Replace the head; the old one lies beside the bundle until the new one is durable."""
        new, old = envelope.to_head(), self.read().to_head()
        write_whole(_backup(self.path), old)
        os.pwrite(self._descriptor, new, 0)
        os.fsync(self._descriptor)
        _backup(self.path).unlink()
        sync_folder(self.path.parent)

    def recover(self) -> None:
        """Put back the old head where a crash left the new one half-written."""
        backup = _backup(self.path)
        if not backup.is_file():
            return
        old = Envelope.from_head(read_bounded(backup, limits.HEAD_SLOT, "the old head"))
        if self._is_torn(old):
            os.pwrite(self._descriptor, old.to_head(), 0)
            os.fsync(self._descriptor)
        backup.unlink()
        sync_folder(self.path.parent)

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
def interruption_told(path: Path, also: Sequence[Path] = ()) -> Iterator[None]:
    """A refusal of a bundle whose signing was interrupted says so, and how to mend it."""
    files = None if str(path) == "-" else volume_names.locate(path, also)
    try:
        yield
    except RefusedError as error:
        if files and _backup(files.first).is_file():
            error.hint = (
                "its signing was interrupted; this puts the old head back, and signs: "
                f"airgap sign {path} --key NAME"
            )
        raise


@contextmanager
def locked(path: Path, also: Sequence[Path] = ()) -> Iterator[HeadSlot]:
    """Open a bundle to read it and to change its head; a second process waits."""
    files = volume_names.locate(path, also)
    try:
        descriptor = os.open(files.first, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise AirgapError(
            f"cannot open '{files.first}' to sign it: {error.strerror}",
            hint=volume_names.UNWRITABLE if error.errno in {errno.EROFS, errno.EACCES} else None,
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with volumes.opened_files(files, descriptor) as source:
            slot = HeadSlot(source, files.first, descriptor)
            slot.recover()
            yield slot
    finally:
        os.close(descriptor)


def _backup(path: Path) -> Path:
    return path.with_name(f".{path.name}.old-head")
