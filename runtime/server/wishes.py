"""The form of a request: what to transcribe, how, and how to answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Final

from fastapi import Depends, File, Form, Request, UploadFile

from airgap.errors import UsageError
from runtime.engine.options import TranscribeOptions, check_options
from runtime.engine.speakers.diarizer import SpeakerHints
from runtime.engine.whisper import WhisperEngine
from runtime.server import emotion as feelings
from runtime.server import errors, limits, speakers
from runtime.server.hearing import Recording
from runtime.server.service import Preset
from runtime.server.speakers import Asked, Said

_NAME_LENGTH: Final = 100


class ResponseFormat(StrEnum):
    """OpenAI's formats of a transcription, and NIST's of speakers."""

    JSON = "json"
    TEXT = "text"
    SRT = "srt"
    VERBOSE_JSON = "verbose_json"
    VTT = "vtt"
    DIARIZED_JSON = "diarized_json"
    RTTM = "rttm"


class Granularity(StrEnum):
    """What gets times of its own in verbose_json."""

    WORD = "word"
    SEGMENT = "segment"


class Chunking(StrEnum):
    """How a recording is cut; here voice detection always does it."""

    AUTO = "auto"


_Upload = Annotated[
    UploadFile,
    File(
        description="The recording: WAV, FLAC, MP3, M4A, Ogg, Opus, WebM, MP4 and more.",
    ),
]
_Model = Annotated[
    str,
    Form(
        min_length=1,
        max_length=_NAME_LENGTH,
        description="A model's name of `GET /v1/models`, or a preset: `whisper-1` (beam 5), "
        "`whisper-1-fast` (beam 1), `whisper-1-quality` (beam 10); `gpt-4o-transcribe-diarize` "
        "where speakers can be told apart.",
    ),
]
_Language = Annotated[
    str | None,
    Form(max_length=8, description="ISO 639-1 code of what is spoken; else it is detected."),
]
_Prompt = Annotated[
    str | None,
    Form(description="Text before the recording: names, spelling. Its last 223 tokens count."),
]
_Format = Annotated[ResponseFormat, Form(description="Of the answer.")]
_Temperature = Annotated[
    float,
    Form(
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="0 tries 0, then higher ones where the text repeats itself or is improbable.",
    ),
]
_Granularities = Annotated[
    list[Granularity] | None,
    Form(
        alias="timestamp_granularities[]",
        max_length=2,
        description="`word`, `segment` or both; with `verbose_json` alone.",
    ),
]
_Hotwords = Annotated[
    str | None, Form(description="Words to expect throughout, at most 96 tokens. Not OpenAI's.")
]
_Stream = Annotated[
    bool,
    Form(
        description="Server-sent events, a segment at a time; with `json`, `text`, "
        "`verbose_json`, and `diarized_json`, which starts when the speakers are known."
    ),
]
_Chunking = Annotated[
    Chunking | None,
    Form(description="Accepted for OpenAI's clients: recordings are always cut at pauses."),
]


@dataclass(frozen=True)
class Wish:
    """What a client asks for.

    Attributes:
        file: the upload.
        model: the name of a model or preset.
        form: of the answer.
        options: for the engine, without the preset's.
        granularities: for verbose_json.
        stream: whether to answer in events.
        speakers: the wish to know who speaks; None where nobody asks.
        emotion: whether to say how each segment sounds.
    """

    file: UploadFile
    model: str
    form: ResponseFormat
    options: TranscribeOptions
    granularities: frozenset[Granularity]
    stream: bool
    speakers: Asked | None = None
    emotion: bool = False

    def recording(self, longest: float) -> Recording:
        """The upload, for the decoder."""
        return Recording(self.file.file, self._name, self.file.size or 0, longest)

    @property
    def title(self) -> str:
        """What the upload is called, for formats that name it."""
        return self._name.rpartition(".")[0] or self._name

    @property
    def _name(self) -> str:
        return (self.file.filename or "file").rpartition("/")[2][-_NAME_LENGTH:]

    @property
    def long(self) -> bool:
        """Whether it may be held back for the sake of short ones.

        Who asks for more than text waits for it, and keeps no short one from its place meanwhile.
        """
        more = self.speakers is not None or self.emotion
        return more or (self.file.size or 0) > limits.SHORT_UPLOAD

    def options_for(self, engine: WhisperEngine, preset: Preset) -> TranscribeOptions:
        """Everything for the engine. Raises ApiError 400 for what the model cannot do."""
        asked = self.options.temperatures
        options = replace(
            self.options,
            beam_size=preset.beam_size,
            temperatures=preset.temperatures if asked == (0.0,) else asked,
        )
        plain = TranscribeOptions()
        for param, one in (
            ("language", replace(plain, language=options.language)),
            ("model", replace(plain, task=options.task)),
        ):
            try:
                check_options(one, engine.name, engine.languages)
            except UsageError as error:
                raise errors.wrong(error.message, param) from error
        return options


async def transcription(
    *,
    request: Request,
    file: _Upload,
    model: _Model,
    language: _Language = None,
    prompt: _Prompt = None,
    response_format: _Format = ResponseFormat.JSON,
    temperature: _Temperature = 0.0,
    timestamp_granularities: _Granularities = None,
    hotwords: _Hotwords = None,
    stream: _Stream = False,
    chunking_strategy: _Chunking = None,
    emotion: feelings.Wanted = False,
    said: Annotated[Said, Depends(speakers.said)],
) -> Wish:
    """The form of `POST /v1/audio/transcriptions`. Raises ApiError 400."""
    del chunking_strategy
    await _refuse_strange_fields(request, _TRANSCRIPTION)
    if timestamp_granularities and response_format is not ResponseFormat.VERBOSE_JSON:
        raise errors.wrong(
            f"timestamp_granularities need response_format 'verbose_json', found "
            f"'{response_format}'",
            "timestamp_granularities",
        )
    granularities = frozenset(timestamp_granularities or {Granularity.SEGMENT})
    feelings.check(
        wanted=emotion, form=response_format, has_segments=Granularity.SEGMENT in granularities
    )
    if stream and response_format not in _STREAMED:
        raise errors.wrong(
            f"stream goes with response_format {' or '.join(map(repr, map(str, _STREAMED)))}, "
            f"found '{response_format}'",
            "stream",
        )
    if stream and Granularity.WORD in granularities:
        raise errors.wrong(
            "stream goes with timestamp_granularities 'segment', found 'word'",
            "timestamp_granularities",
        )
    if stream and emotion:
        raise errors.wrong("emotion is told of the whole: expected no stream", "emotion")
    return Wish(
        file,
        model,
        response_format,
        TranscribeOptions(
            language=language,
            temperatures=(temperature,),
            word_timestamps=Granularity.WORD in granularities,
            initial_prompt=prompt or None,
            hotwords=hotwords or None,
        ),
        granularities,
        stream,
        speakers.asked(said, response_format, model, stream=stream),
        emotion,
    )


async def translation(
    *,
    request: Request,
    file: _Upload,
    model: _Model,
    prompt: _Prompt = None,
    response_format: _Format = ResponseFormat.JSON,
    temperature: _Temperature = 0.0,
    hotwords: _Hotwords = None,
) -> Wish:
    """The form of `POST /v1/audio/translations`. Raises ApiError 400."""
    await _refuse_strange_fields(request, _TRANSLATION)
    if asked := speakers.asked(Said(None, SpeakerHints()), response_format, model, stream=False):
        raise errors.wrong("speakers are told apart in transcriptions alone", asked.param)
    return Wish(
        file,
        model,
        response_format,
        TranscribeOptions(
            task="translate",
            temperatures=(temperature,),
            initial_prompt=prompt or None,
            hotwords=hotwords or None,
        ),
        frozenset({Granularity.SEGMENT}),
        stream=False,
    )


_TRANSLATION: Final = frozenset(
    {"file", "model", "prompt", "response_format", "temperature", "hotwords"}
)
_TRANSCRIPTION: Final = _TRANSLATION | {
    "language",
    "timestamp_granularities[]",
    "stream",
    "chunking_strategy",
    "diarize",
    "num_speakers",
    "min_speakers",
    "max_speakers",
    "emotion",
}
_STREAMED: Final = (
    ResponseFormat.JSON,
    ResponseFormat.TEXT,
    ResponseFormat.VERBOSE_JSON,
    ResponseFormat.DIARIZED_JSON,
)


async def _refuse_strange_fields(request: Request, known: frozenset[str]) -> None:
    """A wish that is not understood is refused, never left out in silence; so is one said twice."""
    counts = Counter(name for name, _value in (await request.form()).multi_items())
    for name, count in counts.items():
        if name not in known:
            speakers.refuse_known_speakers(name)
            raise errors.wrong(
                f"Unrecognized request argument supplied: {name[:_NAME_LENGTH]}",
                name[:_NAME_LENGTH],
            )
        if count > 1 and not name.endswith("[]"):
            raise errors.wrong(f"'{name}' is given {count} times", name)
