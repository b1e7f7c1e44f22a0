"""`airgap verify --receipt`: what did an isolated host do with the bundle that was sent?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from airgap.console import console
from airgap.verbs import options

if TYPE_CHECKING:
    from airgap.receipt import Receipt


def verify(bundle: Path, also: list[Path], path: Path, key: list[Path], root: Path | None) -> None:
    """Check a receipt against the bundle that it must be about.

    Args:
        bundle: what was sent.
        also: further folders with its volumes.
        path: the receipt.
        key: files of hosts' keys that judge alone; none for this host's policy.
        root: this host's.

    Raises:
        UntrustedError: no host that is trusted here signed it, or that host refused the bundle.
    """
    from airgap import receipt, volumes
    from airgap.accepted import clock
    from airgap.archive import read_head
    from airgap.errors import UntrustedError
    from airgap.policy import RECEIPT, policy_of_keys
    from airgap.statement import Statement

    store, given = options.asked_store(root, key), options.load_public_keys(key)
    policy = policy_of_keys(given, "the key that you gave") if given else store.load()
    with volumes.opened(bundle, also) as source:
        statement = Statement.parse(read_head(source).statement)
    said = receipt.check(receipt.read(path), statement, policy.keys_for(RECEIPT, clock()))
    host = policy.owner(said.host)
    _report(said, host.name if host else "")
    if not said.passed:
        raise UntrustedError(
            f"that host refused '{said.title}'",
            rule="receipt.failed",
            hint="ask there for the refusal: airgap audit show",
        )


def _report(receipt: Receipt, host: str) -> None:
    """Say what an isolated host, enrolled here under that name, did with the bundle."""
    outcome = "passed" if receipt.passed else "FAILED"
    console.data(f"{receipt.title}: {receipt.action} {outcome} on {receipt.time}")
    console.data(f"  approval code  {receipt.approval_code}")
    console.data(f"  signed by      {', '.join(receipt.signers)}")
    console.data(f"  host           {host}, key {receipt.host}")
    for rule, reason in receipt.overrides.items():
        console.data(f"  overridden     {rule}: {reason}")
    console.document("airgap/receipt/v1", {**asdict(receipt), "host_name": host})
