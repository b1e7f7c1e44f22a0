"""What a caller may ask of a transcription, and the bounds of each wish."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from airgap.errors import UsageError

TASKS: Final = ("transcribe", "translate")

FALLBACK_TEMPERATURES: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Whisper's own ladder: the next is tried where the text repeats itself or is improbable."""

BEAM_SIZE: Final = 16
"""Memory and time grow with the beam; above 10 the text hardly changes."""

HOTWORD_TOKENS: Final = 96
"""Whisper holds 448 tokens: 223 of earlier text and 5 of marks leave 124 for 30 s of speech."""


@dataclass(frozen=True, slots=True)
class TranscribeOptions:
    """How to transcribe.

    Attributes:
        language: ISO 639-1 code of what is spoken; None to detect it.
        task: `transcribe`, or `translate` into English.
        beam_size: hypotheses kept in parallel, at temperature 0.
        temperatures: tried in turn; the single (0.0,) gives the same text every time.
        word_timestamps: whether each word gets its times.
        vad_filter: leave out what Silero VAD says is not speech. Without it Whisper writes
            words into silence (tiny.en: "You").
        initial_prompt: text before the recording: names, spelling. The model sees its end, at
            most 223 tokens, as OpenAI's API documents.
        hotwords: words to expect in every window.
    """

    language: str | None = None
    task: str = "transcribe"
    beam_size: int = 5
    temperatures: tuple[float, ...] = FALLBACK_TEMPERATURES
    word_timestamps: bool = False
    vad_filter: bool = True
    initial_prompt: str | None = None
    hotwords: str | None = None


def check_options(options: TranscribeOptions, model: str, languages: Sequence[str]) -> None:
    """Refuse what this model cannot do, or nobody should want.

    Args:
        options: what was asked for.
        model: the model's name, for the errors.
        languages: the codes that it knows; `("en",)` is an English-only model.

    Raises:
        UsageError: the first wish that is out of bounds, with what was expected.
    """
    _check_task(options.task, model, languages)
    if options.language is not None:
        _check_language(options.language, model, languages)
    if not 1 <= options.beam_size <= BEAM_SIZE:
        raise UsageError(f"beam size: expected 1 to {BEAM_SIZE}, found {options.beam_size}")
    if not options.temperatures:
        raise UsageError("temperature: expected at least one, found none")
    for temperature in options.temperatures:
        if not (math.isfinite(temperature) and 0 <= temperature <= 1):
            raise UsageError(f"temperature: expected 0 to 1, found {temperature}")


def _check_task(task: str, model: str, languages: Sequence[str]) -> None:
    if task not in TASKS:
        raise UsageError(f"task '{task}': expected one of {', '.join(TASKS)}")
    if task == "translate" and len(languages) == 1:
        raise UsageError(
            f"model '{model}' is English-only: it cannot translate",
            hint="use a multilingual model, or leave out the task",
        )


def _check_language(language: str, model: str, languages: Sequence[str]) -> None:
    if language in languages:
        return
    if len(languages) == 1:
        raise UsageError(
            f"model '{model}' is English-only: expected language 'en', found '{language}'",
            hint="use a multilingual model, or leave out the language",
        )
    near = difflib.get_close_matches(language.lower(), languages, n=3, cutoff=0.6)
    raise UsageError(
        f"model '{model}' does not know language '{language}'"
        + (f"; near: {', '.join(near)}" if near else ""),
        hint="give a code of ISO 639-1, such as en, de or ja",
    )
