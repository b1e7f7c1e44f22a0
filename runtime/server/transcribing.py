"""`POST /v1/audio/transcriptions` and `/v1/audio/translations`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse

from airgap.host_key import HostKey
from runtime.engine.scheduler import Scheduler
from runtime.engine.transcript import Transcript
from runtime.recordings import sha256_of
from runtime.server import answers, emotion, logs, schemas, speakers, wishes
from runtime.server.answers import Hearing
from runtime.server.hearing import (
    ClientGoneError,
    Heard,
    Speaking,
    Speech,
    hear,
    steps,
    unless_gone,
)
from runtime.server.metrics import Metrics
from runtime.server.service import Loaded, Service
from runtime.server.wishes import Wish
from runtime.server.witness import Witness

if TYPE_CHECKING:
    from runtime.engine.emotion.model import EmotionModel

_EVENTS: Final = "text/event-stream"

_GONE: Final = 499
"""nginx's status for a client that closed the connection; for the log, nobody is there to read."""

_DAMAGED: Final = "X-Airgap-Damaged-Packets"
"""How many packets of the recording did not decode: what they held is missing from the text."""


@dataclass(frozen=True)
class Desk:
    """What the routes work with.

    Attributes:
        longest: seconds of a recording.
        log_text: whether transcripts go to the log, which is only ever asked for.
        key: this host's, to sign answers with; None where nobody asked for that.
    """

    service: Service
    scheduler: Scheduler
    metrics: Metrics
    longest: float
    log_text: bool
    key: HostKey | None = None


def router(desk: Desk) -> APIRouter:
    """The two routes."""
    routes = APIRouter(tags=["Audio"])

    @routes.post(
        "/v1/audio/transcriptions",
        summary="Transcribe a recording",
        response_class=Response,
        responses=_responses(schemas.Transcription, events=True),
    )
    async def transcribe(
        request: Request, wish: Annotated[Wish, Depends(wishes.transcription)]
    ) -> Response:
        """What is said, in the language that is spoken."""
        return await _answered(desk, request, wish)

    @routes.post(
        "/v1/audio/translations",
        summary="Translate a recording into English",
        response_class=Response,
        responses=_responses(schemas.Translation, events=False),
    )
    async def translate(
        request: Request, wish: Annotated[Wish, Depends(wishes.translation)]
    ) -> Response:
        """What is said, in English. An English-only model answers 400."""
        return await _answered(desk, request, wish)

    return routes


async def _answered(desk: Desk, request: Request, wish: Wish) -> Response:
    """The story of a request: a model, its turns, what it heard, an answer."""
    notes = request.state.notes
    loaded = desk.service.ready()
    engine, preset = loaded.choose(wish.model)
    options = wish.options_for(engine, preset)
    speaking = _speaking(desk, loaded, wish)
    recording = wish.recording(desk.longest)
    notes.update(model=engine.name, bytes=recording.size)
    if speaking is not None:
        notes.update(diarization=speaking.diarizer.name)
    emotions = _emotions(loaded, wish)
    provenance = loaded.origin.provenance(
        engine.name,
        engine.hardware,
        options,
        speaking.hints if speaking else None,
        [one.name for one in emotions],
    )
    audio = await asyncio.to_thread(sha256_of, recording.stream, recording.name)
    seen = Witness(provenance, audio, desk.key)
    work = steps(engine, recording, options, speaking, emotions)
    pieces = hear(desk.scheduler, notes["caller"], work, long=wish.long)
    hearing = Hearing(engine.name, loaded.verdict["bundle"], wish)
    async with AsyncExitStack() as open_until_told:
        open_until_told.push_async_callback(pieces.aclose)
        try:
            await unless_gone(request, _listen(pieces, hearing, whole=not wish.stream))
        except ClientGoneError:
            notes["status"] = _GONE
            return Response(status_code=_GONE)
        headers = {**seen.headers, **_warnings(hearing)}
        if wish.stream:
            open_until_told.pop_all()  # the stream closes it
            told = _told(desk, notes, pieces, hearing, seen)
            return StreamingResponse(told, media_type=_EVENTS, headers=headers)
    # A second of work for hours of several speakers, during which others must be answered.
    transcript = await asyncio.to_thread(hearing.transcript)
    _record(desk, notes, hearing, transcript)
    response = await asyncio.to_thread(answers.answer, transcript, wish, seen)
    response.headers.update(headers)
    return response


