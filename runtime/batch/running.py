"""The recordings of a run, several at once: skipped where done, transcribed, written, recorded."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from airgap import attestation, jcs, limits
from airgap.attestation import EXTENSION, Transcribed
from airgap.console import Progress, console
from airgap.errors import AirgapError
from airgap.files import write_whole
from airgap.host_key import HostKey
from airgap.strict_json import JsonError, to_time
from runtime.batch.gathering import Item
from runtime.batch.ledger import Ledger
from runtime.batch.record import NAME, Text
from runtime.engine import audio
from runtime.engine.formats import FORMATS
from runtime.engine.transcript import Transcript
from runtime.recordings import sha256_of
from runtime.transcriber import Transcriber

_JSON: Final = frozenset({"json", "diarized_json"})


@dataclass(frozen=True)
class Order:
    """What every recording of a run shall become.

    Attributes:
        formats: by their names.
        key: this host's, to sign each text with; None where nobody asked.
        jobs: recordings at once.
    """

    formats: tuple[str, ...]
    key: HostKey | None
    jobs: int

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
    failure: str | None = None


@dataclass
class Pace:
    """How far a run is, in seconds of audio.

    Attributes:
        expected: of each recording, as it says of itself.
    """

    expected: Sequence[float]
    bar: Progress
    stopped: threading.Event = field(default_factory=threading.Event)
    _started: float = field(default_factory=time.monotonic)
    _heard: float = 0.0
    _skipped: float = 0.0

    def over(self, number: int, *, transcribed: bool) -> None:
        """A recording is done with."""
        if transcribed:
            self._heard += self.expected[number]
        else:
            self._skipped += self.expected[number]

    def sentence(self) -> str:
        """How much is done, and how long the rest will take if it goes on so."""
        done, total = self._heard + self._skipped, sum(self.expected)
        told = f"{_clock(done)} of {_clock(total)} of audio"
        if not self._heard:
            return told
        left = (total - done) * (time.monotonic() - self._started) / self._heard
        return f"{told}, about {_clock(left)} to go"


class StoppedError(Exception):
    """Somebody has stopped the run while this recording was heard."""


def run(
    items: Sequence[Item],
    streams: Sequence[BinaryIO],
    transcriber: Transcriber,
    ledgers: dict[Path, Ledger],
    order: Order,
) -> None:
    """Transcribe every recording that is not done, and tell how it went.

    Args:
        items: the recordings.
        streams: the same, open.
        transcriber: what hears them.
        ledgers: of every place of the items.
        order: what they shall become.

    Raises:
        AirgapError: recordings failed, which are recorded; or a text could not be written, which
            ends the run.
    """
    expected = [audio.expected_seconds(one, os.fstat(one.fileno()).st_size) for one in streams]
    outcomes: list[Outcome] = []
    with (
        console.progress("transcribe", round(sum(expected)), unit="seconds") as bar,
        ThreadPoolExecutor(order.jobs, thread_name_prefix="recording") as pool,
    ):
        pace = Pace(expected, bar)
        work = {
            pool.submit(_one, _Job(item, stream, number, transcriber, order, pace), ledgers): number
            for number, (item, stream) in enumerate(zip(items, streams, strict=True))
        }
        try:
            for future in as_completed(work):
                outcome = future.result()
                outcomes.append(outcome)
                pace.over(work[future], transcribed=bool(outcome.written))
                _tell(outcome, len(outcomes), len(items), pace)
        except BaseException:
            _stop(work, pace)
            raise
    _sum_up(outcomes)


@dataclass(frozen=True)
class _Job:
    """One recording with what is needed to transcribe it."""

    item: Item
    stream: BinaryIO
    number: int
    transcriber: Transcriber
    order: Order
    pace: Pace


@dataclass(frozen=True)
class _Source:
    """A recording as it was heard: SHA-256 of its bytes, and how many packets did not decode."""

    audio: str
    damaged_packets: int


def _one(job: _Job, ledgers: dict[Path, Ledger]) -> Outcome:
    """The story of a recording. What is wrong with it is its outcome; raises what ends the run."""
    item, ledger = job.item, ledgers[job.item.place]
    made = job.transcriber.provenance
    names = job.order.names(item)
    share = _Share(job)
    before = _state(job.stream)
    try:
        digest = sha256_of(job.stream, str(item.recording))
        if ledger.done(names, digest, made, attested=job.order.key is not None):
            return Outcome(item)
        signatures = [f"{name}{EXTENSION}" for name in names if job.order.key]
        ledger.begin([*names, *signatures], item.relative(), digest)
        heard, damaged = _heard(job, share, before)
    except AirgapError as error:
        ledger.fail(item.relative(), error.message)
        return Outcome(item, failure=error.message)
    finally:
        share.finish()
    paths = []
    for name, form in zip(names, job.order.formats, strict=True):
        text = _write(job, heard, _Source(digest, damaged), name, form)
        ledger.add(text, made)
        paths.append(item.folder / name)
    return Outcome(item, tuple(paths))


def _write(job: _Job, heard: Transcript, source: _Source, name: str, form: str) -> Text:
    """One text, whole, and the signature over it, where that was asked for."""
    content = FORMATS[form].render(heard).encode()
    signed = _signed(content, form, source.audio, job)
    write_whole(job.item.folder / name, content)
    if signed:
        write_whole(job.item.folder / f"{name}{EXTENSION}", signed)
    return Text(
        file=name,
        format=form,
        sha256=hashlib.sha256(content).hexdigest(),
        recording=job.item.relative(),
        audio=source.audio,
        milliseconds=round(heard.duration * 1000),
        damaged_packets=source.damaged_packets,
        made_by=job.transcriber.provenance.id,
        time=to_time(datetime.now(UTC)),
        attestation=f"{name}{EXTENSION}" if signed else None,
    )


def _heard(job: _Job, share: _Share, before: tuple[int, int, int]) -> tuple[Transcript, int]:
    """The transcript, and how many packets did not decode. Raises AirgapError.

    What was hashed must be what is heard: a recording that has another state than `before` that
    is refused.
    """
    path = job.item.recording
    job.stream.seek(0)
    recording = audio.decode(job.stream, str(path))
    if _state(job.stream) != before:
        raise AirgapError(
            f"'{path}' was changed while it was read", hint="run it again when it is complete"
        )
    if damage := recording.damage(str(path)):
        console.warn(damage)
    transcript = job.transcriber.transcribe(recording.samples, share.heard)
    return replace(transcript, recording=path.stem), recording.damaged_packets


def _state(stream: BinaryIO) -> tuple[int, int, int]:
    """What changes whenever somebody writes into the file."""
    found = os.fstat(stream.fileno())
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _signed(content: bytes, form: str, digest: str, job: _Job) -> bytes | None:
    """This host's envelope over one text; None where nobody asked for it."""
    if job.order.key is None:
        return None
    try:
        transcript = (
            Transcribed.of_json(jcs.parse(content))
            if form in _JSON
            else Transcribed.of_bytes(content)
        )
    except JsonError as error:
        raise AirgapError(f"'{job.item.recording}' cannot be signed for: {error}") from error
    envelope = attestation.make(job.order.key, job.transcriber.provenance, digest, transcript, form)
    return envelope.to_json()


