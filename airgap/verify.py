"""Bytes and a policy in, a `VerifiedBundle` or an error out.

The order is the defence: signatures over exact bytes, then those bytes are parsed, then the
policy reads them, then table and manifest are compared with them; and nothing is decompressed
before its bytes matched what was signed. No option turns a step off.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from airgap.accepted import NO_OVERRIDES, Accepted, Overrides
from airgap.archive import OpenBundle, open_bundle, read_head
from airgap.decision import Step, Tell, untold
from airgap.envelope import Envelope
from airgap.policy import Policy, Verdict
from airgap.statement import Statement, approval_code
from airgap.volumes import Bytes


@dataclass(frozen=True)
class VerifiedBundle:
    """A bundle whose statement, table and manifest the policy's signers vouch for.

    Made by `verify` alone. Its `bundle` hands out frames and files after checking each; mount
    accepts nothing else.
    """

    bundle: OpenBundle
    verdict: Verdict

    @property
    def approval_code(self) -> str:
        """The statement's SHA-256 in short groups, to be compared on paper."""
        return approval_code(self.bundle.envelope.statement)


def verify(
    source: Bytes,
    policy: Policy,
    accepted: Accepted | None,
    clock: datetime,
    *,
    overrides: Overrides = NO_OVERRIDES,
    tell: Tell = untold,
) -> VerifiedBundle:
    """Decide whether a bundle is to be believed, up to its frames.

    Args:
        source: the bundle; its first bytes are read now, its frames when they are asked for.
        policy: whose signatures count.
        accepted: what this host has accepted; None where the host's policy is not asked
            (`--key`), and says so.
        clock: the time by this host's clock.
        overrides: what a person takes upon themselves about age and clock.
        tell: told each rule as it is asked.

    Raises:
        UntrustedError: the signatures, the name or the number do not satisfy the policy.
        OutdatedError: it is older than what was accepted, or expired.
        DamagedError: it is not what was signed.
    """
    envelope, statement, verdict = judge(
        source, policy, accepted, clock, overrides=overrides, tell=tell
    )
    bundle = open_bundle(source, envelope, statement)
    tell(Step("inventory", "table and manifest as signed", f"{len(bundle.manifest.files)} files"))
    return VerifiedBundle(bundle, verdict)


def judge(
    source: Bytes,
    policy: Policy,
    accepted: Accepted | None,
    clock: datetime,
    *,
    overrides: Overrides = NO_OVERRIDES,
    tell: Tell = untold,
) -> tuple[Envelope, Statement, Verdict]:
    """Decide whether a bundle's statement is to be believed, by its head alone.

    For whoever asks before the rest has come; nothing is said about a byte behind the head.
    Arguments and errors are those of `verify`.
    """
    envelope = read_head(source)
    tell(Step("head", "one canonical envelope", f"{len(envelope.signatures)} signature(s)"))
    verdict = policy.judge(envelope, accepted.now(clock) if accepted else clock, tell=tell)
    statement = Statement.parse(envelope.statement)
    policy.admit(statement, verdict, tell)
    if accepted is not None:
        accepted.admit(statement, clock, overrides, tell)
    return envelope, statement, verdict
