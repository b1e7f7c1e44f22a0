"""What a decision leaves behind: its steps, a line in the audit log, a receipt to send back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from airgap import receipt
from airgap.accepted import Accepted, AcceptedFile, Overrides
from airgap.audit import AuditLog, Event
from airgap.audit_line import Fact
from airgap.console import console
from airgap.decision import Step
from airgap.errors import AirgapError, RefusedError
from airgap.host_key import HostKey
from airgap.policy import Policy
from airgap.receipt import Action
from airgap.statement import Statement
from airgap.strict_json import to_time
from airgap.trust import TrustStore
from airgap.verify import VerifiedBundle, judge, verify
from airgap.volumes import Bytes


@dataclass
class Decision:
    """One decision of a host, as it is taken and recorded.

    Attributes:
        root: the host's root.
        action: what is to be done with the bundle.
        subject: the bundle as the command line named it.
        clock: the time by this host's clock.
        overrides: what a person takes upon themselves.
        steps: each rule that was asked, in order.
    """

    root: Path
    action: Action
    subject: str
    clock: datetime
    overrides: Overrides
    steps: list[Step] = field(default_factory=list)

    @property
    def log(self) -> AuditLog:
        """This host's audit log."""
        return AuditLog.of(self.root)

    @property
    def accepted(self) -> AcceptedFile:
        """This host's record of what it has accepted."""
        return AcceptedFile(self.root)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """A refusal inside the block goes to the audit log, with every step, and on."""
        with refusal_recorded(self.root, self.action, self.subject), refusal_told(self.steps):
            yield

    def verify(self, source: Bytes) -> VerifiedBundle:
        """Decide by this host's policy, up to the frames. Raises RefusedError."""
        policy, accepted = self._rules()
        verified = verify(
            source,
            policy,
            accepted,
            self.clock,
            overrides=self.overrides,
            tell=self.steps.append,
        )
        for step in self.overridden:
            self.log.append(
                "override", action=self.action, rule=step.rule, bundle=self.subject, why=step.found
            )
        return verified

    def foresee(self, head: Bytes) -> Statement:
        """What `verify` would say of a bundle, by its head alone: no reason to fetch the rest.

        Nothing but a refusal is recorded: `verify` decides. Raises RefusedError.
        """
        policy, accepted = self._rules()
        return judge(head, policy, accepted, self.clock, overrides=self.overrides)[1]

    def verify_base(self, source: Bytes) -> VerifiedBundle:
        """Decide about the base of a delta by this host's policy. Raises RefusedError.

        Its age is not asked: a base is older than what builds on it, and may have expired.
        """
        policy, accepted = self._rules()
        return verify(source, policy, None, accepted.now(self.clock))

    def passed(self, verified: VerifiedBundle) -> Path:
        """Record that the bundle was verified or mounted, and write the receipt.

        Returns:
            The receipt's path.

        Raises:
            AirgapError: one of them could not be written.
        """
        statement = verified.bundle.statement
        base = {"base": statement.base.title} if statement.base else {}
        self.log.append(
            self.action,
            bundle=statement.title,
            sequence=statement.sequence,
            approval_code=verified.approval_code.replace(" ", ""),
            signers=list(verified.verdict.signers),
            **base,
        )
        policy = hashlib.sha256(TrustStore.of_host(self.root).policy_bytes()).hexdigest()
        envelope = receipt.make(
            HostKey.of(self.root),
            self.action,
            statement,
            time=to_time(self.clock),
            policy=policy,
            signers=verified.verdict.signers,
            overrides=self._reasons(),
        )
        return receipt.write(self.root, envelope)

    @property
    def overridden(self) -> list[Step]:
        """The rules that would have refused, and were overridden."""
        return [step for step in self.steps if step.outcome == "overridden"]

    def _rules(self) -> tuple[Policy, Accepted]:
        return TrustStore.of_host(self.root).load(), self.accepted.load()

    def _reasons(self) -> Mapping[str, str]:
        reasons = {
            "sequence.older": self.overrides.allow_older,
            "sequence.twice": self.overrides.allow_older,
            "expiry": self.overrides.clock_wrong,
        }
        return {step.rule: reasons[step.rule] or "" for step in self.overridden}


@contextmanager
def refusal_told(steps: list[Step]) -> Iterator[None]:
    """A refusal inside the block becomes the last of the steps, takes them along, and goes on."""
    try:
        yield
    except RefusedError as error:
        steps.append(Step(error.rule, "", error.message, "refused"))
        error.decision = tuple(steps)
        raise


@contextmanager
def refusal_recorded(root: Path, action: str, subject: str) -> Iterator[None]:
    """A refusal inside the block goes to the audit log, and on.

    It stands whether or not the log can be written; that it cannot is said. A folder without a
    trust store is no host, and gets no log.
    """
    try:
        yield
    except RefusedError as error:
        record_refusal(root, action, subject, error)
        raise


def record_refusal(root: Path, action: str, subject: str, error: RefusedError) -> None:
    """Put a refusal into the audit log, or say that it is not there; no log without a host."""
    if not TrustStore.of_host(root).policy_file.exists():
        return
    try:
        AuditLog.of(root).append(
            "refusal", action=action, rule=error.rule, bundle=subject, found=error.message
        )
    except AirgapError as unwritten:
        console.warn(f"the refusal is not in the audit log: {unwritten.message}")


def record_change(root: Path, done: str, event: Event, **facts: Fact) -> None:
    """Record a change of trust that was made.

    Args:
        root: the host's.
        done: what was changed, in a sentence without its full stop.
        event: what the log calls it.
        facts: of the event.

    Raises:
        AirgapError: it could not be written; that the change was made is said.
    """
    try:
        AuditLog.of(root).append(event, **facts)
    except AirgapError as error:
        raise AirgapError(
            f"{done}; but that is not in the audit log: {error.message}", hint=error.hint
        ) from error
