"""The wish to know how it sounds: what a form says of it, and where it cannot be told."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Form

from runtime.server import errors

FORM: Final = "verbose_json"
"""The format that has a place for it."""

Wanted = Annotated[
    bool,
    Form(
        description="Give each segment how it sounds, with `verbose_json`, where the server was "
        "started with `--emotion`. Not OpenAI's.",
    ),
]


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