def _speaking(desk: Desk, loaded: Loaded, wish: Wish) -> Speaking | None:
    """How to find out who speaks. Raises ApiError 400 where that is asked and cannot be."""
    if wish.speakers is None:
        return None
    if loaded.diarizer is None:
        raise speakers.unavailable(wish.speakers.param)
    at_once = loaded.at_once and not wish.stream
    return Speaking(loaded.diarizer, wish.speakers.hints, at_once, desk.scheduler.aside)


def _emotions(loaded: Loaded, wish: Wish) -> tuple[EmotionModel, ...]:
    """What tells how it sounds. Raises ApiError 400 where that is asked and cannot be."""
    if wish.emotion and not loaded.emotions:
        raise emotion.unavailable()
    return loaded.emotions if wish.emotion else ()


async def _listen(pieces: AsyncGenerator[Heard], hearing: Hearing, *, whole: bool) -> None:
    """Take what is heard: all of it, or until the recording is known to be one."""
    async for what in pieces:
        hearing.take(what)
        if not whole and isinstance(what, Speech):
            return


async def _told(
    desk: Desk,
    notes: dict[str, Any],
    pieces: AsyncGenerator[Heard],
    hearing: Hearing,
    seen: Witness,
) -> AsyncGenerator[str]:
    """The events of a stream; when the client goes, the work stops."""
    async with aclosing(pieces):
        async for event in answers.events(hearing, pieces, seen):
            yield event
    _record(desk, notes, hearing, await asyncio.to_thread(hearing.transcript))


def _warnings(hearing: Hearing) -> dict[str, str]:
    damaged = hearing.sound.damaged_packets
    return {_DAMAGED: str(damaged)} if damaged else {}


def _record(desk: Desk, notes: dict[str, Any], hearing: Hearing, transcript: Transcript) -> None:
    """Count what was heard, and note it for the log's line."""
    notes["audio_seconds"] = round(transcript.duration, 3)
    desk.metrics.audio.labels(transcript.model).inc(transcript.duration)
    desk.metrics.damaged.inc(hearing.sound.damaged_packets)
    if hearing.finished:
        factor = hearing.finished.seconds / transcript.duration
        desk.metrics.factor.labels(transcript.model).observe(factor)
    if hearing.turns and (back_end := notes.get("diarization")):
        desk.metrics.diarized.labels(back_end).inc(transcript.duration)
        factor = hearing.turns.seconds / transcript.duration
        desk.metrics.diarization_factor.labels(back_end).observe(factor)
    if desk.log_text:
        logs.say("transcript", "--log-text", request_id=notes["request_id"], text=transcript.text)


def _responses(body: type[BaseModel], *, events: bool) -> dict[int | str, dict[str, Any]]:
    """What the API's document says of the answers."""
    name = "#/components/schemas/"
    shown: dict[str, Any] = {
        "application/json": {
            "schema": {
                "anyOf": [
                    {"$ref": f"{name}{body.__name__}"},
                    {"$ref": f"{name}VerboseTranscription"},
                    *([{"$ref": f"{name}DiarizedTranscription"}] if events else []),
                ]
            }
        },
        "text/plain": {"schema": {"type": "string"}},
    }
    if events:
        shown[_EVENTS] = {"schema": {"type": "string"}}
    said = {
        400: "The request, or the recording, is not one that can be served.",
        401: "The API key is missing or wrong.",
        404: "There is no such model.",
        408: "The body did not arrive in time.",
        413: "The recording is too large.",
        429: "The queue is full; Retry-After says when to come again.",
        500: "The engine failed. There is no partial result.",
        503: "The server is loading or draining; Retry-After says when to come again.",
    }
    return {
        200: {"description": "The transcript.", "content": shown},
        **{
            status: {"model": schemas.ErrorBody, "description": text}
            for status, text in said.items()
        },
    }
