"""Recordings as open files: opened before the network is left, read after.

Root loses its right over other users' files when it leaves; what it had opened stays readable.
Nothing heavy is imported here, for that reason.
"""

from __future__ import annotations

import hashlib
import os
import resource
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from airgap.errors import AirgapError, UsageError

_PIECE: Final = 1 << 20
"""Bytes of a recording that are in memory at once while it is hashed."""

_OTHERS: Final = 256
"""Descriptors that the libraries and the folders of a run need."""


def open_recording(path: Path) -> BinaryIO:
    """A regular file of the user's, or a link to one, open for reading.

    Raises:
        UsageError: it is something else, or its name is not UTF-8, which no record could hold.
        AirgapError: it is not there, or may not be read.
    """
    if not _is_unicode(path.name):
        raise UsageError(f"the name of '{path}' is not UTF-8", hint="rename it")
    try:
        # Not blocking: opening a pipe that nobody writes would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise AirgapError(
            f"cannot read '{path}' as audio: {error.strerror}",
            hint="check the path, and that you may read it",
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(
            f"cannot read '{path}' as audio: it is not a regular file", hint="copy it into one"
        )
    return os.fdopen(descriptor, "rb")


@contextmanager
def all_open(paths: Sequence[Path]) -> Iterator[list[BinaryIO | AirgapError]]:
    """Every recording of a run, open until the block ends; or why that one cannot be opened.

    Raises:
        UsageError: they are more than a process may have open.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if len(paths) > (room := max(0, most - _OTHERS)):
        raise UsageError(
            f"{len(paths)} recordings are more than this process may have open: {room} beside the "
            f"{_OTHERS} files of its own",
            hint="take fewer at a time; or `ulimit -n` as root, or LimitNOFILE in a unit",
        )
    with ExitStack() as stack:
        yield [_opened(path, stack) for path in paths]


def sha256_of(stream: BinaryIO, name: str) -> str:
    """SHA-256 of an open recording, from its first byte, hex.

    Args:
        stream: open and seekable; it stands at its end afterwards.
        name: what to call it in errors.

    Raises:
        AirgapError: the disk failed.
    """
    digest = hashlib.sha256()
    try:
        stream.seek(0)
        while piece := stream.read(_PIECE):
            digest.update(piece)
    except OSError as error:
        raise AirgapError(f"cannot read '{name}': {error.strerror}") from error
    return digest.hexdigest()


def _opened(path: Path, stack: ExitStack) -> BinaryIO | AirgapError:
    try:
        return stack.enter_context(open_recording(path))
    except AirgapError as error:
        return error


def _is_unicode(text: str) -> bool:
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False
