"""What a licence's name says of commercial use: shown when models are planned, built and loaded."""

from __future__ import annotations

import re


def is_non_commercial(licence: str) -> bool:
    """Whether a licence forbids commercial use, as the Creative Commons' NC ones do.

    Args:
        licence: as its publisher names it, such as `CC-BY-NC-SA-4.0`.
    """
    return "nc" in re.split(r"[^a-z]+", licence.lower())
