"""A file of the download cache that is still coming: `partial/HEX`, beside it `HEX.json`.

The record says how many bytes were safely on the disk when it was written, and their SHA-256. A
hash cannot be put to sleep and woken in another process, so the next run hashes that prefix
again; where it is not what the record says (a power cut, a dying disk), it begins anew. Bytes
behind the prefix are dropped. Whether the file is right, its whole digest decides at the end.

The next record's bytes are taken on the disk beforehand (`HEX.json.new`): a disk that was filled by
the file itself has no room for a record of it, and what came would be lost.

Whoever fills the file holds a lock on it, so that two builds on one cache take turns.
"""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final

from airgap import strict_json
from airgap.console import Advance, console
from airgap.digest import CHUNK, is_sha256
from airgap.errors import AirgapError
from airgap.files import sync_folder
from airgap.limits import KIB
from airgap.sink import Origin, OwnSideError, Sink
from airgap.strict_json import Fields

RECORD: Final = 16 * KIB
"""Bytes of a record at most; an ETag is short."""

RESERVED: Final = 4 * KIB
"""Bytes that are taken for the next record: a block of most file systems; one needs less."""

TURN: Final = 0.2
"""Seconds between two looks whether another build has finished with a file."""


@dataclass(frozen=True)
class Record:
    """What was safely there. `parse(to_bytes())` is the identity; anything else is no record."""

    size: int
    sha256: str
    origin: Origin | None

    def to_bytes(self) -> bytes:
        """As JSON."""
        origin = {"name": self.origin.name, "etag": self.origin.etag} if self.origin else None
        return strict_json.readable({"size": self.size, "sha256": self.sha256, "origin": origin})

    @classmethod
    def parse(cls, content: bytes) -> Record | None:
        """The record, or None where a crash or a disk left something else."""
        defects: list[str] = []
        try:
            fields = Fields(strict_json.parse(content), "", defects)
        except strict_json.JsonError:
            return None
        origin = fields.optional_inner("origin")
        record = cls(
            fields.integer("size"),
            fields.text("sha256", is_sha256),
            Origin(origin.text("name"), origin.optional_text("etag")) if origin else None,
        )
        return None if defects else record


class Partial:
    """One unfinished file, locked. Made by `claimed`.

    Attributes:
        sink: takes the rest of it.
    """

    def __init__(self, path: Path, stream: FileIO, sink_for: SinkFor) -> None:
        self._path, self._stream = path, stream
        self.sink = Sink(
            stream,
            size=sink_for.size,
            limit=sink_for.limit,
            advance=sink_for.advance,
            stop=sink_for.stop,
            worded=sink_for.worded,
            checkpoint=self._checkpoint,
        )
        self._worded = sink_for.worded

    @property
    def _record(self) -> Path:
        return self._path.with_name(f"{self._path.name}.json")

    @property
    def _next_record(self) -> Path:
        return self._path.with_name(f"{self._path.name}.json.new")  # one writer: it has the lock

    def resume(self) -> int:
        """Take over what an earlier run left and the disk kept; how many bytes that is.

        Raises:
            OwnSideError: the disk has no room for a record of it.
        """
        record = self._read_record()
        if record is None or not self._adopt(record):
            self.forget()
            self.sink.restart()
        else:
            self.sink.origin = record.origin
            self._stream.truncate(record.size)
        self._reserve()
        return self.sink.position

    def _read_record(self) -> Record | None:
        try:
            with self._record.open("rb") as stream:
                return Record.parse(stream.read(RECORD))
        except OSError:  # there is none, or the disk lost it: then nothing is taken over
            return None

    def _adopt(self, record: Record) -> bool:
        """Hash the recorded prefix where it lies; whether it is what the record says."""
        self._stream.seek(0)
        while self.sink.position < record.size:
            try:
                chunk = self._stream.read(min(CHUNK, record.size - self.sink.position))
            except OSError:  # the disk lost it; what cannot be read is not there
                return False
            if not chunk:
                return False
            self.sink.adopt(chunk)
        return self.sink.digest == record.sha256

    def record(self) -> None:
        """Make what is there durable, and then write down how much that is. Raises OwnSideError."""
        record = Record(self.sink.position, self.sink.digest, self.sink.origin)
        try:
            os.fdatasync(self._stream.fileno())
            self._write_in_place(record.to_bytes())
            self._next_record.replace(self._record)
        except OSError as error:
            raise self._worded(error) from error

    def _checkpoint(self) -> None:
        self.record()
        self._reserve()

    def _reserve(self) -> None:
        try:
            self._next_record.write_bytes(bytes(RESERVED))
        except OSError as error:
            raise self._worded(error) from error

    def _write_in_place(self, content: bytes) -> None:
        """Write the next record over the bytes that were reserved for it."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self._next_record, flags, 0o600), "wb") as stream:
            stream.write(content)
            stream.truncate()  # behind what was written, which it flushes first
            # Before it is renamed: file systems wait with bytes that replace others in place.
            os.fdatasync(stream.fileno())

    def finish(self, place: Path) -> None:
        """Give the file, which was found right, its final name, read-only and durable."""
        try:
            os.fchmod(self._stream.fileno(), 0o444)
            os.fsync(self._stream.fileno())
            place.parent.mkdir(parents=True, exist_ok=True)
            self._path.replace(place)
            sync_folder(place.parent)
        except OSError as error:
            raise self._worded(error) from error
        self.forget()

    def forget(self) -> None:
        """Remove the record, and the place of the next one."""
        for path in (self._record, self._next_record):
            path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the file and its record."""
        self._path.unlink(missing_ok=True)
        self.forget()


