"""A bundle as bytes at offsets: one file, or a set of volumes, opened once; or a pipe, in order.

A file is opened at the start and used to the end, so that a path which comes to name another
one in between changes nothing. It is never mapped into memory: a medium may answer
differently the second time, and every byte is used as it was when it was hashed.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from airgap import limits, volume_names, volume_sizes
from airgap.errors import AirgapError, DamagedError


@dataclass(frozen=True)
class Volume:
    """One volume of a bundle: its file's name, and the bundle's bytes [start, end) in it."""

    name: str
    start: int
    end: int


class Bytes(Protocol):
    """Where a bundle's bytes come from.

    Attributes:
        name: for messages.
        size: in bytes; None where only the end tells.
        volumes: in order, where the bytes lie in several files; else none.
    """

    name: str
    size: int | None
    volumes: Sequence[Volume]

    def read_into(self, offset: int, buffer: bytearray | memoryview) -> None:
        """Fill `buffer` with the bytes at `offset`.

        A file may be asked from several threads at once, in any order; a pipe must be asked
        in order. Raises DamagedError where it ends before, AirgapError where reading fails.
        """
        ...

    def expect_end(self, offset: int) -> None:
        """Raise DamagedError where it can be seen already that the bytes do not end at `offset`."""
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
        self.volumes: Sequence[Volume] = ()

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

    def expect_end(self, offset: int) -> None:
        """Raise DamagedError where the file has another size."""
        size = os.fstat(self._descriptor).st_size
        if size < offset:
            raise DamagedError(
                f"'{self.name}' is cut short: {size} bytes of {offset}",
                rule="archive.size",
                hint="the copy is incomplete: copy it again",
            )
        self.read_to_end(offset)

    def read_to_end(self, offset: int) -> None:
        """Raise DamagedError where the file is longer."""
        size = os.fstat(self._descriptor).st_size
        if size > offset:
            raise _follows(self.name, offset, f"{size - offset} bytes")


class VolumeSet:
    """A bundle in volumes: the same bytes, cut into files of one size; the last may be smaller."""

    def __init__(self, name: str, files: Sequence[OpenFile | None]) -> None:
        """Put the volumes together, None for one that is missing; the first is there.

        Raises DamagedError where the first has no room for the head.
        """
        self.name = name
        self._files = files
        self._sizes = [file.size or 0 if file else None for file in files]
        self._lay_out(volume_sizes.guess(self._sizes))
        self.size: int | None = sum(size or 0 for size in self._sizes)
        if (first := self._sizes[0] or 0) < limits.HEAD_SLOT:
            raise DamagedError(
                f"'{self._path(1)}' has {first} bytes, and must hold the bundle's head of "
                f"{limits.HEAD_SLOT}",
                rule="volumes.size",
                hint=f"copy '{self._path(1).name}' again: it is cut short",
            )

    def read_into(self, offset: int, buffer: bytearray | memoryview) -> None:
        """Fill `buffer` with the bytes at `offset`, which may lie in several volumes."""
        view = memoryview(buffer)
        while view:
            index, at = divmod(offset, self._each)
            file = self._files[index] if index < len(self._files) else None
            if file is None:
                raise self._lacks(self._gaps or [index + 1])
            count = min(len(view), self._each - at)
            size = file.size or 0
            if at + count > size and index + 1 < len(self._files):
                raise self._wrong_size(volume_sizes.Wrong(index + 1, size, self._each))
            file.read_into(at, view[:count])
            view, offset = view[count:], offset + count

    def fit(self, end: int) -> volume_sizes.Fit:
        """How far these are the volumes of a bundle of `end` bytes; from now on they lie so."""
        fit = volume_sizes.fit(self._sizes, end)
        self._lay_out(fit.each)
        return fit

    def expect_end(self, offset: int) -> None:
        """Raise DamagedError where volumes are missing or too many, or have another size.

        Now that the bundle's own table tells where it ends, the volumes can be judged.
        """
        fit = self.fit(offset)
        defects = [self._wrong_size(one) for one in fit.wrong[: limits.NAMED]]
        if fit.missing:
            defects.append(self._lacks(fit.missing))
        if fit.extra:
            defects.append(self._goes_on(fit))
        if defects:
            raise DamagedError(
                "; ".join(one.message for one in defects),
                rule=defects[0].rule,
                hint="; ".join(str(one.hint) for one in defects),
            )

    def read_to_end(self, offset: int) -> None:
        """Raise DamagedError where a volume has grown since, or the last goes on."""
        for file, volume in zip(self._files, self.volumes, strict=True):
            if file:
                file.read_to_end(min(volume.end, max(offset, volume.start)) - volume.start)

    def _lay_out(self, each: int) -> None:
        """Say where in the bundle each volume lies, where all but the last have so many bytes."""
        self._each = each
        self.volumes: Sequence[Volume] = tuple(
            Volume(self._path(1 + index).name, index * each, index * each + (size or 0))
            for index, size in enumerate(self._sizes)
        )

    @property
    def _gaps(self) -> list[int]:
        return [number for number, size in enumerate(self._sizes, start=1) if size is None]

    def _path(self, number: int) -> Path:
        file = self._files[number - 1]
        whole = Path(self.name)
        return (
            Path(file.name)
            if file
            else whole.with_name(volume_names.volume_name(whole.name, number))
        )

    def _wrong_size(self, one: volume_sizes.Wrong) -> DamagedError:
        path = self._path(one.number)
        first = self._path(1).name
        by_the_end = one.number > 1 and one.expected < self._each  # the last: its table is in .001
        other = f", or '{first}', which tells how large it is" if by_the_end else ""
        return DamagedError(
            f"'{path}' has {one.found} bytes, expected {one.expected}",
            rule="volumes.size",
            hint=f"copy '{path.name}' again{other}: it is cut short, or is another bundle's",
        )

    def _lacks(self, numbers: Sequence[int]) -> DamagedError:
        whole = Path(self.name)
        return volume_names.missing(whole.name, numbers, str(whole.parent))

    def _goes_on(self, fit: volume_sizes.Fit) -> DamagedError:
        extra = ", ".join(f"'{self._path(number).name}'" for number in fit.extra)
        return DamagedError(
            f"'{self.name}' ends in volume {fit.count}, and there are more: {extra}",
            rule="volumes.extra",
            hint=f"take {extra} away: another bundle's, or nobody's",
        )


class Pipe:
    """A bundle that comes in through a pipe, in order."""

    def __init__(self, name: str, stream: BinaryIO) -> None:
        self.name = name
        self.size: int | None = None
        self.volumes: Sequence[Volume] = ()
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

    def expect_end(self, offset: int) -> None:
        """Nothing can be seen of a pipe's end before it comes."""

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
def opened(path: Path, also: Sequence[Path] = ()) -> Iterator[OpenFile | VolumeSet]:
    """A bundle's file or volumes, open for reading until the block ends.

    Args:
        path: the bundle, one of its volumes, or the folder that it lies in.
        also: further folders with volumes of it.

    Raises:
        AirgapError: it is not there, or cannot be read.
        UsageError: several bundles lie there.
        DamagedError: the first volume is missing, or too small; what else is wrong with the set is
            told when the bundle's table is read.
    """
    with opened_files(volume_names.locate(path, also)) as source:
        yield source


