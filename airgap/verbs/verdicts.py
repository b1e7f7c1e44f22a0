"""Verdicts on a bundle as a person and as a program read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from airgap.console import console, human_size

if TYPE_CHECKING:
    from airgap.archive import OpenBundle
    from airgap.decision import Step
    from airgap.verify import VerifiedBundle

NOT_AUTHENTICATED = "intact, NOT AUTHENTICATED: nobody was asked who made this bundle"


@contextmanager
def explained(steps: Sequence[Step], *, wanted: bool) -> Iterator[None]:
    """Show the steps as a table when the block ends, also where it ends in a refusal."""
    try:
        yield
    finally:
        if wanted:
            rows = [(step.outcome, step.rule, step.expected, step.found) for step in steps]
            console.table(("outcome", "rule", "expected", "found"), rows)
            console.data("")


def report(
    verified: VerifiedBundle,
    steps: Sequence[Step],
    *,
    deep: bool,
    by_key: bool = False,
    receipt: Path | None = None,
    base: Path | None = None,
) -> None:
    """Say that a bundle is what was signed, by whom, and by whose judgement.

    Args:
        verified: the bundle.
        steps: of the decision.
        deep: whether its files were checked too, not its frames alone.
        by_key: whether keys on the command line judged, and not this host's policy.
        receipt: where the receipt lies.
        base: the bundle that was checked as the base of a delta; None where none was.
    """
    statement, verdict = verified.bundle.statement, verified.verdict
    signers = ", ".join(f"{name} ({', '.join(used)})" for name, used in verdict.signers.items())
    console.data(f"{statement.title}: verified")
    console.data(f"  signed by      {signers}")
    console.data(f"  approval code  {verified.approval_code}")
    console.data(f"  judged by      {verdict.policy}")
    console.data(f"  sequence       {statement.sequence}, created {statement.created}")
    console.data(f"  expires        {statement.expires or 'never'}")
    console.data(f"  checked        {_depth(deep)}: {_amount(verified.bundle)}")
    _report_base(verified.bundle, base)
    if receipt is not None:
        console.data(f"  receipt        {receipt}")
    for key_id in verdict.unknown:
        console.data(f"  also signed    by the key {key_id}, which counts for nothing here")
    for step in steps:
        if step.outcome == "overridden":
            console.warn(f"{step.rule}: {step.found}")
    console.document(
        "airgap/verify/v1",
        {
            "verified": True,
            "policy": verdict.policy,
            "host_policy": not by_key,
            "name": statement.name,
            "version": statement.version,
            "sequence": statement.sequence,
            "created": statement.created,
            "expires": statement.expires,
            "signers": {name: list(used) for name, used in verdict.signers.items()},
            "unknown_keys": list(verdict.unknown),
            "approval_code": verified.approval_code,
            "deep": deep,
            "frames": statement.frames,
            "stored_bytes": verified.bundle.table.stored_total,
            "receipt": str(receipt) if receipt else None,
            "base": statement.base.to_json() if statement.base else None,
            "base_checked": base is not None,
            "left_to_base": len(verified.bundle.manifest.left_to_base),
            "decision": [asdict(step) for step in steps],
        },
    )


def report_integrity(bundle: OpenBundle, *, deep: bool) -> None:
    """Say that the bytes are whole, such that nobody can take it for authentication."""
    statement = bundle.statement
    console.data(f"{statement.title}: {NOT_AUTHENTICATED}")
    console.data(f"  checked        {_depth(deep)}, against the bundle's own statement alone")
    _report_base(bundle, None)
    console.document(
        "airgap/integrity/v1",
        {
            "authenticated": False,
            "intact": True,
            "caution": NOT_AUTHENTICATED,
            "claimed_name": statement.name,
            "claimed_version": statement.version,
            "deep": deep,
        },
    )


def _report_base(bundle: OpenBundle, checked: Path | None) -> None:
    """Of a delta: what it leaves to its base, and whether anybody looked there."""
    base, left = bundle.statement.base, bundle.manifest.left_to_base
    if base is None:
        return
    amount = f"{len(left)} files ({human_size(sum(file.size for file in left))})"
    if checked is not None:
        console.data(f"  delta of       {base.title}: '{checked}' holds the {amount} left to it")
        return
    console.warn(
        f"it is a delta: what it carries was checked, and {amount} are left to {base.title}, which "
        f"was not looked at (--base {base.title}.tar.zst)"
    )


def _depth(deep: bool) -> str:
    return "every frame, file and tar header" if deep else "every frame"


def _amount(bundle: OpenBundle) -> str:
    return f"{bundle.statement.frames} frames, {human_size(bundle.table.stored_total)}"
