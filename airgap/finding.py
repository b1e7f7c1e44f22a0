"""What a check finds, and the checks as a table has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from airgap.errors import AirgapError, RefusedError

FactsT = TypeVar("FactsT")


class State(StrEnum):
    """How it stands: `warn` starts, and bites later; `fail` would not start, or not mount."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        state: how it stands.
        found: in a sentence.
        fix: what to do, ideally a command to type; None where all is well.
    """

    state: State
    found: str
    fix: str | None = None


@dataclass(frozen=True)
class Check(Generic[FactsT]):
    """One check.

    Attributes:
        name: stable, for programs: `trust.store`.
        asks: what it asks, for people.
        rule: judges facts alone; None where the question does not arise.
    """

    name: str
    asks: str
    rule: Callable[[FactsT], Finding | None]


@dataclass(frozen=True)
class Trouble:
    """An error of ours, met while facts were gathered."""

    message: str
    hint: str | None
    refused: bool = False

    @classmethod
    def of(cls, error: AirgapError) -> Trouble:
        """The error as a fact."""
        return cls(error.message, error.hint, isinstance(error, RefusedError))

    def as_finding(self, otherwise: str, state: State = State.FAIL) -> Finding:
        """The finding of it; `otherwise` is the fix where the error itself names none."""
        return Finding(state, self.message, self.hint or otherwise)


def ok(found: str) -> Finding:
    """All is well."""
    return Finding(State.OK, found)


def warn(found: str, fix: str) -> Finding:
    """It starts, and will bite."""
    return Finding(State.WARN, found, fix)


def fail(found: str, fix: str) -> Finding:
    """It would not start."""
    return Finding(State.FAIL, found, fix)
