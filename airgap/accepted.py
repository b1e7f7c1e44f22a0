"""What a host has accepted: the last sequence of each bundle name, raised after a mount alone.

An attacker who hands over an old bundle, signed and all, is stopped here. So the record may not
be missing or damaged in silence: then nothing is accepted until a person starts it anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from airgap import limits, strict_json
from airgap.decision import Step, Tell, untold
from airgap.digest import is_sha256
from airgap.errors import OutdatedError, RefusedError, UntrustedError
from airgap.files import alone, clear_unfinished, read_bounded, share_folder, write_whole
from airgap.statement import Statement
from airgap.strict_json import Fields, from_time, is_name, is_time

SCHEMA = "airgap/accepted/v1"


@dataclass(frozen=True)
class Overrides:
    """What a person takes upon themselves, each with the reason that the audit log keeps.

    Attributes:
        allow_older: why an older bundle, or another under the same number, is to be taken.
        clock_wrong: why expiry is not to be judged by this host's clock.
    """

    allow_older: str | None = None
    clock_wrong: str | None = None

    def used(self, rule: str, reason: str | None, refusal: RefusedError, tell: Tell) -> None:
        """Take a refusal back, where there is a reason for it; else raise it."""
        if reason is None or not reason.strip():
            raise refusal
        tell(Step(rule, "no override", f"{refusal.message}; overridden: {reason}", "overridden"))


NO_OVERRIDES = Overrides()


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

    Attributes:
        bundles: by name.
        newest: the latest `created` of a bundle that was mounted and was not ahead of the clock;
            this host's time is at least that, whatever its clock says.
    """

    bundles: Mapping[str, Last]
    newest: str | None = None

    def now(self, clock: datetime) -> datetime:
        """The time to judge by: a clock that was set back revives nothing."""
        return max(clock, from_time(self.newest)) if self.newest else clock

    def admit(
        self,
        statement: Statement,
        clock: datetime,
        overrides: Overrides = NO_OVERRIDES,
        tell: Tell = untold,
    ) -> None:
        """Refuse what is older than what was accepted, another under its number, or expired.

        Args:
            statement: of a bundle whose signatures satisfied the policy.
            clock: the time by this host's clock.
            overrides: what a person takes upon themselves.
            tell: told each rule.

        Raises:
            OutdatedError: older, or expired.
            UntrustedError: the same sequence with another content.
        """
        self._check_sequence(statement, overrides, tell)
        self._check_expiry(statement, self.now(clock), overrides, tell)

    def raised(self, statement: Statement, clock: datetime) -> Accepted:
        """This record after `statement` was mounted: its numbers only grow.

        An older bundle that a person took is mounted, and opens the door for no other.
        """
        last = self.bundles.get(statement.name)
        if last is None or statement.sequence >= last.sequence:
            last = Last(statement.sequence, _digest(statement), statement.created)
        newest = self.newest
        if from_time(statement.created) <= clock:  # one from the future would age all others
            newest = max(filter(None, (newest, statement.created)))
        return Accepted({**self.bundles, statement.name: last}, newest)

    def _check_sequence(self, statement: Statement, overrides: Overrides, tell: Tell) -> None:
        last = self.bundles.get(statement.name)
        expected = f"at least {last.sequence}" if last else "any: the first of its name"
        refusal: RefusedError | None = None
        if last and statement.sequence < last.sequence:
            refusal = OutdatedError(
                f"'{statement.title}' has sequence {statement.sequence}, and this host has "
                f"accepted sequence {last.sequence} of '{statement.name}'",
                rule="sequence.older",
                hint="ask for the newest bundle; to go back on purpose: --allow-older REASON",
            )
        elif last and statement.sequence == last.sequence and _digest(statement) != last.statement:
            refusal = UntrustedError(
                f"'{statement.title}' has sequence {statement.sequence} like the bundle that this "
                "host has accepted, and is another",
                rule="sequence.twice",
                hint="two bundles were built under one number: ask their builder; to take this "
                "one on purpose: --allow-older REASON",
            )
        if refusal is None:
            tell(Step("sequence", expected, str(statement.sequence)))
        else:
            overrides.used(refusal.rule, overrides.allow_older, refusal, tell)

    def _check_expiry(
        self, statement: Statement, now: datetime, overrides: Overrides, tell: Tell
    ) -> None:
        here = strict_json.to_time(now)
        if statement.expires is None or from_time(statement.expires) >= now:
            tell(Step("expiry", f"not before {here}", statement.expires or "never"))
            return
        refusal = OutdatedError(
            f"'{statement.title}' expired on {statement.expires}; it is {here} here",
            rule="expiry",
            hint="ask for a newer bundle; if this clock is wrong, set it, or: --clock-wrong REASON",
        )
        overrides.used(refusal.rule, overrides.clock_wrong, refusal, tell)

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
        newest = top.optional_text("newest", is_time, "a time")
        top.close()
        if defects:
            raise _damaged(where, "; ".join(sorted(defects)))
        return cls(found, newest)


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
        share_folder(self.path.parent)
        with alone(self._lock):
            self._write(Accepted({}))

    def load(self) -> Accepted:
        """Read the record. Raises UntrustedError where it is missing or damaged."""
        if not self.path.exists():
            raise UntrustedError(
                f"the record of accepted bundles '{self.path}' is missing: an old bundle could "
                "pass for a new one",
                rule="state.missing",
                hint="compare `airgap list` with your paper, then: airgap trust reset-sequence "
                "(a new host: airgap trust init)",
            )
        content = read_bounded(self.path, limits.POLICY_FILE, "the record of accepted bundles")
        return Accepted.parse(content, str(self.path))

    def raise_to(self, statement: Statement, clock: datetime) -> None:
        """Remember, durably, that `statement` was mounted."""
        with self.changing() as record:
            self._write(record.raised(statement, clock))

    def forget_time(self) -> None:
        """Forget how late it has been here, and keep what was accepted."""
        with self.changing() as record:
            self._write(replace(record, newest=None))

    @contextmanager
    def changing(self) -> Iterator[Accepted]:
        """The record, for a change that no other process's change can undo. Raises as `load`."""
        self.load()  # a host without a record is told that, and gets no lock in its place
        with alone(self._lock):
            yield self.load()

    @property
    def _lock(self) -> Path:
        return self.path.with_suffix(".lock")

    def _write(self, record: Accepted) -> None:
        """Whoever serves reads it, to tell what expired; its owner alone writes it."""
        clear_unfinished(self.path)
        write_whole(self.path, record.to_bytes(), mode=0o644)


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
