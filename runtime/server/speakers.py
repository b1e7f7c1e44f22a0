"""What a form says about speakers: whether anybody asks, and what is known about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Form

from airgap.errors import UsageError
from runtime.engine.speakers.diarizer import SpeakerHints
from runtime.server import errors

ALIAS: Final = "gpt-4o-transcribe-diarize"
"""OpenAI's model that tells speakers apart: here the first model, where the bundle can."""

_OF_SPEAKERS: Final = frozenset({"diarized_json", "rttm"})
"""Formats that say nothing without them."""

_PLAIN_AT_OPENAI: Final = frozenset({"json", "text"})
"""Formats in which OpenAI's own model says no speakers."""

_STREAMED: Final = ("diarized_json", "verbose_json")
"""Formats whose events have a place for them."""

_MOST: Final = 100
"""Speakers of one recording that a request may speak of."""

KNOWN_SPEAKERS: Final = ("known_speaker_names", "known_speaker_references")
"""OpenAI's fields to name speakers by samples of their voices."""

_Diarize = Annotated[
    bool | None,
    Form(
        description="Say who speaks, in any format but `json`. Asked already by `diarized_json`, "
        f"`rttm`, the three fields below, and, but for `text`, by the model `{ALIAS}`. Not "
        "OpenAI's.",
    ),
]
_Number = Annotated[
    int | None,
    Form(ge=1, le=_MOST, description="How many speak, where it is known. Not OpenAI's."),
]
_AtLeast = Annotated[
    int | None, Form(ge=1, le=_MOST, description="At least so many speak. Not OpenAI's.")
]
_AtMost = Annotated[
    int | None, Form(ge=1, le=_MOST, description="At most so many speak. Not OpenAI's.")
]


@dataclass(frozen=True)
class Said:
    """The fields about speakers."""

    diarize: bool | None
    hints: SpeakerHints


async def said(
    *,
    diarize: _Diarize = None,
    num_speakers: _Number = None,
    min_speakers: _AtLeast = None,
    max_speakers: _AtMost = None,
) -> Said:
    """Take them from the form. Raises ApiError 400 where they contradict each other."""
    hints = SpeakerHints(num_speakers, min_speakers, max_speakers)
    try:
        hints.check()
    except UsageError as error:
        raise errors.wrong(error.message, _first_hint(hints)) from error
    return Said(diarize, hints)


@dataclass(frozen=True)
class Asked:
    """The wish to know who speaks.

    Attributes:
        hints: what is known about the speakers.
        param: the field that asks, for errors.
    """

    hints: SpeakerHints
    param: str


def asked(said: Said, form: str, model: str, *, stream: bool) -> Asked | None:
    """Whether a request wants to know who speaks; None where it does not.

    Args:
        said: its fields about speakers.
        form: its response_format.
        model: the name that it gives.
        stream: whether it wants events.

    Raises:
        ApiError: 400 where its fields contradict each other.
    """
    param = _asking(said, form, model)
    if param is None:
        return None
    if said.diarize is False:
        raise errors.wrong(f"'diarize' is false, and '{param}' asks who speaks", "diarize")
    if form == "json":
        raise errors.wrong(
            f"'{param}' asks who speaks, and response_format 'json' has no place for it: expected "
            "diarized_json, verbose_json, text, srt, vtt or rttm",
            "response_format",
        )
    if stream and form not in _STREAMED:
        raise errors.wrong(
            f"'{param}' asks who speaks: stream then goes with response_format "
            f"{' or '.join(map(repr, _STREAMED))}, found '{form}'",
            "stream",
        )
    return Asked(said.hints, param)


def unavailable(param: str) -> errors.ApiError:
    """A 400: speakers that cannot be told apart are an error, not a missing field."""
    return errors.wrong(
        f"'{param}' asks who speaks: that needs a bundle with diarization, and the one that is "
        "served has none",
        param,
        "diarization_unavailable",
    )


def refuse_known_speakers(field: str) -> None:
    """Raise ApiError 400 for OpenAI's fields of known speakers, which nothing here can honour."""
    if field.removesuffix("[]") in KNOWN_SPEAKERS:
        raise errors.wrong(
            f"{field}: speakers are told apart here, and not recognised; expected none, and labels "
            "SPEAKER_00, SPEAKER_01, … in the answer",
            field.removesuffix("[]"),
            "known_speakers_unavailable",
        )


def _asking(said: Said, form: str, model: str) -> str | None:
    """The field that asks who speaks; None where none does."""
    if form in _OF_SPEAKERS:
        return "response_format"
    if said.diarize:
        return "diarize"
    if said.hints != SpeakerHints():
        return _first_hint(said.hints)
    if model == ALIAS and form not in _PLAIN_AT_OPENAI:
        return "model"
    return None


def _first_hint(hints: SpeakerHints) -> str:
    if hints.number is not None:
        return "num_speakers"
    return "min_speakers" if hints.at_least is not None else "max_speakers"
