"""Files that are there whole or not at all: temporary name, fsync, rename, fsync of the folder."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from airgap.errors import AirgapError, UsageError, next_after

LONGEST_NAME: Final = 255 - len("..XXXXXXXX.tmp")
"""Bytes of the name of a file that is written whole: that of its temporary file is longer, and
Linux takes 255."""


@contextmanager
def written_whole(path: Path, *, mode: int | None = None) -> Iterator[IO[bytes]]:
    """An open binary file that becomes `path` when the block ends, and vanishes when it fails.

    The temporary file lies in the same folder (`.NAME.XXXX.tmp`), is made with O_EXCL and
    O_NOFOLLOW, and readable and writable, so that what was written can be read back.

    Args:
        path: the file.
        mode: what it shall have, whatever the umask; None: 0644, and the umask is heeded.

    Raises:
        AirgapError: the folder or the file cannot be written; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(temporary, flags, 0o644 if mode is None else mode)
    except OSError as error:
        raise _unwritten(path, error) from error
    try:
        with os.fdopen(descriptor, "w+b") as stream:
            if mode is not None:
                os.fchmod(descriptor, mode)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise _unwritten(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write a small file so that a crash leaves the old one or the new one."""
    with written_whole(path, mode=mode) as stream:
        stream.write(content)


def clear_unfinished(path: Path) -> None:
    """Remove what writers of `path` that were killed have left; for whoever keeps others away."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        try:
            left.unlink(missing_ok=True)
        except OSError as error:
            raise AirgapError(f"cannot remove '{left}': {error.strerror}") from error


def share_folder(path: Path) -> None:
    """Make a folder that others may read and its owner alone may change, whatever the umask.

    Those above it that are missing are made alike: whoever may write there could exchange it. One
    that is there keeps its mode.

    Raises:
        OSError: it cannot be made.
    """
    try:
        path.mkdir(mode=0o755)
    except FileNotFoundError:
        share_folder(path.parent)
        path.mkdir(mode=0o755, exist_ok=True)
    except FileExistsError:
        if path.is_dir():
            return
        raise
    path.chmod(0o755)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Until the block ends, other processes wait here for the same `lock`.

    A file for its owner alone, beside what is to be changed: on one that others can open, they
    could hold the lock for ever.
    """
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unwritten(lock, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bounded(path: Path, limit: int, what: str) -> bytes:
    """A small file of the user's, whole.

    Args:
        path: the file.
        limit: its largest size in bytes.
        what: what it is, for the error ("a profile").

    Raises:
        UsageError: it is not there, is no regular file, or is larger.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            content = stream.read(limit + 1)
    except OSError as error:
        raise UsageError(f"cannot read '{path}' as {what}: {error.strerror}") from error
    if len(content) > limit:
        raise UsageError(f"'{path}' is too large for {what}: more than {limit} bytes")
    return content


def _unwritten(path: Path, error: OSError) -> AirgapError:
    return AirgapError(f"cannot write '{path}': {error.strerror}", hint=next_after(error))