class _Share:
    """A recording's part of the bar: as many seconds as were expected of it, in the end."""

    def __init__(self, job: _Job) -> None:
        self._pace, self._whole = job.pace, round(job.pace.expected[job.number])
        self._shown = 0

    def heard(self, seconds: float) -> None:
        """So much of it has been heard. Raises StoppedError where the run has been stopped."""
        if self._pace.stopped.is_set():
            raise StoppedError
        self._show(min(round(seconds), self._whole))

    def finish(self) -> None:
        """It is done with."""
        self._show(self._whole)

    def _show(self, seconds: int) -> None:
        self._pace.bar.advance(seconds - self._shown)
        self._shown = seconds


def _stop(work: dict[Future[Outcome], int], pace: Pace) -> None:
    """Begin nothing more; what is being heard notices at its next segment."""
    pace.stopped.set()
    for future in work:
        future.cancel()


def _tell(outcome: Outcome, number: int, of: int, pace: Pace) -> None:
    if outcome.failure is not None:
        console.warn(f"{outcome.failure} ({number} of {of})")
    elif outcome.written:
        files = ", ".join(map(str, outcome.written))
        console.say(f"wrote {files} ({number} of {of}; {pace.sentence()})")


def _sum_up(outcomes: Sequence[Outcome]) -> None:
    """Say what became of all of them. Raises AirgapError where some failed."""
    failed = sorted(str(one.item.recording) for one in outcomes if one.failure is not None)
    written = sum(bool(one.written) for one in outcomes)
    before = len(outcomes) - written - len(failed)
    recordings = "1 recording" if len(outcomes) == 1 else f"{len(outcomes)} recordings"
    console.say(f"{recordings}: {written} transcribed, {before} done before, {len(failed)} failed")
    if failed:
        named = ", ".join(f"'{one}'" for one in failed[: limits.NAMED])
        more = f" and {len(failed) - limits.NAMED} more" if len(failed) > limits.NAMED else ""
        raise AirgapError(
            f"{len(failed)} of {len(outcomes)} recordings failed: {named}{more}",
            hint=f"{NAME} beside the texts says why; the same command again takes these alone",
        )


def _clock(seconds: float) -> str:
    """A length of audio, or of time, for a person: `1:02:03`, `4:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
