"""`airgap verify`: is this bundle what the signers that this host trusts have signed?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console, human_size
from airgap.verbs import options

if TYPE_CHECKING:
    from airgap.accepted import Accepted
    from airgap.policy import Policy
    from airgap.verify import VerifiedBundle

Bundle = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="The .tar.zst file, or - for a pipe.")
]
Keys = Annotated[
    list[Path] | None,
    typer.Option(
        "--key",
        metavar="PUBKEY",
        help="Check against this public key alone, not this host's policy. May be given again: "
        "then each key must have signed.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("verify")(verify)


def verify(
    bundle: Bundle,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also decompress, and check every file and tar header.")
    ] = False,
    key: Keys = None,
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Prove that a bundle is, byte for byte, what the signers that this host trusts have signed.

    Nothing is written, and nothing is decompressed before its bytes matched what was signed.

    \b
    Examples:
      airgap verify demo-1.0.0.tar.zst
      cat demo-1.0.0.tar.zst | airgap verify -
      airgap verify demo-1.0.0.tar.zst --key alice.ed25519.pub --key alice.ecdsa-p384.pub
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import accepted as record
    from airgap import head, volumes
    from airgap.verify import verify as decide

    policy, accepted = _authority(key, root)
    with volumes.source(bundle) as source, head.interruption_told(bundle):
        verified = decide(source, policy, accepted, record.clock())
        _check(verified, deep)
    _report(verified, deep, by_key=bool(key))


def _authority(key: list[Path] | None, root: Path | None) -> tuple[Policy, Accepted | None]:
    """Whose policy decides: the host's, or the keys that were given."""
    from airgap import places
    from airgap.accepted import AcceptedFile
    from airgap.errors import UsageError
    from airgap.policy import policy_of_keys
    from airgap.trust import TrustStore

    place = places.isolated_root(root)
    store = TrustStore.of_host(place)
    if not key:
        return store.load(), AcceptedFile(place).load()
    if store.decides_alone:
        raise UsageError(
            f"{store.name} decides alone on this host, and --key is not asked",
            hint="airgap verify BUNDLE, without --key",
        )
    named = ", ".join(f"'{path}'" for path in key)
    return policy_of_keys(options.load_public_keys(key), f"the key {named} that you gave"), None


def _check(verified: VerifiedBundle, deep: bool) -> None:
    bundle = verified.bundle
    with console.progress("verify", bundle.table.stored_total) as bar:
        if deep:
            bundle.check_contents(bar.advance)
        else:
            bundle.check_frames(bar.advance)


def _report(verified: VerifiedBundle, deep: bool, *, by_key: bool) -> None:
    statement, verdict = verified.bundle.statement, verified.verdict
    signers = ", ".join(f"{name} ({', '.join(used)})" for name, used in verdict.signers.items())
    stored = human_size(verified.bundle.table.stored_total)
    depth = "every frame, file and tar header" if deep else "every frame"
    console.data(f"{statement.title}: verified")
    console.data(f"  signed by      {signers}")
    console.data(f"  approval code  {verified.approval_code}")
    console.data(f"  judged by      {verdict.policy}")
    console.data(f"  sequence       {statement.sequence}, created {statement.created}")
    console.data(f"  expires        {statement.expires or 'never'}")
    console.data(f"  checked        {depth}: {statement.frames} frames, {stored}")
    for key_id in verdict.unknown:
        console.data(f"  also signed    by the unknown key {key_id}, which counts for nothing")
    if by_key:
        console.warn("this is the verdict of the key that you gave, not of this host's policy")
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
        },
    )
