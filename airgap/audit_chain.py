"""Walk the lines of an audit log from the first: does each follow from the one before?

Found are changed, removed, inserted and reordered lines, and signatures that are not this
host's. Not found are a rewriting of what follows the last checkpoint, and a log cut after it:
those show against an export that was taken away (`AuditLog.verify_against`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Final

from airgap import checkpoint
from airgap.audit_line import GENESIS, LINE_BYTES, AuditLine, LineError
from airgap.checkpoint import Checkpoint
from airgap.errors import RefusedError, UntrustedError
from airgap.keys import PublicKey

CHECKPOINT_EVERY: Final = 64
"""Events 1, 65, 129, … are checkpoints. Part of the format: one that is missing is found."""


class BrokenLogError(RefusedError):
    """The audit log is not what this host wrote: keep it as evidence, and find out who did that."""

    authority = "whoever can write to this host's audit folder"


@dataclass(frozen=True)
class Break:
    """Where a log stops to be believed.

    Attributes:
        line: its number in the file, from 1.
        rule: a stable dotted word for programs.
        expected: what would have followed.
        found: what stands there.
    """

    line: int
    rule: str
    expected: str
    found: str


@dataclass(frozen=True)
class AuditVerdict:
    """What holds of a log.

    Attributes:
        events: lines that hold, from the first.
        head: SHA-256 of the last of them.
        key: id of the host key that checkpoints were compared with.
        covered: the last event that a signature of that key vouches for; 0 for none.
        recovered: events that cancel a write which a crash cut short.
        unfinished: bytes after the last line, of a write that a crash cut short and that the
            next event will cancel; of no meaning where the log is broken.
        defect: where it broke; None where all of it holds.
    """

    events: int
    head: str
    key: str
    covered: int
    recovered: tuple[int, ...] = ()
    unfinished: int = 0
    defect: Break | None = None

    def require_sound(self, name: str) -> None:
        """Raise BrokenLogError, about the log called `name`, where it broke."""
        if self.defect is None:
            return
        raise BrokenLogError(
            f"the audit log '{name}' broke at line {self.defect.line}: expected "
            f"{self.defect.expected}; found {self.defect.found}",
            rule=self.defect.rule,
            hint=f"keep it as evidence: mv '{name}' elsewhere; the next event begins a new log",
        )


def walk(lines: Iterable[bytes], key: PublicKey) -> AuditVerdict:
    """Judge a log.

    Args:
        lines: its lines, with their newlines; the last may have none (see `lines_of`).
        key: the host's.
    """
    step = _Walk(key)
    for raw in lines:
        if not raw.endswith(b"\n") and len(raw) <= LINE_BYTES:
            return step.verdict(unfinished=len(raw))
        if defect := step.take(raw):
            return step.verdict(defect=defect)
    return step.verdict()


def checkpoint_due(last: AuditLine | None) -> bool:
    """Whether, after `last`, the next line must be a checkpoint, or a recovery.

    At fixed numbers, so that whoever rewrites a log cannot leave signatures out; and after a
    recovery, because a cancelled write is worth a signature.
    """
    return last is None or last.n % CHECKPOINT_EVERY == 0 or bool(last.torn)


def lines_of(stream: IO[bytes], size: int) -> Iterator[bytes]:
    """The lines of the first `size` bytes; one that is longer than a line comes cut, as it is."""
    while size > 0:
        raw = stream.readline(min(size, LINE_BYTES + 1))
        if not raw:
            return
        size -= len(raw)
        yield raw


@dataclass
class _Walk:
    """How far the walk has come."""

    key: PublicKey
    last: AuditLine | None = None
    head: str = GENESIS
    covered: int = 0
    recovered: list[int] = field(default_factory=list)

    @property
    def events(self) -> int:
        return self.last.n if self.last else 0

    def take(self, raw: bytes) -> Break | None:
        """Go one line further, or say why not."""
        at = self.events + 1
        if len(raw) > LINE_BYTES:
            return Break(at, "audit.line", "a line", f"more than {LINE_BYTES} bytes without an end")
        try:
            line = AuditLine.parse(raw)
        except LineError as error:
            return Break(at, "audit.line", f"event {at}", str(error))
        if defect := self._out_of_place(line, at):
            return defect
        if line.event == checkpoint.EVENT:
            if defect := self._not_ours(line):
                return defect
            self.covered = line.n - 1
        if line.torn:
            self.recovered.append(line.n)
        self.last, self.head = line, line.sha256
        return None

    def _out_of_place(self, line: AuditLine, at: int) -> Break | None:
        if line.n != at:
            return Break(at, "audit.number", f"event {at}", f"event {line.n}")
        if line.prev != self.head:
            before = f"the line before to have the SHA-256 {line.prev}, as this one says"
            return Break(at, "audit.chain", before, self.head)
        if checkpoint_due(self.last) and line.event != checkpoint.EVENT and not line.torn:
            return Break(at, "audit.checkpoint", "a checkpoint", f"the event '{line.event}'")
        return None

    def _not_ours(self, line: AuditLine) -> Break | None:
        envelope = Checkpoint.before(line).envelope(line.facts)
        if envelope is None:
            return Break(line.n, "audit.checkpoint", "a signature and its key", "neither")
        try:
            Checkpoint.check(envelope, self.key)
        except UntrustedError as error:
            whose = f"a checkpoint of this host's key {self.key.key_id[:16]}"
            return Break(line.n, "audit.checkpoint", whose, error.message)
        return None

    def verdict(self, *, unfinished: int = 0, defect: Break | None = None) -> AuditVerdict:
        return AuditVerdict(
            events=self.events,
            head=self.head,
            key=self.key.key_id,
            covered=self.covered,
            recovered=tuple(self.recovered),
            unfinished=unfinished,
            defect=defect,
        )
