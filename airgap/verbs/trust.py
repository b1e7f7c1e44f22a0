"""`airgap trust`: the public keys, and the rule over them, that this host accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from airgap.console import console
from airgap.verbs import options

HELP = """Decide whose signatures this host accepts.

First trust rests on paper: a key is added with the fingerprint that its owner printed, never
because it lies beside a bundle.
"""


def register(app: typer.Typer) -> None:
    """Add the group of verbs."""
    group = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode=None)
    group.command("init")(init)
    group.command("add")(add)
    group.command("list")(show)
    group.command("reset-sequence")(reset_sequence)
    app.add_typer(group, name="trust")


def init(
    threshold: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Signers that must have signed; 2 is the two-person rule."
        ),
    ] = 1,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Name or pattern of bundles to accept; any, if it is not given."
        ),
    ] = None,
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Start a trust store on this host, with no signer in it.

    \b
    Examples:
      airgap trust init
      airgap trust init --threshold 2 --accept 'ward-*'
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places
    from airgap.accepted import AcceptedFile
    from airgap.trust import TrustStore

    place = places.isolated_root(root)
    store, record = TrustStore.of_host(place), AcceptedFile(place)
    store.create(threshold, tuple(accept or ["*"]))
    if not record.path.exists():
        record.start()
    console.data(f"trust store in {store.folder}")
    console.say("next: airgap trust add PUBKEYS --signer NAME --fingerprint FPR")
    console.document("airgap/trust-init/v1", {"folder": str(store.folder), "threshold": threshold})


def add(
    public_keys: Annotated[list[Path], typer.Argument(metavar="PUBKEYS", help="PEM public keys.")],
    signer: Annotated[str, typer.Option(metavar="NAME", help="Who owns them: a person or a team.")],
    fingerprint: Annotated[
        list[str],
        typer.Option(
            metavar="FPR",
            help="Typed from paper: the one that `airgap keygen` printed for all of them, or "
            "--fingerprint for each key. Spaces and colons do not matter.",
        ),
    ],
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Trust a signer's keys, after comparing them with a fingerprint from paper.

    \b
    Examples:
      airgap trust add alice.*.pub --signer alice --fingerprint '7f3a 09c1 …'
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import keys, limits, places
    from airgap.errors import UntrustedError, UsageError
    from airgap.files import read_bounded
    from airgap.strict_json import is_name
    from airgap.trust import TrustStore

    if not is_name(signer):
        raise UsageError(f"'{signer}' cannot name a signer: expected [a-z0-9][a-z0-9._-]{{0,63}}")
    public = tuple(
        key
        for path in public_keys
        for key in keys.load_public_keys(
            read_bounded(path, limits.KEY_FILE, "a public key"), str(path)
        )
    )
    if not keys.matches_paper(public, fingerprint):
        raise UntrustedError(
            "the fingerprint is not that of "
            + ", ".join(f"'{path}'" for path in public_keys)
            + "; nothing was added",
            rule="trust.fingerprint",
            hint="type it from paper that the signer gave you; if it is right, these are not the "
            "signer's keys",
        )
    added = TrustStore.of_host(places.isolated_root(root)).add(signer, public)
    console.data(f"'{signer}' is trusted; must sign with {', '.join(added.algorithms)}")
    console.document(
        "airgap/trust-add/v1",
        {"signer": signer, "algorithms": list(added.algorithms), "keys": list(added.keys)},
    )


def show(root: options.Root = None, json: options.Json = False) -> None:
    """Show whom this host trusts, and what it has accepted.

    \b
    Examples:
      airgap trust list
    """
    console.configure(as_json=json)
    from airgap import places
    from airgap.accepted import AcceptedFile
    from airgap.trust import TrustStore

    place = places.isolated_root(root)
    policy = TrustStore.of_host(place).load()
    accepted = AcceptedFile(place).load()
    console.data(f"{policy.source}: {policy.threshold} signer(s) must sign")
    console.data(f"  accepts bundles named {', '.join(policy.bundles)}")
    for one in policy.signers.values():
        console.data(f"  {one.name}: must sign with {', '.join(one.algorithms)}")
        for key in one.keys.values():
            console.data(f"    {key.algorithm:<11} {key.key_id}")
    for name, last in accepted.bundles.items():
        console.data(f"  last accepted: {name}, sequence {last.sequence}, {last.created}")
    console.document(
        "airgap/trust-list/v1",
        {
            "policy": policy.source,
            "threshold": policy.threshold,
            "bundles": list(policy.bundles),
            "signers": {
                one.name: {"algorithms": list(one.algorithms), "keys": list(one.keys)}
                for one in policy.signers.values()
            },
            "accepted": {name: last.sequence for name, last in accepted.bundles.items()},
        },
    )


def reset_sequence(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    root: options.Root = None,
    quiet: options.Quiet = False,
) -> None:
    """Forget which bundles this host has accepted, so that an older one can pass once more.

    For a record that is lost or damaged. Compare `airgap list` with your paper first.

    \b
    Examples:
      airgap trust reset-sequence
    """
    console.configure(quiet=quiet)
    from airgap import places
    from airgap.accepted import AcceptedFile

    record = AcceptedFile(places.isolated_root(root))
    if not yes:
        typer.confirm(
            "An old bundle can pass for a new one until the next mount. Forget?", abort=True
        )
    record.start()
    console.data(f"nothing is recorded as accepted: {record.path}")
