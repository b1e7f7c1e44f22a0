"""What was heard -> the body of an answer, in the format that was asked for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Final

from pydantic import BaseModel
from starlette.responses import JSONResponse, PlainTextResponse, Response

from airgap.attestation import Transcribed
from runtime.engine.formats import FORMATS, UNKNOWN, diarized, diarized_segment
from runtime.engine.speakers.merging import Speakers, with_speakers
from runtime.engine.transcript import Emotion, Segment, Transcript
from runtime.server import schemas
from runtime.server.errors import ApiError
from runtime.server.hearing import Finished, Heard, Sound, Speech, Turns
from runtime.server.languages import name_of
from runtime.server.wishes import Granularity, ResponseFormat, Wish
from runtime.server.witness import Witness

DONE: Final = "transcript.text.done"
"""The event that ends a whole answer, with all of its text."""


@dataclass
class Hearing:
    """What a model heard so far, for a wish. `sound` and `speech` come before the first segment."""

    model: str
    bundle: str
    wish: Wish
    sound: Sound = field(default_factory=lambda: Sound(0, 0))
    speech: Speech = field(default_factory=lambda: Speech(None, 0))
    finished: Finished | None = None
    turns: Turns | None = None
    segments: list[Segment] = field(default_factory=list)
    emotions: list[Emotion] = field(default_factory=list)

    def take(self, what: Heard) -> None:
        """Add one piece."""
        match what:
            case Sound():
                self.sound = what
            case Speech():
                self.speech = what
            case Turns():
                self.turns = what
            case Emotion():
                self.emotions.append(what)
            case Segment():
                self.segments.append(what)
            case Finished():
                self.finished = what

    def transcript(self) -> Transcript:
        """All of it, with who said it and how it sounds where that was found out."""
        transcript = self._spoken()
        if not self.emotions:
            return transcript
        pairs = zip(transcript.segments, self.emotions, strict=True)
        return replace(
            transcript, segments=tuple(replace(segment, emotion=one) for segment, one in pairs)
        )

    def _spoken(self) -> Transcript:
        transcript = Transcript(
            model=self.model,
            task=self.wish.options.task,
            language=self.speech.language,
            language_probability=self.speech.probability,
            duration=self.sound.seconds,
            segments=tuple(self.segments),
            recording=self.wish.title,
        )
        if self.turns is None:
            return transcript
        return with_speakers(
            transcript, self.turns.turns, keep_words=self.wish.options.word_timestamps
        )


def answer(transcript: Transcript, wish: Wish, witness: Witness) -> Response:
    """A whole answer; its attestation lies inside, where it has a place for one."""
    origin = schemas.Origin.model_validate(witness.member)
    match wish.form:
        case ResponseFormat.VERBOSE_JSON:
            verbose = _verbose(transcript, wish.granularities, origin)
            return JSONResponse(witness.signed(verbose.model_dump(exclude_none=True), wish.form))
        case ResponseFormat.JSON if transcript.task == "translate":
            return _plain(schemas.Translation(text=transcript.text), wish, witness)
        case ResponseFormat.JSON:
            usage = schemas.DurationUsage(seconds=transcript.duration)
            plain = schemas.Transcription(text=transcript.text, usage=usage)
            return _plain(plain, wish, witness)
        case ResponseFormat.DIARIZED_JSON:
            usage = schemas.DurationUsage(seconds=transcript.duration)
            told = schemas.DiarizedTranscription(**diarized(transcript), usage=usage, airgap=origin)
            return JSONResponse(witness.signed(told.model_dump(exclude_none=True), wish.form))
        case _:
            text = FORMATS[wish.form].render(transcript)
            signed = witness.header(Transcribed.of_bytes(text.encode()), wish.form)
            return PlainTextResponse(text, headers=signed)


async def events(
    hearing: Hearing, pieces: AsyncIterable[Heard], witness: Witness
) -> AsyncIterator[str]:
    """An answer in server-sent events, named as OpenAI names them; an error is the last.

    Where it is known who speaks, each segment of a speaker's comes once more, whole. With
    verbose_json, which OpenAI does not stream, there are whole segments alone, by a name of ours,
    after an event that says how long the recording is.
    The last of a whole answer holds its attestation, over that event.
    """
    text = ""
    timed = hearing.wish.form is ResponseFormat.VERBOSE_JSON
    speakers = Speakers(hearing.turns.turns, keep_words=False) if hearing.turns else None
    if timed:
        yield _event(_begun(hearing, witness))
    try:
        async for what in pieces:
            hearing.take(what)
            if not isinstance(what, Segment):
                continue
            for part in speakers.parts(what) if speakers else (what,):
                # The done event holds the deltas joined, so the first loses its space here.
                delta = part.text if text else part.text.lstrip()
                text += delta
                if timed:
                    yield _event(_timed(_segment(part, asked=speakers is not None)))
                    continue
                told: dict[str, object] = {"type": "transcript.text.delta", "delta": delta}
                if speakers is None:
                    yield _event(told)
                    continue
                whole = diarized_segment(part)
                yield _event({**told, "segment_id": whole["id"]})
                if whole["text"]:
                    yield _event(whole)
    except ApiError as error:
        yield _event(error.body())
        return
    done = {"type": DONE, "text": text}
    yield _event(witness.signed(done, DONE))


def _emotion(segment: Segment) -> schemas.EmotionBody | None:
    return schemas.EmotionBody(**segment.emotion.as_json()) if segment.emotion else None


def _event(body: dict[str, object]) -> str:
    return f"data: {json.dumps(body, separators=(',', ':'))}\n\n"


def _plain(body: BaseModel, wish: Wish, witness: Witness) -> Response:
    """JSON that has OpenAI's members and no other, so that it is signed for in a header."""
    document = body.model_dump(exclude_none=True)
    signed = witness.header(Transcribed.of_json(document), wish.form)
    return JSONResponse(document, headers=signed)