@contextmanager
def opened_files(
    files: volume_names.Files, first: int | None = None
) -> Iterator[OpenFile | VolumeSet]:
    """The same for files that were located already; `first` is a descriptor of the first one."""
    with ExitStack() as stack:
        # A link that a person named is theirs to name; one that lies among volumes is not.
        flags = os.O_NOFOLLOW if files.is_split else 0
        if first is None:
            start = stack.enter_context(_open_file(files.first, flags))
        else:
            start = OpenFile(str(files.first), first)
        if not files.is_split:
            yield start
            return
        open_: list[OpenFile | None] = [start]
        for number in range(2, max(files.volumes) + 1):
            path = files.volumes.get(number)
            open_.append(stack.enter_context(_open_file(path, flags)) if path else None)
        yield VolumeSet(str(files.folder / files.name), open_)


@contextmanager
def _open_file(path: Path, flags: int) -> Iterator[OpenFile]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    except OSError as error:
        absent = volume_names.ABSENT if isinstance(error, FileNotFoundError) else None
        raise AirgapError(f"cannot open '{path}': {error.strerror}", hint=absent) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise AirgapError(
                f"'{path}' is not a file", hint="name the .tar.zst itself, or - for a pipe"
            )
        yield OpenFile(str(path), descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def source(path: Path, also: Sequence[Path] = ()) -> Iterator[Bytes]:
    """A bundle that a command line names: its file or volumes, or `-` for standard input."""
    if str(path) == "-":
        yield Pipe("the pipe", sys.stdin.buffer)
        return
    with opened(path, also) as file:
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
