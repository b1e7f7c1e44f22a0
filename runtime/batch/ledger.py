"""The record of one folder while a run works in it.

What a run is about to write, and what it has written, goes line by line into a journal beside the
record, each line durable before the next step. So after a crash at any moment the next run knows
which files are a run's and which are a person's, and takes none of a person's away.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from airgap import strict_json
from airgap.attestation import EXTENSION, RESPONSE_FILE
from airgap.errors import AirgapError, UsageError, next_after
from airgap.files import LONGEST_NAME, read_bounded, sync_folder, write_whole
from airgap.provenance import Provenance, Work
from airgap.strict_json import Fields
from runtime.batch.record import NAME, RECORD_FILE, Record, Text

JOURNAL: Final = ".airgap-run.journal"


class JournalError(AirgapError):
    """The journal cannot be written, so no text of its folder can be."""


class Ledger:
    """The record of a folder, locked for one run. Several threads may use it at once."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        self.folder = folder
        self._journal = descriptor
        self._record = _read_record(folder / NAME)
        self._begun: set[str] = set()
        self._turn = threading.Lock()

    @classmethod
    @contextmanager
    def opened(cls, folder: Path) -> Iterator[Ledger]:
        """The ledger of a folder, made where it is missing; at the end its record is written.

        Raises:
            UsageError: another run is at work there, or its record is none.
            AirgapError: the folder cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = _locked(folder / JOURNAL)
        except OSError as error:
            raise AirgapError(
                f"cannot write into '{folder}': {error.strerror}", hint=next_after(error)
            ) from error
        try:
            ledger = cls(folder, descriptor)
            ledger._replay()
            ledger._forget()
            try:
                yield ledger
            finally:
                ledger._settle()
        finally:
            os.close(descriptor)

    def heard(self, names: Sequence[str], work: Work, *, attested: bool) -> str | None:
        """Of which recording these texts are: SHA-256 of its bytes, hex; of that, they are done.

        None where no run has made them all of one recording by this work, or where one is gone. A
        text that a person has mended since is there.

        Args:
            names: of the texts.
            work: what they shall be made by.
            attested: whether each must be signed.
        """
        with self._turn:
            found = {self._heard(name, work, attested=attested) for name in names}
        return found.pop() if len(found) == 1 else None

    def begin(self, names: Sequence[str], recording: str, audio: str) -> None:
        """Note that these files are about to be written.

        Args:
            names: of the files.
            recording: whose they will be, from this folder.
            audio: SHA-256 of its bytes, hex.

        Raises:
            UsageError: one is there and no run wrote it, a person has changed it since, it is of
                another recording, or its name would be too long.
            JournalError: that cannot be written down.
        """
        with self._turn:
            for name in names:
                self._refuse_a_persons(name, recording, audio)
            self._append({"begin": list(names)})
            self._begun.update(names)

    def unsign(self, name: str) -> None:
        """Remove the signature over a text that is about to be written anew.

        Beside other words it would accuse whoever reads them of having changed them.
        """
        with self._turn:
            text = self._record.texts.get(name)
        signature = f"{name}{EXTENSION}"
        if text is not None and text.attestation == signature:
            (self.folder / signature).unlink(missing_ok=True)

    def add(self, text: Text, provenance: Provenance) -> None:
        """Note that a text has been written. Raises JournalError where that cannot be."""
        with self._turn:
            if text.made_by not in self._record.made_by:
                self._append({"made_by": provenance.to_json()})
            self._append({"text": text.to_json()})
            self._record.add(text, provenance)

    def fail(self, recording: str, why: str) -> None:
        """Note why a recording has no text."""
        with self._turn:
            self._record.failed[recording] = why

    def _heard(self, name: str, work: Work, *, attested: bool) -> str | None:
        text = self._record.texts.get(name)
        if text is None or not (self.folder / name).is_file():
            return None
        if attested and (
            text.attestation is None or not (self.folder / text.attestation).is_file()
        ):
            return None
        return text.audio if self._record.made_by[text.made_by].work == work else None

    def _refuse_a_persons(self, name: str, recording: str, audio: str) -> None:
        path = self.folder / name
        if len(os.fsencode(name)) > LONGEST_NAME:
            raise UsageError(
                f"the name of '{path}' would be too long: more than {LONGEST_NAME} bytes",
                hint="rename its recording",
            )
        if name in self._begun or not os.path.lexists(path):
            return
        text = self._record.texts.get(name)
        if text is None:
            if self._is_attestation(name):
                return
            why = "is there already, and no run wrote it"
        elif recording != text.recording and audio != text.audio:
            why = f"is the text of '{text.recording}'"
        elif hashlib.sha256(read_bounded(path, RESPONSE_FILE, "a text")).hexdigest() != text.sha256:
            why = "was changed since a run wrote it"
        else:
            return
        raise UsageError(f"'{path}' {why}", hint="move it away, or give another --out")

    def _append(self, line: dict[str, Any]) -> None:
        content = strict_json.compact(line) + b"\n"
        try:
            while content:
                content = content[os.write(self._journal, content) :]
            os.fsync(self._journal)
        except OSError as error:
            raise JournalError(
                f"cannot write '{self.folder / JOURNAL}': {error.strerror}",
                hint=next_after(error),
            ) from error

    def _replay(self) -> None:
        """Take up what a run that was broken off has noted, and remove its half-written files."""
        with os.fdopen(os.dup(self._journal), "rb") as stream:
            stream.seek(0)
            content = stream.read(RECORD_FILE)
        whole = content[: content.rfind(b"\n") + 1]
        os.ftruncate(self._journal, len(whole))  # a line that was cut short promised nothing
        makers: dict[str, Provenance] = dict(self._record.made_by)
        for line in whole.splitlines():
            self._take(line, makers)
        for name in (*self._begun, NAME):
            for left in self.folder.glob(f".{_literal(name)}.????????.tmp"):
                left.unlink(missing_ok=True)

    def _forget(self) -> None:
        """A recording that is not there any more is no failure of this run."""
        for recording in [*self._record.failed]:
            if not os.path.lexists(self.folder / recording):
                del self._record.failed[recording]

    def _take(self, line: bytes, makers: dict[str, Provenance]) -> None:
        defects: list[str] = []
        try:
            fields = Fields(strict_json.parse(line), "", defects)
        except strict_json.JsonError as error:
            raise self._damaged(str(error)) from error
        match fields.keys():
            case ["begin"]:
                self._begun.update(fields.texts("begin", len(line)))
            case ["made_by"]:
                provenance = Provenance.read(fields.inner("made_by"))
                makers[provenance.id] = provenance
            case ["text"]:
                text = Text.read(fields.inner("text"))
                if text.made_by in makers:
                    self._record.add(text, makers[text.made_by])
            case other:
                defects.append(f"expected begin, made_by or text, found {other}")
        if defects:
            raise self._damaged("; ".join(defects))

    def _settle(self) -> None:
        """Write the record, and only then remove the journal; where nothing was, nothing is left.

        It stays where a crash left a file that no run has noted since: only it knows whose that is.
        """
        there = os.path.lexists(self.folder / NAME)
        if there or self._record.texts or self._record.failed:
            write_whole(self.folder / NAME, self._record.to_bytes())
        if not any(self._is_unnoted(name) for name in self._begun):
            (self.folder / JOURNAL).unlink(missing_ok=True)
        sync_folder(self.folder)

    def _is_unnoted(self, name: str) -> bool:
        noted = name in self._record.texts or self._is_attestation(name)
        return not noted and os.path.lexists(self.folder / name)

    def _is_attestation(self, name: str) -> bool:
        return any(name == one.attestation for one in self._record.texts.values())

    def _damaged(self, why: str) -> UsageError:
        return UsageError(
            f"'{self.folder / JOURNAL}' is no journal of a run: {why}",
            hint="move it away; files that were being written when the run broke off are then "
            "left alone",
        )


def _locked(path: Path) -> int:
    """The journal's descriptor, locked. Raises UsageError where another run has it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        descriptor = os.open(path, flags, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise UsageError(
                f"another run is writing into '{path.parent}'", hint="wait until it has ended"
            ) from None
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # that run ended, and removed it, between the two calls


def _read_record(path: Path) -> Record:
    if not os.path.lexists(path):
        return Record()
    return Record.parse(read_bounded(path, RECORD_FILE, "a record of a run"), str(path))


def _literal(name: str) -> str:
    """A file's name as a pattern that fits it alone."""
    return "".join(f"[{one}]" if one in "*?[" else one for one in name)
