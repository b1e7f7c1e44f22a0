"""Bytes and a policy in, a `VerifiedBundle` or an error out.

The order is the defence: signatures over exact bytes, then those bytes are parsed, then the
policy reads them, then table and manifest are compared with them; and nothing is decompressed
before its bytes matched what was signed. No option turns a step off.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from airgap.accepted import Accepted
from airgap.archive import OpenBundle, open_bundle, read_head
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
    source: Bytes, policy: Policy, accepted: Accepted | None, now: datetime
) -> VerifiedBundle:
    """Decide whether a bundle is to be believed, up to its frames.

    Args:
        source: the bundle; its first bytes are read now, its frames when they are asked for.
        policy: whose signatures count.
        accepted: what this host has accepted; None where the host's policy is not asked
            (`--key`), and says so.
        now: the clock.

    Raises:
        UntrustedError: the signatures, the name or the number do not satisfy the policy.
        OutdatedError: it is older than what was accepted, or expired.
        DamagedError: it is not what was signed.
    """
    envelope = read_head(source)
    verdict = policy.judge(envelope)
    statement = Statement.parse(envelope.statement)
    policy.admit(statement)
    if accepted is not None:
        accepted.admit(statement, now)
    return VerifiedBundle(open_bundle(source, envelope, statement), verdict)
