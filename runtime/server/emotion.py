"""The wish to know how it sounds: what a form says of it, and who finds it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import Form

from runtime.engine.audio import Samples
from runtime.engine.emotion.segments import emotions_of
from runtime.engine.speakers.merging import Speakers
from runtime.engine.transcript import Emotion, Segment, Turn
from runtime.server import errors

if TYPE_CHECKING:
    from runtime.engine.emotion.model import EmotionModel

FORM: Final = "verbose_json"
"""The format that has a place for it."""

Wanted = Annotated[
    bool,
    Form(
        description="Give each segment how it sounds, with `verbose_json`, where the server was "
        "started with `--emotion`. Not OpenAI's.",
    ),
]


@dataclass(frozen=True)
class Emotions:
    """How each segment of the answer sounds, in its order; after the last segment."""

    of_segments: tuple[Emotion, ...]


@dataclass(frozen=True)
class Feeling:
    """The wish, for the steps of a recording.

    Attributes:
        models: tell emotions.
        aside: has something done that has no steps: `Scheduler.aside`.
    """

    models: Sequence[EmotionModel]
    aside: Callable[[Callable[[], Emotions]], Future[Emotions]]

    def ask(
        self, samples: Samples, segments: Sequence[Segment], turns: Sequence[Turn] | None
    ) -> Future[Emotions]:
        """How the segments sound, each speaker's by itself where it is known who speaks."""
        speakers = Speakers(turns, keep_words=False) if turns is not None else None
        parts = [
            part
            for segment in segments
            for part in (speakers.parts(segment) if speakers else (segment,))
        ]
        return self.aside(lambda: Emotions(tuple(emotions_of(self.models, samples, parts))))


def check(*, wanted: bool, form: str, has_segments: bool) -> None:
    """Raise ApiError 400 where the answer would have no place for it."""
    if wanted and (form != FORM or not has_segments):
        found = f"'{form}'" if form != FORM else "timestamp_granularities without 'segment'"
        raise errors.wrong(
            f"emotion needs response_format '{FORM}' with its segments, found {found}", "emotion"
        )


def unavailable() -> errors.ApiError:
    """A 400: what cannot be told is an error, not a missing field."""
    return errors.wrong(
        "'emotion' needs a bundle with emotion models and a server that was started with "
        "--emotion; this one was not",
        "emotion",
        "emotion_unavailable",
    )
