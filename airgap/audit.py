"""The audit log of a host: what happened, one line an event, only ever appended to.

`audit/log.jsonl` under the host's root. Each line is chained to the one before, and this host's
key signs the chain at intervals. Docs: docs/audit.md; why so: docs/decisions/audit-log.md.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, Literal, get_args

from airgap import audit_export, checkpoint, host_key, strict_json
from airgap.audit_chain import AuditVerdict, BrokenLogError, checkpoint_due, lines_of, walk
from airgap.audit_line import (
    EVENT_BYTES,
    GENESIS,
    LINE_BYTES,
    AuditLine,
    Fact,
    LineError,
    bounded,
    torn_facts,
)
from airgap.checkpoint import Checkpoint
from airgap.errors import AirgapError, UsageError
from airgap.files import share_folder, sync_folder, written_whole
from airgap.host_key import HostKey

Event = Literal[
    "trust-init",
    "trust-add",
    "trust-revoke",
    "trust-rotate",
    "trust-reset-sequence",
    "trust-reset-time",
    "verify",
    "mount",
    "rollback",
    "unmount",
    "update",
    "runtime",
    "gc",
    "recheck",
    "repair",
    "refusal",
    "override",
    "serve",
    "model-loaded",
    "load",
]
"""What callers record. `checkpoint` and `recovered` are the log's own."""

EVENTS: Final[tuple[str, ...]] = get_args(Event)

_MODE: Final = 0o640
_FOLDER_MODE: Final = 0o750


@dataclass(frozen=True)
class AuditLog:
    """The log of the host whose root this is."""

    root: Path

    @classmethod
    def of(cls, root: Path) -> AuditLog:
        """The log of this host; it begins with the first event."""
        return cls(root)

    @property
    def path(self) -> Path:
        """The file."""
        return self.root / host_key.FOLDER / host_key.LOG

    def append(self, event: Event, /, **facts: Fact) -> None:
        """Record an event, durably, before this returns.

        Texts and lists that are too long are cut and say so. A write that an earlier crash cut
        short is cancelled first; nothing is ever taken away. Costs one read of the last line,
        one write and one fsync, whatever the log's length.

        Raises:
            UsageError: an event that callers do not record.
            AirgapError: it could not be written whole (a full disk, no right to write). The log
                stays valid, without the event.
            BrokenLogError: the log's last line is damaged: nothing can be chained to it.
        """
        if event not in EVENTS:
            raise UsageError(f"'{event}' is no event that is recorded: {', '.join(EVENTS)}")
        self._extend(event, {key: bounded(value) for key, value in facts.items()})

    def lines(self, last: int) -> list[tuple[AuditLine | None, bytes]]:
        """The last lines, each with its bytes; None for one that cannot be read. Unjudged.

        Raises:
            AirgapError: there is no log, or it cannot be read.
        """
        with self._opened() as (stream, size):
            return [(_readable(raw), raw) for raw in deque(lines_of(stream, size), last)]

    def verify(self) -> AuditVerdict:
        """Judge the whole log, from its first line.

        Raises:
            AirgapError: there is no log or no public key, or they cannot be read.
        """
        key = host_key.public_key(self.root)
        with self._opened() as (stream, size):
            return walk(lines_of(stream, size), key)

    def export(self, target: Path) -> Checkpoint:
        """Sign the log, and write it with that signature into one file, to be taken away.

        Raises:
            UsageError: `target` is there already; an older export is evidence.
            BrokenLogError: the log is broken, and shall not be signed as if it were not.
            AirgapError: the log or `target` cannot be written.
        """
        if target.exists():
            raise UsageError(f"'{target}' is there already", hint="choose another FILE")
        if self._has_begun():
            self.verify().require_sound(str(self.path))
        signed, end = self._extend(checkpoint.EVENT, {})
        taken = Checkpoint.before(signed)
        with self._opened() as (stream, _size), written_whole(target) as out:
            audit_export.write(out, lines_of(stream, end), taken.sign(HostKey.of(self.root)))
        return taken

    def verify_against(self, exported: Path) -> AuditVerdict:
        """Judge the log, and that it goes on from what was exported earlier.

        Raises:
            UntrustedError: `exported` itself is not what this host wrote and signed.
            AirgapError: one of them cannot be read.
        """
        key = host_key.public_key(self.root)
        with audit_export.opened(exported, key) as export:
            if not self._has_begun():
                return export.compare(walk([], key), [])
            verdict = self.verify()
            with self._opened() as (stream, size):
                return export.compare(verdict, lines_of(stream, size))

    def _extend(self, event: str, facts: Mapping[str, Fact]) -> tuple[AuditLine, int]:
        """Append an event, and what is due before it: its line, and where that begins."""
        with self._locked() as descriptor:
            end = _End.of(descriptor, self.path)
            lines = self._due(end, event, facts)
            written = b"".join(line.to_bytes() for line in lines)[len(end.torn) :]
            _write(descriptor, written, self.path)
            if end.last is None:
                sync_folder(self.path.parent)
            last = lines[-1]
            return last, os.fstat(descriptor).st_size - len(last.to_bytes())

    def _due(self, end: _End, event: str, facts: Mapping[str, Fact]) -> list[AuditLine]:
        """The event's line, after those of a recovery and a checkpoint where they are due."""
        lines: list[AuditLine] = []
        last = end.last
        now = strict_json.to_time(datetime.now(UTC))

        def add(event: str, facts: Mapping[str, Fact], torn: bytes = b"") -> None:
            nonlocal last
            n, prev = (last.n + 1, last.sha256) if last else (1, GENESIS)
            if event == checkpoint.EVENT:
                facts = Checkpoint(n - 1, prev, now).facts(HostKey.of(self.root))
            last = _checked(AuditLine(n, now, event, facts, prev, torn))
            lines.append(last)

        if end.torn:
            add("recovered", torn_facts(end.torn), end.torn)
        while checkpoint_due(last) and event != checkpoint.EVENT:
            add(checkpoint.EVENT, {})
        add(event, facts)
        return lines

    def _has_begun(self) -> bool:
        try:
            return os.lstat(self.path).st_size > 0
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _unreadable(self.path, error.strerror) from error

    @contextmanager
    def _opened(self) -> Iterator[tuple[IO[bytes], int]]:
        """The log, and its size at a moment when nobody was writing."""
        if not self._has_begun():
            raise AirgapError(
                f"there is no audit log '{self.path}': nothing was recorded here, or it was "
                "removed",
                hint="an export tells which: airgap audit verify --against FILE",
            )
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self.path, flags)
            with os.fdopen(descriptor, "rb") as stream:
                _require_regular(descriptor, self.path)
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                size = os.fstat(descriptor).st_size
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                yield stream, size
        except OSError as error:
            raise _unreadable(self.path, error.strerror) from error

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The log, open for appending; whoever else appends waits."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            share_folder(self.root)
            self.path.parent.mkdir(exist_ok=True, mode=_FOLDER_MODE)
            descriptor = os.open(self.path, flags, _MODE)
            try:
                _require_regular(descriptor, self.path)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield descriptor
            finally:
                os.close(descriptor)
        except OSError as error:
            raise AirgapError(
                f"cannot write the audit log '{self.path}': {error.strerror}",
                hint="whoever runs this must own the host's root, and its disk must have room",
            ) from error


