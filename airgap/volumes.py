"""A bundle as bytes at offsets: one file, opened once, or a pipe that is read in order.

The file is opened at the start and used to the end, so that a path which comes to name another
file in between changes nothing. It is never mapped into memory: a medium may answer
differently the second time, and every byte is used as it was when it was hashed.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from airgap.errors import AirgapError, DamagedError


class Bytes(Protocol):
    """Where a bundle's bytes come from.

    Attributes:
        name: for messages.
        size: in bytes; None where only the end tells.
    """

    name: str
    size: int | None

    def read_into(self, offset: int, buffer: bytearray | memoryview) -> None:
        """Fill `buffer` with the bytes at `offset`.

        A file may be asked from several threads at once, in any order; a pipe must be asked
        in order. Raises DamagedError where it ends before, AirgapError where reading fails.
        """
        ...

    def read_to_end(self, offset: int) -> None:
        """Raise DamagedError where anything follows `offset`."""
        ...


def read(source: Bytes, offset: int, size: int) -> bytes:
    """`size` bytes at `offset`, in memory of our own."""
    buffer = bytearray(size)
    source.read_into(offset, buffer)
    return bytes(buffer)


class OpenFile:
    """A bundle in one regular file."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self._descriptor = descriptor
        self.size: int | None = os.fstat(descriptor).st_size

    def read_into(self, offset: int, buffer: bytearray | memoryview) -> None:
        """Fill `buffer` with the bytes at `offset`; from any thread."""
        view = memoryview(buffer)
        while view:
            try:
                count = os.preadv(self._descriptor, [view], offset)
            except OSError as error:
                raise AirgapError(
                    f"cannot read '{self.name}' at byte {offset}: {error.strerror}",
                    hint="the medium is failing: copy the bundle again, from another one",
                ) from error
            if count == 0:
                raise _ended(self.name, offset)
            view, offset = view[count:], offset + count

    def read_to_end(self, offset: int) -> None:
        """Raise DamagedError where the file is longer."""
        size = os.fstat(self._descriptor).st_size
        if size > offset:
            raise _follows(self.name, offset, f"{size - offset} bytes")


class Pipe:
    """A bundle that comes in through a pipe, in order."""

    def __init__(self, name: str, stream: BinaryIO) -> None:
        self.name = name
        self.size: int | None = None
        self._stream, self._position = stream, 0

    def read_into(self, offset: int, buffer: bytearray | memoryview) -> None:
        """Fill `buffer` with what comes next, which must be at `offset`."""
        if offset != self._position:
            raise AssertionError(f"a pipe at {self._position} cannot go to {offset}")
        view = memoryview(buffer)
        while view:
            count = self._take(view)
            if count == 0:
                raise _ended(self.name, self._position)
            view, self._position = view[count:], self._position + count

    def read_to_end(self, offset: int) -> None:
        """Raise DamagedError where one more byte comes; an endless pipe is left at once."""
        if offset != self._position:
            raise AssertionError(f"a pipe at {self._position} does not end at {offset}")
        if self._take(memoryview(bytearray(1))):
            raise _follows(self.name, offset, "more")

    def _take(self, view: memoryview) -> int:
        """Read into `view` what comes next; how many bytes, 0 at the end."""
        try:
            count: int | None = self._stream.readinto(view)  # type: ignore[attr-defined]  # typeshed#5931
        except OSError as error:
            raise AirgapError(
                f"cannot read '{self.name}' at byte {self._position}: {error.strerror}"
            ) from error
        if count is None:  # O_NONBLOCK: "nothing yet" must not pass for "nothing more"
            raise AirgapError(
                f"'{self.name}' does not wait for its bytes at byte {self._position}",
                hint="cat BUNDLE | airgap verify -",
            )
        return count


@contextmanager
def opened(path: Path) -> Iterator[OpenFile]:
    """A bundle's file, open for reading until the block ends. Raises AirgapError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise AirgapError(f"cannot open '{path}': {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise AirgapError(
                f"'{path}' is not a file", hint="name the .tar.zst itself, or - for a pipe"
            )
        yield OpenFile(str(path), descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def source(path: Path) -> Iterator[Bytes]:
    """A bundle that a command line names: its file, or `-` for standard input."""
    if str(path) == "-":
        yield Pipe("the pipe", sys.stdin.buffer)
        return
    with opened(path) as file:
        yield file


def _ended(name: str, at: int) -> DamagedError:
    return DamagedError(
        f"'{name}' ends at byte {at}, in the middle of the bundle",
        rule="archive.size",
        hint="the copy is incomplete: copy it again",
    )


def _follows(name: str, end: int, what: str) -> DamagedError:
    return DamagedError(
        f"'{name}' goes on after the bundle's end at byte {end}: {what} that nobody signed",
        rule="archive.size",
        hint="copy the bundle again; if it stays so, ask its builder",
    )
