"""What a host has accepted: the last sequence of each bundle name, raised after a mount alone.

An attacker who hands over an old bundle, signed and all, is stopped here. So the record may not
be missing or damaged in silence: then nothing is accepted until a person starts it anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from airgap import limits, strict_json
from airgap.digest import is_sha256
from airgap.errors import OutdatedError, UntrustedError
from airgap.files import read_bounded, write_whole
from airgap.statement import Statement
from airgap.strict_json import Fields, from_time, is_name, is_time

SCHEMA = "airgap/accepted/v1"


@dataclass(frozen=True)
class Last:
    """The newest bundle of a name: its sequence, its statement's SHA-256, its time."""

    sequence: int
    statement: str
    created: str


@dataclass(frozen=True)
class Accepted:
    """The newest bundle of every name that this host has mounted.

    `Accepted.parse(accepted.to_bytes(), …) == accepted`.
    """

    bundles: Mapping[str, Last]

    def admit(self, statement: Statement, now: datetime) -> None:
        """Refuse what is older than what was accepted, another under its number, or expired.

        Args:
            statement: of a bundle whose signatures satisfied the policy.
            now: the clock. Judged is the later of it and the newest time ever accepted, so
                that a clock which was set back revives nothing.

        Raises:
            OutdatedError: older, or expired.
            UntrustedError: the same sequence with another content.
        """
        last = self.bundles.get(statement.name)
        if last and statement.sequence < last.sequence:
            raise OutdatedError(
                f"'{statement.title}' has sequence {statement.sequence}, and this host has "
                f"accepted sequence {last.sequence} of '{statement.name}'",
                rule="sequence.older",
                hint="ask for the newest bundle; `airgap list` shows what is mounted",
            )
        if last and statement.sequence == last.sequence and _digest(statement) != last.statement:
            raise UntrustedError(
                f"'{statement.title}' has sequence {statement.sequence} like the bundle that this "
                "host has accepted, and is another",
                rule="sequence.twice",
                hint="two bundles were built under one number: ask their builder",
            )
        self._check_expiry(statement, now)

    def raised(self, statement: Statement) -> Accepted:
        """This record after `statement` was mounted."""
        last = Last(statement.sequence, _digest(statement), statement.created)
        return Accepted({**self.bundles, statement.name: last})

    def _check_expiry(self, statement: Statement, now: datetime) -> None:
        newest = max([now, *(from_time(last.created) for last in self.bundles.values())])
        if statement.expires and from_time(statement.expires) < newest:
            raise OutdatedError(
                f"'{statement.title}' expired on {statement.expires}; it is "
                f"{strict_json.to_time(newest)} here",
                rule="expiry",
                hint="ask for a newer bundle; if this clock is wrong: date -u",
            )

    def to_bytes(self) -> bytes:
        """The file's content."""
        return strict_json.readable({"schema": SCHEMA, **asdict(self)})

    @classmethod
    def parse(cls, content: bytes, where: str) -> Accepted:
        """Read what `to_bytes` wrote. Raises UntrustedError where it is anything else."""
        defects: list[str] = []
        try:
            top = Fields(strict_json.parse(content), "", defects)
        except strict_json.JsonError as error:
            raise _damaged(where, str(error)) from error
        top.text("schema", SCHEMA.__eq__, SCHEMA)
        bundles, found = top.inner("bundles"), {}
        for name in bundles.keys():  # noqa: SIM118 - not a dict
            one = bundles.inner(name)
            found[name] = Last(
                one.integer("sequence"),
                one.text("statement", is_sha256, "64 hex digits"),
                one.text("created", is_time, "a time"),
            )
            one.close()
            if not is_name(name):
                bundles.reject(name, "a name", name)
        top.close()
        if defects:
            raise _damaged(where, "; ".join(sorted(defects)))
        return cls(found)


@dataclass(frozen=True)
class AcceptedFile:
    """Where the record lies, under the host's root."""

    root: Path

    @property
    def path(self) -> Path:
        """The file."""
        return self.root / "state" / "accepted.json"

    def start(self) -> None:
        """Write an empty record, forgetting what was accepted."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, Accepted({}).to_bytes())

    def load(self) -> Accepted:
        """Read the record. Raises UntrustedError where it is missing or damaged."""
        if not self.path.exists():
            raise UntrustedError(
                f"the record of accepted bundles '{self.path}' is missing: an old bundle could "
                "pass for a new one",
                rule="state.missing",
                hint="on a new host: airgap trust init; else: airgap trust reset-sequence",
            )
        content = read_bounded(self.path, limits.POLICY_FILE, "the record of accepted bundles")
        return Accepted.parse(content, str(self.path))

    def raise_to(self, statement: Statement) -> None:
        """Remember, durably, that `statement` was mounted."""
        write_whole(self.path, self.load().raised(statement).to_bytes())


def clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def _digest(statement: Statement) -> str:
    return hashlib.sha256(statement.to_bytes()).hexdigest()


def _damaged(where: str, why: str) -> UntrustedError:
    return UntrustedError(
        f"the record of accepted bundles '{where}' is damaged: {why}",
        rule="state.damaged",
        hint="airgap trust reset-sequence, after comparing `airgap list` with your paper",
    )