@dataclass(frozen=True)
class SinkFor:
    """What a sink is told: the size where it is known, the most there may be, and who watches.

    `worded` says in whose disk's words a failure is told.
    """

    size: int | None
    limit: int
    advance: Advance
    stop: threading.Event
    worded: Callable[[OSError], OwnSideError]


@contextmanager
def claimed(path: Path, sink_for: SinkFor) -> Iterator[Partial]:
    """The unfinished file at `path`, made where it is missing, once nobody else works on it.

    Raises:
        OwnSideError: it cannot be made, or the work was stopped while it waited.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = _locked(path, sink_for.stop)
    except OSError as error:
        raise sink_for.worded(error) from error
    with stream, closing((partial := Partial(path, stream, sink_for)).sink):
        yield partial


def _locked(path: Path, stop: threading.Event) -> FileIO:
    """The file, open and locked, and still the one that has this name."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    while True:
        stream = FileIO(os.open(path, flags, 0o600), "r+")
        try:
            _wait_for_turn(stream.fileno(), path, stop)
            if _is_at(stream.fileno(), path):
                return stream
        except BaseException:
            stream.close()
            raise
        stream.close()  # whoever had it finished it: it has its final name, look again


def _wait_for_turn(descriptor: int, path: Path, stop: threading.Event) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OwnSideError(f"'{path}' is not a regular file", hint=f"rm '{path}'")
    told = False
    while not try_lock(descriptor):
        if not told:
            console.say(f"Another build is fetching {path.name[:12]}…: waiting for it")
            told = True
        if stop.wait(TURN):
            raise OwnSideError("the fetch was stopped")


def try_lock(descriptor: int) -> bool:
    """Lock a file for this process's threads apart, where nobody else has; whether that worked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    return False


def recorded(path: Path) -> int:
    """Bytes that a run would take over from the unfinished file at `path`, by record and size.

    A record may outlive its file: the file gets its final name first.
    """
    try:
        record = Record.parse(path.with_name(f"{path.name}.json").read_bytes())
        size = path.stat().st_size
    except OSError:
        return 0
    return record.size if record and record.size <= size else 0


def keep_what_came(partial: Partial) -> None:
    """Record what is there, after a failure: a disk that takes no record has the one before."""
    with suppress(AirgapError):
        partial.record()
