"""A recording through the scheduler: what was heard, piece by piece, until the client goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

from starlette.requests import Request

from airgap.errors import UsageError
from runtime.engine.audio import decode
from runtime.engine.options import TranscribeOptions
from runtime.engine.scheduler import Job, Scheduler
from runtime.engine.transcript import Segment
from runtime.engine.whisper import WhisperEngine
from runtime.server import errors

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
class Finished:
    """The last: how long it took, in seconds, the turns of others included."""

    seconds: float


Heard = Sound | Speech | Segment | Finished


class ClientGoneError(Exception):
    """The client closed the connection before its answer was ready."""


def steps(
    engine: WhisperEngine, recording: Recording, options: TranscribeOptions
) -> Iterator[Heard]:
    """What the engine does, in steps that others may come between.

    Raises:
        ApiError: 400 where the recording is none that can be decoded; the engine's own errors
            pass as they are.
    """
    started = time.perf_counter()
    try:
        decoded = decode(recording.stream, recording.name, longest=recording.longest)
    except UsageError as error:
        raise errors.from_engine(error, "file") from error
    yield Sound(decoded.duration, decoded.damaged_packets)
    listening = engine.listen(decoded.samples, options)
    del decoded
    yield Speech(listening.language, listening.language_probability)
    yield from listening.segments
    yield Finished(time.perf_counter() - started)


async def hear(
    scheduler: Scheduler, caller: str, work: Iterator[Heard], *, long: bool
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