@dataclass(frozen=True)
class _End:
    """Where a log ends: its last event, and what a crash left after that."""

    last: AuditLine | None
    torn: bytes

    @classmethod
    def of(cls, descriptor: int, path: Path) -> _End:
        """Read back from the end, no further than a line and what was cut off after it."""
        size = os.fstat(descriptor).st_size
        read = os.pread(descriptor, 2 * LINE_BYTES, max(0, size - 2 * LINE_BYTES))
        whole, newline, torn = read.rpartition(b"\n")
        if len(torn) > LINE_BYTES // 2:
            raise _stuck(path, f"{len(torn)} bytes and more without the end of a line")
        if not newline:
            return cls(None, torn)
        last = whole[whole.rfind(b"\n") + 1 :] + newline
        try:
            line = AuditLine.parse(last)
        except LineError as error:
            raise _stuck(path, str(error)) from error
        return cls(line, torn)


def _checked(line: AuditLine) -> AuditLine:
    """A line that will be read back as it is written; what could not be is not written."""
    try:
        AuditLine.parse(line.to_bytes())
    except LineError as error:
        raise UsageError(f"the event '{line.event}' cannot be recorded: {error}") from error
    size = len(line.to_bytes()) - len(line.torn)
    if size > EVENT_BYTES:
        raise UsageError(
            f"the event '{line.event}' cannot be recorded: its {size} bytes are more than "
            f"{EVENT_BYTES}"
        )
    return line


def _write(descriptor: int, written: bytes, path: Path) -> None:
    done = os.write(descriptor, written)
    if done != len(written):
        raise AirgapError(
            f"the disk took {done} of {len(written)} bytes of an event for the audit log '{path}'",
            hint="free some space; the next event cancels the part that was written",
        )
    os.fsync(descriptor)


def _readable(raw: bytes) -> AuditLine | None:
    try:
        return AuditLine.parse(raw)
    except LineError:
        return None


def _require_regular(descriptor: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise _unreadable(path, "it is no regular file")


def _unreadable(path: Path, why: str | None) -> AirgapError:
    return AirgapError(f"cannot read the audit log '{path}': {why}")


def _stuck(path: Path, why: str) -> BrokenLogError:
    return BrokenLogError(
        f"nothing can be added to the audit log '{path}': its last line is damaged: {why}",
        rule="audit.end",
        hint=f"keep it as evidence: mv '{path}' elsewhere; the next event begins a new log",
    )
