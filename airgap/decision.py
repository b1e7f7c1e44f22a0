"""A decision, step by step: which rule was asked, what it expected, what it found.

Whoever decides tells each step as it is taken; `airgap verify --explain` makes a table of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["holds", "noted", "overridden", "refused"]


@dataclass(frozen=True)
class Step:
    """One rule, asked of one bundle.

    Attributes:
        rule: its name, a stable dotted word for programs (`policy.threshold`).
        expected: what would satisfy it.
        found: what there is.
        outcome: `noted` is a fact that counts for nothing; `overridden` is a refusal that a
            person took back, with a reason that is recorded.
    """

    rule: str
    expected: str
    found: str
    outcome: Outcome = "holds"


Tell = Callable[[Step], None]
"""Told each step of a decision."""


def untold(step: Step) -> None:
    """A Tell for callers that explain nothing."""
