"""One line of the audit log: what happened, chained to the line before.

A line is canonical JSON and a newline. `prev` is the SHA-256 of the whole line before, newline
included (`sed -n 7p log.jsonl | sha256sum` prints what line 8 must say), and `sum` is that of
the line's other fields, so that damage is found in the line that has it, the last one too.
A write that a crash cut short is cancelled, not removed: see `AuditLine.torn`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from airgap import limits, strict_json
from airgap.digest import is_sha256
from airgap.strict_json import Fields

Fact = str | int | list[str]
"""What a fact can be. Never audio, never the text of a transcript."""

GENESIS: Final = "0" * 64
"""What the first line has for the SHA-256 of the line before it."""

CANCEL: Final = b"\x18"
"""Control character CAN (ECMA-48): what stands before it in the line is to be disregarded.

JSON as we write it never has it, so a cut-off piece and the event after it cannot be confused;
and whatever a second crash leaves still has no newline, hence is still recognised.
"""

LINE_BYTES: Final = 256 * limits.KIB
"""A line, with what it cancels."""

EVENT_BYTES: Final = LINE_BYTES // 4
"""A line as it is written; so one that a crash cut short always fits before its recovery."""

FACT_CHARACTERS: Final = 512
"""A text among the facts; a longer one is cut, because a refusal is never lost for its length."""

FACT_ITEMS: Final = 32
"""Texts in a list among the facts."""

_EVENT: Final = re.compile(r"[a-z][a-z-]{0,63}")
_FACT: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


class LineError(Exception):
    """The bytes are no line of an audit log; the message says why. Callers make it theirs."""


@dataclass(frozen=True)
class AuditLine:
    """One event.

    `AuditLine.parse(line.to_bytes()) == line`, and no other bytes parse.

    Attributes:
        n: its number, from 1; also the number of its line in the file.
        time: by the host's clock, as `strict_json.to_time` writes it.
        event: what happened, in a word.
        facts: what there is to say about it.
        prev: SHA-256 of the line before, hex.
        torn: what an interrupted write left in front of it, in the same line. Not empty for the
            event `recovered` alone, whose facts name its length and SHA-256.
    """

    n: int
    time: str
    event: str
    facts: Mapping[str, Fact]
    prev: str
    torn: bytes = b""

    @property
    def sha256(self) -> str:
        """What the next line has as `prev`."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """The line, with its newline."""
        body = self._body()
        body["sum"] = hashlib.sha256(strict_json.compact(body)).hexdigest()
        cancelled = self.torn + CANCEL if self.torn else b""
        return cancelled + strict_json.compact(body) + b"\n"

    @classmethod
    def parse(cls, raw: bytes) -> AuditLine:
        """Read one line, with its newline. Raises LineError."""
        torn, _cancel, written = raw.rpartition(CANCEL)
        try:
            value = strict_json.parse(written)
        except strict_json.JsonError as error:
            raise LineError(f"no event: {error}") from error
        line = cls._read(value, torn)
        if (line.event == "recovered") != bool(torn):
            raise LineError("'recovered' and a cancelled write come together or not at all")
        if torn and line.facts != torn_facts(torn):
            raise LineError(f"a cancelled write that is not the one named: {torn_facts(torn)}")
        if line.to_bytes() != raw:
            raise LineError("an event whose fields are not those that its sum was made over")
        return line

    @classmethod
    def _read(cls, value: Any, torn: bytes) -> AuditLine:
        defects: list[str] = []
        top = Fields(value, "", defects)
        top.text("sum", is_sha256, "64 hex digits")
        line = cls(
            n=top.integer("n", 1),
            time=top.text("time", is_moment, "a time"),
            event=top.text("event", _is_event, "an event"),
            facts=_read_facts(top.inner("facts")),
            prev=top.text("prev", is_sha256, "64 hex digits"),
            torn=torn,
        )
        top.close()
        if defects:
            raise LineError("; ".join(sorted(defects)))
        return line

    def _body(self) -> dict[str, Any]:
        return {
            "event": self.event,
            "facts": dict(self.facts),
            "n": self.n,
            "prev": self.prev,
            "time": self.time,
        }


def torn_facts(torn: bytes) -> dict[str, Fact]:
    """The facts of `recovered`: which bytes it cancels."""
    return {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}


def bounded(value: Fact) -> Fact:
    """A fact, cut to what a line may hold; what was cut is counted."""
    if isinstance(value, str):
        if len(value) <= FACT_CHARACTERS:
            return value
        return f"{value[:FACT_CHARACTERS]}… ({len(value)} characters)"
    if isinstance(value, list):
        if len(value) > FACT_ITEMS:
            value = [*value[:FACT_ITEMS], f"… ({len(value)} items)"]
        return [str(bounded(item)) for item in value]
    if isinstance(value, bool):
        return int(value)
    return str(value) if isinstance(value, int) and abs(value) > limits.INTEGER else value


def is_moment(text: str) -> bool:
    """Whether `text` is a time as we write it, of any year: a host's clock may be far off."""
    try:
        return strict_json.to_time(strict_json.from_time(text)) == text
    except ValueError:
        return False


def _read_facts(fields: Fields) -> dict[str, Fact]:
    facts: dict[str, Fact] = {}
    for key in fields.keys():  # noqa: SIM118 - not a dict
        value = fields.raw(key)
        if _FACT.fullmatch(key) is None:
            fields.reject(key, "a word", key)
        elif type(value) in {str, int} or _is_texts(value):
            facts[key] = value
        else:
            fields.reject(key, "a text, an integer or a list of texts", value)
    return facts


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_event(text: str) -> bool:
    return _EVENT.fullmatch(text) is not None
