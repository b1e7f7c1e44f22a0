"""What a scan found, and where."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """What a finding means for whoever loads the file."""

    DANGER = "danger"
    """It could run code, write where it should not, or is made so that nobody can tell."""

    CAUTION = "caution"
    """It could reach for a network or another file, or no judge knows its kind."""


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that a scan objects to.

    Attributes:
        place: the file, and behind `!` the members of archives on the way.
        rule: a stable dotted word, by which a profile waives it.
        severity: how bad.
        reason: what was found, in a sentence.
        fix: what to do about it.
    """

    place: str
    rule: str
    severity: Severity
    reason: str
    fix: str

    @property
    def file(self) -> str:
        """The file itself, without the members."""
        return self.place.partition("!")[0]

    def as_json(self) -> dict[str, Any]:
        """For `scan.json`."""
        return asdict(self)


@dataclass(frozen=True)
class Judged:
    """A file, of which kind it was taken to be, and what is wrong with it.

    Attributes:
        commands: of a wheel: the programs that installing it puts on the path.
        native: of a wheel: how many of its files are libraries or programs of the machine.
    """

    path: str
    kind: str
    findings: tuple[Finding, ...] = ()
    commands: tuple[str, ...] = ()
    native: int = 0

    def as_json(self) -> dict[str, Any]:
        """For the list of files in `scan.json`."""
        told: dict[str, Any] = {"path": self.path, "kind": self.kind}
        if self.kind == "wheel":
            told |= {"commands": list(self.commands), "native": self.native}
        return told

    def inside(self, outer: str) -> Judged:
        """The same as a member of an archive."""
        return Judged(
            f"{outer}!{self.path}",
            self.kind,
            tuple(replace(one, place=f"{outer}!{one.place}") for one in self.findings),
        )


SAFETENSORS = "use the publisher's safetensors file, or convert it where it can do no harm"


def danger(place: str, rule: str, reason: str, fix: str = SAFETENSORS) -> Finding:
    """A finding that the default policy refuses."""
    return Finding(place, rule, Severity.DANGER, reason, fix)


def caution(place: str, rule: str, reason: str, fix: str) -> Finding:
    """A finding that is told and kept in the report."""
    return Finding(place, rule, Severity.CAUTION, reason, fix)
