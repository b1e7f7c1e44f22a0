"""A recording through the scheduler: what was heard, piece by piece, until the client goes.

Who speaks is found out aside, where it holds up nobody. Whether the words are heard meanwhile or
afterwards is the hardware's to say; in a stream it is before them, which are then told with their
speakers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from starlette.requests import Request

from airgap.errors import UsageError
from runtime.engine import audio
from runtime.engine.audio import Samples
from runtime.engine.emotion.segments import emotions_of
from runtime.engine.options import TranscribeOptions
from runtime.engine.scheduler import Job, Scheduler
from runtime.engine.speakers.diarizer import Diarizer, SpeakerHints
from runtime.engine.speakers.merging import Speakers
from runtime.engine.transcript import Emotion, Segment, Turn
from runtime.engine.whisper import WhisperEngine
from runtime.server import errors

if TYPE_CHECKING:
    from runtime.engine.emotion.model import EmotionModel

T = TypeVar("T")


@dataclass(frozen=True)
class Recording:
    """A recording that is to be heard.

    Attributes:
        stream: its bytes, open; not closed here.
        name: what to call it in errors.
        size: in bytes.
        longest: seconds above which it is refused.
    """

    stream: BinaryIO
    name: str
    size: int
    longest: float


@dataclass(frozen=True)
class Sound:
    """The first that is known: how long the recording is, and how much of it is damaged."""

    seconds: float
    damaged_packets: int


@dataclass(frozen=True)
class Speech:
    """The second: what is spoken. As in `Transcript`."""

    language: str | None
    probability: float


@dataclass(frozen=True)
class Turns:
    """Who speaks when; before the first segment or after the last. Seconds that it took."""

    turns: tuple[Turn, ...]
    seconds: float


@dataclass(frozen=True)
class Finished:
    """The last: how long it took, in seconds, the turns of others included."""

    seconds: float


Heard = Sound | Speech | Turns | Segment | Emotion | Finished

_Steps = Iterator[Heard | Future[Turns]]


@dataclass(frozen=True)
class Speaking:
    """The wish to know who speaks, for the steps of a recording.

    Attributes:
        diarizer: tells them apart.
        hints: what is known about them.
        at_once: whether to hear the words meanwhile.
        aside: has something done that has no steps: `Scheduler.aside`.
    """

    diarizer: Diarizer
    hints: SpeakerHints
    at_once: bool
    aside: Callable[[Callable[[], Turns]], Future[Turns]]

    def ask(self, samples: Samples) -> Future[Turns]:
        """Who speaks when."""

        def find_out() -> Turns:
            started = time.perf_counter()
            turns = self.diarizer.diarize(samples, self.hints)
            return Turns(turns, time.perf_counter() - started)

        return self.aside(find_out)


class ClientGoneError(Exception):
    """The client closed the connection before its answer was ready."""


def steps(
    engine: WhisperEngine,
    recording: Recording,
    options: TranscribeOptions,
    speaking: Speaking | None = None,
    emotions: Sequence[EmotionModel] = (),
) -> Iterator[Heard | Future[Turns]]:
    """What the engine does, in steps that others may come between.

    A Future among them is what the next step waits for.

    Raises:
        ApiError: 400 where the recording is none that can be decoded; the engine's own errors, and
            those of the back end that tells speakers apart, pass as they are.
    """
    started = time.perf_counter()
    if speaking is None:
        heard: _Steps = _words(engine, recording, options)
    else:
        timed = replace(options, word_timestamps=True)
        heard = _words_and_speakers(engine, recording, timed, speaking)
    yield from _and_emotions(heard, recording, emotions) if emotions else heard
    yield Finished(time.perf_counter() - started)


def _words(
    engine: WhisperEngine, recording: Recording, options: TranscribeOptions
) -> Iterator[Sound | Speech | Segment]:
    decoded = _decoded(recording)
    yield Sound(decoded.duration, decoded.damaged_packets)
    listening = engine.listen(decoded.samples, options)
    del decoded  # the engine has its features: the samples need not stay until the end
    yield Speech(listening.language, listening.language_probability)
    yield from listening.segments


def _words_and_speakers(
    engine: WhisperEngine, recording: Recording, options: TranscribeOptions, speaking: Speaking
) -> Iterator[Sound | Speech | Segment | Turns | Future[Turns]]:
    decoded = _decoded(recording)
    yield Sound(decoded.duration, decoded.damaged_packets)
    who = speaking.ask(decoded.samples)
    try:
        if not speaking.at_once:
            yield who
            yield who.result()
        listening = engine.listen(decoded.samples, options)
        del decoded
        yield Speech(listening.language, listening.language_probability)
        for segment in listening.segments:
            if who.done():
                who.result()  # raises where it failed: the rest need not be heard
            yield segment
        if speaking.at_once:
            yield who
            yield who.result()
    finally:
        who.cancel()  # where the client went before it was begun


def _and_emotions(heard: _Steps, recording: Recording, models: Sequence[EmotionModel]) -> _Steps:
    """The same, and then how each segment of the answer sounds, in their order.

    The recording is decoded anew for it: its samples need not stay while the words are heard.
    """
    segments, turns = [], None
    for what in heard:
        if isinstance(what, Segment):
            segments.append(what)
        elif isinstance(what, Turns):
            turns = what.turns
        yield what
    if turns is not None:
        speakers = Speakers(turns, keep_words=False)
        segments = [part for segment in segments for part in speakers.parts(segment)]
    yield from emotions_of(models, _decoded(recording).samples, segments)


def _decoded(recording: Recording) -> audio.Recording:
    recording.stream.seek(0)
    try:
        return audio.decode(recording.stream, recording.name, longest=recording.longest)
    except UsageError as error:
        raise errors.from_engine(error, "file") from error


async def hear(
    scheduler: Scheduler, caller: str, work: Iterator[Heard | Future[Turns]], *, long: bool
) -> AsyncGenerator[Heard]:
    """What the steps give, as it comes. Closing this stops the work.

    Raises:
        ApiError: the recording was refused, or the engine failed.
    """
    loop = asyncio.get_running_loop()
    heard: asyncio.Queue[Heard | Exception | None] = asyncio.Queue()

    def tell(what: Heard | Exception | None) -> None:
        with suppress(RuntimeError):  # the loop has ended, and nobody listens any more
            loop.call_soon_threadsafe(heard.put_nowait, what)

    job = Job(caller, long, work, item=tell, ended=tell)
    scheduler.submit(job)
    try:
        while (what := await heard.get()) is not None:
            if isinstance(what, Exception):
                raise errors.from_engine(what) from what
            yield what
    finally:
        scheduler.cancel(job)


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of the work, which is stopped when the client closes the connection.

    Raises:
        ClientGoneError: it did.
    """
    task, gone = asyncio.create_task(work), asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGoneError
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
