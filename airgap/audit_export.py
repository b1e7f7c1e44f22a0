"""An exported audit log: its lines up to a checkpoint, then one line with the signed checkpoint.

`head -n -1 FILE` are the log's own bytes, `tail -n 1 FILE` is the envelope (DSSE). Kept elsewhere
it proves what the log said at that time: a log that was cut or rewritten since does not go on
from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import IO, Final

from airgap.audit_chain import AuditVerdict, Break, lines_of, walk
from airgap.checkpoint import Checkpoint
from airgap.envelope import Envelope
from airgap.errors import AirgapError, DamagedError, UntrustedError
from airgap.keys import PublicKey

_ENVELOPE_BYTES: Final = 4096
"""One signed checkpoint needs some six hundred."""


@dataclass(frozen=True)
class Export:
    """An exported log whose checkpoint and lines were checked."""

    taken: Checkpoint
    _stream: IO[bytes]
    _size: int

    def compare(self, verdict: AuditVerdict, lines: Iterable[bytes]) -> AuditVerdict:
        """The verdict on a log, broken where it does not go on from this export.

        Args:
            verdict: on the log itself; returned as it is where that broke by itself.
            lines: the log's lines.
        """
        if verdict.defect is not None:
            return verdict
        self._stream.seek(0)
        pairs = zip_longest(lines_of(self._stream, self._size), lines)
        for at, (theirs, ours) in enumerate(pairs, start=1):
            if theirs is None:
                break
            if theirs != ours:
                return replace(verdict, defect=self._difference(at, ours))
        return verdict

    def _difference(self, at: int, ours: bytes | None) -> Break:
        expected = f"event {at} of {self.taken.n}, as exported on {self.taken.time}"
        if ours is None or not ours.endswith(b"\n"):
            return Break(at, "audit.truncated", expected, "the end of the log")
        return Break(at, "audit.rewritten", expected, "another event under this number")


def write(out: IO[bytes], lines: Iterable[bytes], signed: Envelope) -> None:
    """Write an export: the lines that the checkpoint covers, then its envelope."""
    out.writelines(lines)
    out.write(signed.to_json() + b"\n")


@contextmanager
def opened(path: Path, key: PublicKey) -> Iterator[Export]:
    """An export, after checking that this host wrote and signed all of it.

    Args:
        path: the file.
        key: the host's.

    Raises:
        UntrustedError: it is no export, another key signed it, or its lines are not those that
            were signed.
        AirgapError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            envelope, end = _last_line(stream, size, path)
            taken = Checkpoint.check(envelope, key)
            stream.seek(0)
            verdict = walk(lines_of(stream, end), key)
            if verdict.defect or (verdict.events, verdict.head) != (taken.n, taken.head):
                raise _altered(path, verdict, taken)
            yield Export(taken, stream, end)
    except OSError as error:
        raise AirgapError(f"cannot read '{path}': {error.strerror}") from error


def _last_line(stream: IO[bytes], size: int, path: Path) -> tuple[Envelope, int]:
    """The envelope at the end, and how many bytes stand before it."""
    stream.seek(max(0, size - _ENVELOPE_BYTES))
    read = stream.read(_ENVELOPE_BYTES)
    line = read.removesuffix(b"\n")
    line = line[line.rfind(b"\n") + 1 :]
    if not read.endswith(b"\n"):
        raise _no_export(path, "it does not end with a line")
    try:
        return Envelope.from_json(line), size - len(line) - 1
    except DamagedError as error:
        raise _no_export(path, error.message) from error


def _no_export(path: Path, why: str) -> UntrustedError:
    return UntrustedError(
        f"'{path}' is no exported audit log, or was cut: {why}",
        rule="export.form",
        hint="give the file that `airgap audit export FILE` wrote, whole",
    )


def _altered(path: Path, verdict: AuditVerdict, taken: Checkpoint) -> UntrustedError:
    where = (
        f"line {verdict.defect.line}: expected {verdict.defect.expected}; found "
        f"{verdict.defect.found}"
        if verdict.defect
        else f"{verdict.events} events, where {taken.n} others were signed"
    )
    return UntrustedError(
        f"the lines of '{path}' are not those that its checkpoint covers: {where}",
        rule="export.lines",
        hint="take another copy of the export; this one was changed",
    )