def _begun(hearing: Hearing, witness: Witness) -> dict[str, object]:
    """What is known before the first segment; fields as in verbose_json."""
    return {
        "type": "transcript.begun",
        "task": hearing.wish.options.task,
        "language": name_of(hearing.speech.language),
        "duration": hearing.sound.seconds,
        "model": hearing.model,
        "bundle": hearing.bundle,
        "airgap": witness.member,
    }


def _timed(segment: schemas.SegmentBody) -> dict[str, object]:
    return {"type": "transcript.segment", **segment.model_dump(exclude_none=True)}


def _segment(segment: Segment, *, asked: bool) -> schemas.SegmentBody:
    """A segment of verbose_json; it has a label where speakers were asked for."""
    return schemas.SegmentBody(
        id=segment.id - 1,  # OpenAI counts from 0
        seek=segment.seek,
        start=segment.start,
        end=segment.end,
        text=segment.text,
        tokens=list(segment.tokens),
        temperature=segment.temperature,
        avg_logprob=segment.avg_logprob,
        compression_ratio=segment.compression_ratio,
        no_speech_prob=segment.no_speech_prob,
        speaker=(segment.speaker or UNKNOWN) if asked else None,
        emotion=_emotion(segment),
    )


def _verbose(
    transcript: Transcript, granularities: frozenset[Granularity], origin: schemas.Origin
) -> schemas.VerboseTranscription:
    asked = transcript.turns is not None
    segments = [_segment(one, asked=asked) for one in transcript.segments]
    words = [
        schemas.WordBody(
            word=word.text.strip(),
            start=word.start,
            end=word.end,
            speaker=(word.speaker or UNKNOWN) if asked else None,
        )
        for segment in transcript.segments
        for word in segment.words
    ]
    return schemas.VerboseTranscription(
        task="translate" if transcript.task == "translate" else "transcribe",
        language="english" if transcript.task == "translate" else name_of(transcript.language),
        duration=transcript.duration,
        text=transcript.text,
        segments=segments if Granularity.SEGMENT in granularities else None,
        words=words if Granularity.WORD in granularities else None,
        usage=schemas.DurationUsage(seconds=transcript.duration),
        airgap=origin,
    )
