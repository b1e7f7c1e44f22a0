"""A bundle as bytes at offsets: one file, or a set of volumes, opened once; or a pipe, in order.

A file is opened at the start and used to the end, so that a path which comes to name another
one in between changes nothing. It is never mapped into memory: a medium may answer
differently the second time, and every byte is used as it was when it was hashed.
"""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from airgap import limits, volume_names
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

    def __init__(self, name: str, files: Sequence[OpenFile]) -> None:
        """Put the volumes together. Raises DamagedError where their sizes cannot be of one set."""
        self.name = name
        self._files = files
        sizes = [file.size or 0 for file in files]
        self._each = _common_size(name, [(file.name, file.size or 0) for file in files])
        self.size: int | None = sum(sizes)
        self.volumes: Sequence[Volume] = tuple(
            Volume(Path(file.name).name, index * self._each, index * self._each + size)
            for index, (file, size) in enumerate(zip(files, sizes, strict=True))
        )

    def read_into(self, offset: int, buffer: bytearray | memoryview) -> None:
        """Fill `buffer` with the bytes at `offset`, which may lie in several volumes."""
        view = memoryview(buffer)
        while view:
            index, at = divmod(offset, self._each)
            if index >= len(self._files):
                raise self._lacks(range(index + 1, index + 2))
            count = min(len(view), self._each - at)
            self._files[index].read_into(at, view[:count])
            view, offset = view[count:], offset + count

    def expect_end(self, offset: int) -> None:
        """Raise DamagedError where volumes are missing or too many, or the last has another size.

        Now that the bundle's own table tells where it ends, the last volumes can be judged.
        """
        needed = -(-offset // self._each)
        there = len(self._files)
        if needed > there:
            raise self._lacks(range(there + 1, needed + 1))
        if needed < there:
            extra = ", ".join(f"'{volume.name}'" for volume in self.volumes[needed:])
            raise DamagedError(
                f"'{self.name}' ends in volume {needed}, and there are more: {extra}",
                rule="volumes.extra",
                hint=f"take {extra} away: another bundle's, or nobody's",
            )
        last = self.volumes[-1]
        if offset != last.end:
            first = (
                f", or '{self.volumes[0].name}', which tells how large it is" if there > 1 else ""
            )
            raise _wrong_size(last.name, last.end - last.start, offset - last.start, first)

    def read_to_end(self, offset: int) -> None:
        """Raise DamagedError where a volume has grown since, or the last goes on."""
        for file, volume in zip(self._files, self.volumes, strict=True):
            file.read_to_end(min(volume.end, max(offset, volume.start)) - volume.start)

    def _lacks(self, numbers: range) -> DamagedError:
        first = Path(self._files[0].name)
        return volume_names.missing(first.name[:-4], numbers, str(first.parent))


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
        DamagedError: volumes are missing, or are not of one set.
    """
    with opened_files(volume_names.locate(path, also)) as source:
        yield source


@contextmanager
def opened_files(
    files: volume_names.Files, first: int | None = None
) -> Iterator[OpenFile | VolumeSet]:
    """The same for files that were located already; `first` is a descriptor of the first one."""
    with ExitStack() as stack:
        start, *rest = files.in_order()
        # A link that a person named is theirs to name; one that lies among volumes is not.
        flags = os.O_NOFOLLOW if files.is_split else 0
        if first is None:
            open_ = [stack.enter_context(_open_file(start, flags))]
        else:
            open_ = [OpenFile(str(start), first)]
        open_ += [stack.enter_context(_open_file(place, flags)) for place in rest]
        yield VolumeSet(str(files.folder / files.name), open_) if files.is_split else open_[0]


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


def _common_size(name: str, sizes: Sequence[tuple[str, int]]) -> int:
    """The size of every volume but the last, where all have it. Raises DamagedError."""
    *full, (last, last_size) = sizes
    if not full:
        return last_size
    each, _count = Counter(size for _name, size in full).most_common(1)[0]
    for volume, size in full:
        if size != each:
            raise _wrong_size(volume, size, each)
    if last_size > each:
        raise DamagedError(
            f"'{last}' has {last_size} bytes, and the volumes before it {each}: the last volume of "
            "a set is never larger",
            rule="volumes.size",
            hint="copy both again: one is cut short, or is another bundle's",
        )
    if each < limits.HEAD_SLOT:
        raise DamagedError(
            f"the volumes of '{name}' have {each} bytes, and the first must hold the bundle's head "
            f"of {limits.HEAD_SLOT}",
            rule="volumes.size",
            hint="copy the volumes again",
        )
    return each


def _wrong_size(name: str, found: int, expected: int, other: str = "") -> DamagedError:
    return DamagedError(
        f"'{name}' has {found} bytes, expected {expected}",
        rule="volumes.size",
        hint=f"copy '{Path(name).name}' again{other}: it is cut short, or is another bundle's",
    )


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
