"""One recording of a run -> its texts: heard, written whole, signed for, recorded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from airgap import attestation, jcs
from airgap.attestation import EXTENSION, Transcribed
from airgap.console import one_line
from airgap.errors import AirgapError
from airgap.files import write_whole
from airgap.host_key import HostKey
from airgap.provenance import Work
from airgap.strict_json import JsonError, to_time
from runtime.batch.gathering import Item
from runtime.batch.ledger import JournalError, Ledger
from runtime.batch.pace import Share
from runtime.batch.record import Text
from runtime.engine import audio
from runtime.engine.formats import FORMATS
from runtime.engine.transcript import Transcript
from runtime.listening import Recording
from runtime.transcriber import Transcriber

_JSON: Final = frozenset({"json", "diarized_json"})


@dataclass(frozen=True)
class Order:
    """What every recording of a run shall become.

    Attributes:
        formats: by their names.
        key: this host's, to sign each text with; None where nobody asked.
        jobs: recordings at once.
        work: by what models, asked what.
    """

    formats: tuple[str, ...]
    key: HostKey | None
    jobs: int
    work: Work

    def names(self, item: Item) -> list[str]:
        """The files of a recording's texts, in the order of the formats."""
        return [f"{item.stem}{FORMATS[name].extension}" for name in self.formats]


@dataclass(frozen=True)
class Outcome:
    """What became of one recording.

    Attributes:
        written: its texts; none where they were done before, or where it failed.
        failure: why it failed; None where it did not.
    """

    item: Item
    written: tuple[Path, ...] = ()
    failure: AirgapError | None = None


@dataclass(frozen=True)
class Opened:
    """A recording whose file could be opened.

    Attributes:
        seconds: how long it is, by what it says of itself.
    """

    item: Item
    stream: BinaryIO
    seconds: float

    @classmethod
    def of(cls, item: Item, stream: BinaryIO) -> Opened:
        """With how long it says it is."""
        size = os.fstat(stream.fileno()).st_size
        return cls(item, stream, audio.expected_seconds(stream, size))


@dataclass(frozen=True)
class Desk:
    """What every recording of a run is transcribed with.

    Attributes:
        transcriber: what hears it.
        order: what it shall become.
        ledgers: of every place that is written into.
    """

    transcriber: Transcriber
    order: Order
    ledgers: Mapping[Path, Ledger]


@dataclass(frozen=True)
class _Heard:
    """A recording as it was heard.

    Attributes:
        audio: SHA-256 of its bytes, hex.
        damaged_packets: how many did not decode.
    """

    item: Item
    audio: str
    transcript: Transcript
    damaged_packets: int


def texts_of(one: Opened, desk: Desk, share: Share) -> Outcome:
    """The story of a recording. What is wrong with it is its outcome; raises what ends the run."""
    item, ledger = one.item, desk.ledgers[one.item.place]
    names = desk.order.names(item)
    signatures = [f"{name}{EXTENSION}" for name in names if desk.order.key]
    try:
        recording = Recording.hashed(item.recording, one.stream)
        ledger.begin([*names, *signatures], item.relative(), recording.sha256)
        transcript, damaged = recording.transcribed(desk.transcriber, share.heard)
    except JournalError:  # nor could any other text be written
        raise
    except AirgapError as error:
        return failed(item, error, desk.ledgers)
    finally:
        share.finish()
    heard = _Heard(item, recording.sha256, transcript, damaged)
    for name, form in zip(names, desk.order.formats, strict=True):
        ledger.add(_write(heard, desk, name, form), desk.transcriber.provenance)
    return Outcome(item, tuple(item.folder / name for name in names))


def failed(item: Item, error: AirgapError, ledgers: Mapping[Path, Ledger]) -> Outcome:
    """A failure, recorded where texts are written: for it alone no folder is made."""
    if ledger := ledgers.get(item.place):
        ledger.fail(item.relative(), one_line(error.message))
    return Outcome(item, failure=error)


def _write(heard: _Heard, desk: Desk, name: str, form: str) -> Text:
    """One text, whole, and the signature over it, where that was asked for."""
    content = FORMATS[form].render(heard.transcript).encode()
    signed = _signed(content, form, heard, desk)
    desk.ledgers[heard.item.place].unsign(name)
    write_whole(heard.item.folder / name, content)
    if signed:
        write_whole(heard.item.folder / f"{name}{EXTENSION}", signed)
    return Text(
        file=name,
        format=form,
        sha256=hashlib.sha256(content).hexdigest(),
        recording=heard.item.relative(),
        audio=heard.audio,
        milliseconds=round(heard.transcript.duration * 1000),
        damaged_packets=heard.damaged_packets,
        made_by=desk.transcriber.provenance.id,
        time=to_time(datetime.now(UTC)),
        attestation=f"{name}{EXTENSION}" if signed else None,
    )


def _signed(content: bytes, form: str, heard: _Heard, desk: Desk) -> bytes | None:
    """This host's envelope over one text; None where nobody asked for it."""
    if desk.order.key is None:
        return None
    try:
        transcript = (
            Transcribed.of_json(jcs.parse(content))
            if form in _JSON
            else Transcribed.of_bytes(content)
        )
    except JsonError as error:
        raise AirgapError(f"'{heard.item.recording}' cannot be signed for: {error}") from error
    made = desk.transcriber.provenance
    return attestation.make(desk.order.key, made, heard.audio, transcript, form).to_json()
