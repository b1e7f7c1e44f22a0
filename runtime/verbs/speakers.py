"""Options about speakers, and what they ask for together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from airgap.errors import UsageError
from runtime.engine.formats import FORMATS
from runtime.engine.speakers.choosing import Diarization
from runtime.engine.speakers.diarizer import SpeakerHints

_BY = "auto: the first of pyannote, nemo and sortformer that the bundle carries and this host has."

Wish = Annotated[
    Diarization | None,
    typer.Option(
        "--diarization",
        metavar="|".join(Diarization),
        help=f"Say who speaks. {_BY} Not asked, unless by --speakers, --min-speakers, "
        "--max-speakers, or a format of speakers: rttm, diarized_json.",
        show_default=False,
    ),
]
Duty = Annotated[
    Diarization,
    typer.Option(
        "--diarization",
        metavar="|".join(Diarization),
        help=f"What tells speakers apart, for requests that ask. {_BY} A bundle that promises it "
        "is refused at start where that cannot be; none waives the promise.",
    ),
]
Number = Annotated[
    int | None,
    typer.Option(
        "--speakers", metavar="N", help="How many speak, where it is known.", show_default=False
    ),
]
AtLeast = Annotated[
    int | None,
    typer.Option("--min-speakers", metavar="N", help="At least so many.", show_default=False),
]
AtMost = Annotated[
    int | None,
    typer.Option("--max-speakers", metavar="N", help="At most so many.", show_default=False),
]


@dataclass(frozen=True)
class Asked:
    """The wish to know who speaks: by which back end, and what is known about the speakers."""

    by: Diarization
    hints: SpeakerHints


def asked(wish: Diarization | None, hints: SpeakerHints, formats: Sequence[str]) -> Asked | None:
    """What a command line asks for; None where nobody wants to know who speaks.

    Args:
        wish: of --diarization.
        hints: of --speakers, --min-speakers and --max-speakers.
        formats: names of `runtime.engine.formats`.

    Raises:
        UsageError: the options contradict each other.
    """
    hints.check()
    needed = [name for name in formats if FORMATS[name].needs_speakers]
    if wish is not Diarization.NONE:
        implied = bool(needed) or hints != SpeakerHints()
        return Asked(wish or Diarization.AUTO, hints) if wish or implied else None
    if needed:
        raise UsageError(f"--format {needed[0]} says who speaks, and --diarization is none")
    if hints != SpeakerHints():
        raise UsageError("--speakers and the like ask who speaks, and --diarization is none")
    return None
