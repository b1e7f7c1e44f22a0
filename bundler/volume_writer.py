"""Write a bundle into one file or into volumes, each byte once.

Volumes are opened one after the other, so that a thousand of them need one descriptor; each is
durable before the next one starts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airgap.volume_names import volume_name
from bundler import volume_size


class VolumeWriter:
    """A new bundle, to be written at any offset, in a folder that nobody else uses."""

    def __init__(self, path: Path, each: int | None) -> None:
        """Write `path`, or volumes of it with `each` bytes."""
        self._path, self._each = path, each
        self._made: set[int] = set()
        self._number, self._descriptor = 0, -1
        self._at = 0

    @property
    def first(self) -> Path:
        """The file with the head. A bundle that fits into one volume is not split."""
        return self._path if self._made == {1} else self._volume(1)

    def seek(self, offset: int) -> int:
        """Go to an offset of the whole."""
        self._at = offset
        return offset

    def write(self, data: bytes) -> int:
        """Write all of `data` there."""
        view = memoryview(data)
        while view:
            index, start = divmod(self._at, self._each) if self._each else (0, self._at)
            self._turn_to(1 + index)
            room = self._each - start if self._each else len(view)
            count = os.pwrite(self._descriptor, view[:room], start)
            view = view[count:]
            self._at += count
        return len(data)

    def finish(self) -> None:
        """Make everything durable, under its names."""
        self.close(sync=True)
        if self._each and self._made == {1}:
            self._volume(1).rename(self._path)

    def close(self, *, sync: bool) -> None:
        """Close what is open."""
        if self._number:
            if sync:
                os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._number = 0

    def _turn_to(self, number: int) -> None:
        if number == self._number:
            return
        self.close(sync=True)
        if self._each:
            volume_size.check_count(number * self._each, self._each)
        path = self._volume(number) if self._each else self._path
        how = 0 if number in self._made else os.O_CREAT | os.O_EXCL
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | how
        self._descriptor = os.open(path, flags, 0o644)
        self._number = number
        self._made.add(number)

    def _volume(self, number: int) -> Path:
        return self._path.with_name(volume_name(self._path.name, number))


@contextmanager
def writing(path: Path, each: int | None) -> Iterator[VolumeWriter]:
    """A writer that is finished when the block ends well.

    Args:
        path: `NAME-VERSION.tar.zst`, in a private folder.
        each: bytes of a volume, of which the last may have fewer; None for one file.
    """
    writer = VolumeWriter(path, each)
    try:
        yield writer
        writer.finish()
    finally:
        writer.close(sync=False)
