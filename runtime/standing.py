"""What is mounted, against today's policy: it serves on when it expires, and that is said early.

Expiry and revocation stop new mounts. A host that is mounted goes on (a hospital does not go
dark at reboot), with warnings from 90 days before, unless its policy says `expired: stop`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from airgap.accepted import AcceptedFile
from airgap.errors import AirgapError, OutdatedError, RefusedError, UntrustedError
from airgap.policy import Policy
from airgap.strict_json import from_time, to_time
from airgap.trust import TrustStore
from airgap.trust_check import AHEAD, in_days
from runtime.generation import Generation


def warnings(mounted: Generation, root: Path, clock: datetime) -> list[str]:
    """What a person should know about a mounted bundle before it is needed.

    Raises:
        UntrustedError: its signers no longer satisfy the policy, which says `expired: stop`.
        OutdatedError: it expired, and the policy says so too.
    """
    try:
        policy = TrustStore.of_host(root).load()
        now = AcceptedFile(root).load().now(clock)
    except AirgapError as error:
        return [f"whether '{mounted.statement.title}' is still trusted is unknown: {error.message}"]
    return [*_signers(mounted, policy, now), *_expiry(mounted, policy, now)]


def days_left(mounted: Generation, now: datetime) -> int | None:
    """Days until the bundle expires, negative after; None where it never does."""
    expires = mounted.statement.expires
    return (from_time(expires) - now).days if expires else None


def objections(mounted: Generation, root: Path, clock: datetime) -> list[RefusedError]:
    """Why today's policy would not let a bundle be mounted, its sequence left aside.

    Raises:
        UntrustedError: the policy, or the record of accepted bundles, is lost or damaged.
    """
    policy = TrustStore.of_host(root).load()
    now = AcceptedFile(root).load().now(clock)
    found: list[RefusedError] = []
    try:
        policy.admit(mounted.statement, policy.judge(mounted.envelope, now))
    except UntrustedError as error:
        found.append(error)
    expires = mounted.statement.expires
    if expires is not None and from_time(expires) < now:
        found.append(
            OutdatedError(
                f"'{mounted.statement.title}' expired on {expires}; it is {to_time(now)} here",
                rule="expiry",
            )
        )
    return found


def _signers(mounted: Generation, policy: Policy, now: datetime) -> list[str]:
    try:
        verdict = policy.judge(mounted.envelope, now)
        policy.admit(mounted.statement, verdict)
    except UntrustedError as error:
        if policy.expired == "stop":
            raise
        title = mounted.statement.title
        return [f"'{title}' would not be mounted today, and serves on: {error.message}"]
    return []


def _expiry(mounted: Generation, policy: Policy, now: datetime) -> list[str]:
    expires = mounted.statement.expires
    if expires is None or from_time(expires) - now > AHEAD:
        return []
    title = mounted.statement.title
    left = from_time(expires) - now
    if left >= timedelta(0):
        return [f"'{title}' expires on {expires}, {in_days(left)}"]
    if policy.expired == "stop":
        raise OutdatedError(
            f"'{title}' expired on {expires}, and this host's policy says `expired: stop`",
            rule="expiry",
            hint="airgap mount, with a newer bundle",
        )
    return [f"'{title}' expired on {expires}, and serves on until a newer one is mounted"]
