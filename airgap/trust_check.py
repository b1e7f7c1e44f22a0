"""What in a policy will stop mounts, or does already, told before it happens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from airgap.policy import BUNDLE, TRUST, Policy, TrustedKey
from airgap.strict_json import from_time

AHEAD = timedelta(days=90)
"""How long before something expires it is told: a new medium takes its time to arrive."""


@dataclass(frozen=True)
class Concern:
    """Something that a person should look at; `stops` where it stops every mount already."""

    text: str
    stops: bool = False


def concerns(policy: Policy, now: datetime) -> list[Concern]:
    """Everything about `policy` that a person should look at, at the time `now`."""
    able = _able(policy, BUNDLE, now)
    found = []
    if len(able) < policy.threshold:
        named = ", ".join(able) or "none"
        found.append(
            Concern(f"{policy.threshold} signer(s) must sign, and able to are: {named}", stops=True)
        )
    elif len(able) == policy.threshold and all(not _has_spare(policy, name, now) for name in able):
        found.append(
            Concern("no signer can be missed and none has a spare key: one lost key stops mounts")
        )
    if len(changers := _able(policy, TRUST, now)) < policy.threshold:
        named = ", ".join(changers) or "none"
        found.append(
            Concern(
                f"no rotation can be accepted: {policy.threshold} signer(s) must sign it, and able "
                f"to are: {named}"
            )
        )
    found += [concern for name in policy.signers for concern in _expiries(policy, name, now)]
    return found


def in_days(left: timedelta) -> str:
    """How long something still lasts, as a person says it."""
    if left < timedelta(1):
        return "in less than a day"
    return f"in {left.days} days" if left.days > 1 else "in 1 day"


def _able(policy: Policy, role: str, now: datetime) -> list[str]:
    """The signers who have a key that counts in `role` for each algorithm demanded of them."""
    return [
        name
        for name, signer in policy.signers.items()
        if set(signer.algorithms)
        <= {key.public.algorithm for key in _usable(policy, name, role, now)}
    ]


def _has_spare(policy: Policy, name: str, now: datetime) -> bool:
    keys = _usable(policy, name, BUNDLE, now)
    return all(_count(keys, algorithm) > 1 for algorithm in policy.signers[name].algorithms)


def _usable(policy: Policy, name: str, role: str, now: datetime) -> list[TrustedKey]:
    return [key for key in policy.in_force(name) if key.shortcoming(role, now) is None]


def _count(keys: list[TrustedKey], algorithm: str) -> int:
    return sum(key.public.algorithm == algorithm for key in keys)


def _expiries(policy: Policy, name: str, now: datetime) -> list[Concern]:
    found = []
    for key in policy.in_force(name):
        if key.expires is None:
            continue
        left = from_time(key.expires) - now
        short = f"'{name}', {key.public.algorithm} key {key.public.key_id[:16]}"
        if left <= timedelta(0):
            found.append(Concern(f"{short}: expired on {key.expires}"))
        elif left <= AHEAD:
            found.append(Concern(f"{short}: expires on {key.expires}, {in_days(left)}"))
    return found
