"""The bodies of answers, as OpenAI's API documents them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class DurationUsage(BaseModel):
    """What OpenAI bills whisper-1 by: the length of the recording."""

    type: Literal["duration"] = "duration"
    seconds: float


class Transcription(BaseModel):
    """`response_format=json`."""

    text: str
    usage: DurationUsage


class Translation(BaseModel):
    """`response_format=json` of a translation."""

    text: str


class EmotionBody(BaseModel):
    """How a segment sounds to the bundle's models: scores from 0 to 1, and words by probability."""

    arousal: float | None = None
    dominance: float | None = None
    valence: float | None = None
    categories: dict[str, float] | None = None


class SegmentBody(BaseModel):
    """A segment; times in seconds; `speaker` and `emotion` where asked."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    speaker: str | None = None
    emotion: EmotionBody | None = None


class WordBody(BaseModel):
    """A word; times in seconds; `speaker` where asked."""

    word: str
    start: float
    end: float
    speaker: str | None = None


class OriginBundle(BaseModel):
    """A bundle; `statement` is its SHA-256, in groups the approval code."""

    name: str
    version: str
    statement: str


class OriginModel(BaseModel):
    """A model of the bundle, and where it is published."""

    id: str
    role: str
    repository: str | None = None
    commit: str | None = None


class Digest(BaseModel):
    """Of bytes, in hex."""

    sha256: str


class Origin(BaseModel):
    """Where an answer comes from. Not OpenAI's."""

    bundle: OriginBundle
    models: list[OriginModel]
    engine: dict[str, str]
    options: dict[str, str | int | bool]
    audio: Digest


class HostSignature(BaseModel):
    """One signature: the host's key, and the value in base64."""

    keyid: str
    sig: str


class Envelope(BaseModel):
    """This host's signature over an answer (DSSE); `airgap verify --response` checks it."""

    payload: str
    payloadType: str  # noqa: N815 - as DSSE has it
    signatures: list[HostSignature]


class VerboseTranscription(BaseModel):
    """`response_format=verbose_json`; `segments` and `words` as the granularities ask."""

    task: Literal["transcribe", "translate"]
    language: str
    duration: float
    text: str
    segments: list[SegmentBody] | None = None
    words: list[WordBody] | None = None
    usage: DurationUsage
    airgap: Origin
    attestation: Envelope | None = None


class DiarizedSegment(BaseModel):
    """A segment of one speaker's; times in seconds."""

    type: Literal["transcript.text.segment"]
    id: str
    start: float
    end: float
    text: str
    speaker: str


class DiarizedTranscription(BaseModel):
    """`response_format=diarized_json`."""

    task: Literal["transcribe"]
    duration: float
    text: str
    segments: list[DiarizedSegment]
    usage: DurationUsage
    airgap: Origin
    attestation: Envelope | None = None


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """Every answer that is not the one asked for."""

    error: ErrorDetail


class ModelBody(BaseModel):
    """A model's name."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(BaseModel):
    """Every name under which a model may be asked for."""

    object: Literal["list"] = "list"
    data: list[ModelBody]


class Verdict(BaseModel):
    """Who vouches for what is served."""

    bundle: str
    sequence: int
    generation: int
    approval_code: str
    signers: list[str]
    policy: str
    mounted: str


class Network(BaseModel):
    """What keeps the process from a network, measured when it left; nothing where it stayed."""

    offline: bool
    mechanisms: list[str]
    escapes_tried: int


class Inventory(BaseModel):
    """What is served: the verdict over the bundle, its signed inventory, and how it is served.

    `languages` has the ISO 639-1 codes that each model knows.
    """

    verdict: Verdict
    serving: list[str]
    languages: dict[str, list[str]]
    network: Network
    inventory: dict[str, Any]


class Status(BaseModel):
    """How the server is."""

    status: str
