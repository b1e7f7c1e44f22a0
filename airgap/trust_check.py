"""What in a policy will stop mounts, or does already, told before it happens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from airgap.policy import BUNDLE, Policy, TrustedKey
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
    able = [name for name in policy.signers if _can_sign(policy, name, now)]
    found = []
    if len(able) < policy.threshold:
        named = ", ".join(able) or "none"
        found.append(
            Concern(f"{policy.threshold} signer(s) must sign, and able to are: {named}", stops=True)
        )
    elif len(able) == policy.threshold and all(not _has_spare(policy, name) for name in able):
        found.append(
            Concern("no signer can be missed and none has a spare key: one lost key stops mounts")
        )
    found += [concern for name in policy.signers for concern in _expiries(policy, name, now)]
    return found


def _can_sign(policy: Policy, name: str, now: datetime) -> bool:
    usable = {
        key.public.algorithm
        for key in policy.in_force(name)
        if key.shortcoming(BUNDLE, now) is None
    }
    return set(policy.signers[name].algorithms) <= usable


def _has_spare(policy: Policy, name: str) -> bool:
    keys = policy.in_force(name)
    return all(_count(keys, algorithm) > 1 for algorithm in policy.signers[name].algorithms)


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
            found.append(Concern(f"{short}: expires on {key.expires}, in {left.days} days"))
    return found
