"""Rules about trust: the store, the record, the clock, the audit log."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from airgap.finding import Check, Finding, Trouble, fail, ok, warn
from runtime.doctor.facts import Host

_TOLERANCE: Final = timedelta(minutes=5)
"""Clocks of two machines differ that much without anything being wrong."""


def _store(host: Host) -> Finding | None:
    trust = host.trust
    if isinstance(trust.store, Trouble):
        return trust.store.as_finding("airgap trust init")
    if stopped := [one.text for one in trust.concerns if one.stops]:
        return fail(
            f"no bundle can be accepted: {'; '.join(stopped)}",
            "airgap trust add PUBKEYS --signer NAME --fingerprint FPR, from paper",
        )
    return ok(f"{trust.store} signer(s)")


def _keys(host: Host) -> Finding | None:
    told = [one.text for one in host.trust.concerns if not one.stops]
    return warn("; ".join(told), "airgap trust check; see docs/trust.md") if told else None


def _record(host: Host) -> Finding | None:
    if host.trust.record is not None:
        return host.trust.record.as_finding("airgap trust reset-sequence")
    return ok("older bundles are refused")


def _clock(host: Host) -> Finding | None:
    newest, clock = host.trust.newest, host.trust.clock
    if newest is not None and clock < newest - _TOLERANCE:
        return warn(
            f"the clock says {clock:%Y-%m-%d %H:%M} UTC, and this host has accepted a bundle of "
            f"{newest:%Y-%m-%d %H:%M}: expiry is judged by the later, all else by the clock",
            "set the clock: date -u; timedatectl set-time",
        )
    return ok(f"{clock:%Y-%m-%d %H:%M} UTC")


def _audit(host: Host) -> Finding | None:
    audit = host.trust.audit
    if isinstance(audit, Trouble):
        if audit.refused:
            return audit.as_finding("airgap audit verify")
        return warn(audit.message, audit.hint or "run this as the owner of the host's root")
    return ok(audit or "nothing is recorded yet")


CHECKS: Final = (
    Check("trust.store", "Is there a policy that some bundle could satisfy?", _store),
    Check("trust.keys", "Do keys expire soon, is there a spare?", _keys),
    Check("trust.record", "Is the record of accepted bundles whole?", _record),
    Check("trust.clock", "Is the clock behind a bundle that was accepted?", _clock),
    Check("trust.audit", "Is the audit log unbroken?", _audit),
)
