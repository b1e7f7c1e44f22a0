"""`airgap trust`: the public keys, and the rule over them, that this host accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from airgap.console import console
from airgap.verbs import options, trust_changes

HELP = """Decide whose signatures this host accepts.

First trust rests on paper: a key is added with the fingerprint that its owner printed, never
because it lies beside a bundle.
"""


def register(app: typer.Typer) -> None:
    """Add the group of verbs."""
    group = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode=None)
    group.command("init")(init)
    group.command("add")(add)
    group.command("list")(list_signers)
    group.command("show")(show)
    group.command("check")(check)
    trust_changes.register(group)
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
    from airgap.errors import UsageError
    from airgap.evidence import record_change
    from airgap.trust import TrustStore

    if accept is not None and not all(name.strip() for name in accept):
        raise UsageError("--accept: expected a name or a pattern, found nothing")
    place = places.isolated_root(root)
    store, record = TrustStore.of_host(place), AcceptedFile(place)
    store.create(threshold, tuple(accept or ["*"]))
    if not record.path.exists():
        record.start()
    done = f"trust store in {store.folder}"
    record_change(place, done, "trust-init", folder=str(store.folder), threshold=threshold)
    console.data(done)
    console.say("next: airgap trust add PUBKEYS --signer NAME --fingerprint FPR")
    console.document("airgap/trust-init/v1", {"folder": str(store.folder), "threshold": threshold})


def add(
    public_keys: Annotated[list[Path], typer.Argument(metavar="PUBKEYS", help="PEM public keys.")],
    signer: Annotated[str, typer.Option(metavar="NAME", help="Who owns them: a person, a team.")],
    fingerprint: Annotated[
        list[str],
        typer.Option(
            metavar="FPR",
            help="Typed from paper: the one that `airgap keygen` printed for all of them, or "
            "--fingerprint for each key. Spaces and colons do not matter.",
        ),
    ],
    role: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROLE",
            help="What the keys may vouch for: bundle, trust, receipt, attestation. May be given "
            "again; bundle and trust, if it is not given.",
        ),
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Bundles that this signer may sign for; any else."),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When the keys stop counting: 2027-01-31T00:00:00Z."),
    ] = None,
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Trust a signer's keys, after comparing them with a fingerprint from paper.

    \b
    Examples:
      airgap trust add alice.*.pub --signer alice --fingerprint '7f3a 09c1 …'
      airgap trust add host.pub --signer ward-7 --role receipt --fingerprint '51bb …'
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import keys, places, policy
    from airgap.errors import UntrustedError, UsageError
    from airgap.evidence import record_change, refusal_recorded
    from airgap.strict_json import is_name, is_time
    from airgap.trust import TrustStore

    roles = tuple(role or (policy.BUNDLE, policy.TRUST))
    if not is_name(signer):
        raise UsageError(f"'{signer}' cannot name a signer: expected [a-z0-9][a-z0-9._-]{{0,63}}")
    if unknown := set(roles) - set(policy.ROLES):
        raise UsageError(f"'{min(unknown)}' is no role: expected {', '.join(policy.ROLES)}")
    if expires is not None and not is_time(expires):
        raise UsageError(f"--expires '{expires}': expected a time as 2027-01-31T00:00:00Z")
    if accept is not None and not all(name.strip() for name in accept):
        raise UsageError("--accept: expected a name or a pattern, found nothing")
    public = options.load_public_keys(public_keys)
    place = places.isolated_root(root)
    with refusal_recorded(place, "trust-add", signer):
        if not keys.matches_paper(public, fingerprint):
            raise UntrustedError(
                "the fingerprint is not that of "
                + ", ".join(f"'{path}'" for path in public_keys)
                + "; nothing was added",
                rule="trust.fingerprint",
                hint="type it from paper that the signer gave you; if it is right, these are not "
                "the signer's keys",
            )
    store = TrustStore.of_host(place)
    added = store.add(signer, public, roles=roles, bundles=tuple(accept or ()), expires=expires)
    ids = [key.key_id for key in public]
    done = f"'{signer}' is trusted; must sign with {', '.join(added.algorithms)}"
    record_change(place, done, "trust-add", signer=signer, keys=ids, roles=list(roles))
    console.data(done)
    console.document(
        "airgap/trust-add/v1",
        {
            "signer": signer,
            "algorithms": list(added.algorithms),
            "keys": list(added.keys),
            "roles": list(roles),
        },
    )


def list_signers(
    root: options.Root = None, json: options.Json = False, quiet: options.Quiet = False
) -> None:
    """Show whom this host trusts, and what it has accepted.

    \b
    Examples:
      airgap trust list
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places
    from airgap.accepted import AcceptedFile
    from airgap.trust import TrustStore

    place = places.isolated_root(root)
    policy = TrustStore.of_host(place).load()
    accepted = AcceptedFile(place).load()
    console.data(f"{policy.source}, version {policy.version}")
    console.data(f"  {policy.threshold} signer(s) must sign; bundles: {', '.join(policy.bundles)}")
    for one in policy.signers.values():
        console.data(f"  {one.name}: must sign with {', '.join(one.algorithms)}")
        for key_id, key in one.keys.items():
            state = f"revoked: {policy.revoked[key_id].reason}" if key_id in policy.revoked else ""
            until = f"until {key.expires}" if key.expires else ""
            notes = ", ".join(filter(None, (*key.roles, until, state)))
            console.data(f"    {key.public.algorithm:<11} {key_id}  {notes}")
    for name, last in accepted.bundles.items():
        console.data(f"  last accepted: {name}, sequence {last.sequence}, {last.created}")
    console.document(
        "airgap/trust-list/v1",
        {
            "policy": policy.source,
            "version": policy.version,
            "threshold": policy.threshold,
            "bundles": list(policy.bundles),
            "signers": {
                one.name: {"algorithms": list(one.algorithms), "keys": list(one.keys)}
                for one in policy.signers.values()
            },
            "revoked": {key_id: one.reason for key_id, one in policy.revoked.items()},
            "accepted": {name: last.sequence for name, last in accepted.bundles.items()},
        },
    )


def show(root: options.Root = None) -> None:
    """Print this host's policy as it stands in its file.

    \b
    Examples:
      airgap trust show
    """
    from airgap import places
    from airgap.trust import TrustStore

    store = TrustStore.of_host(places.isolated_root(root))
    console.say(f"{store.policy_file}:")
    console.data(store.policy_bytes().decode(errors="replace").rstrip())


def check(
    root: options.Root = None, json: options.Json = False, quiet: options.Quiet = False
) -> None:
    """Look for what will stop mounts: too few signers, keys that expire, no spare, lost state.

    Warnings leave exit code 0; what already stops every mount gives 3.

    \b
    Examples:
      airgap trust check
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places, trust_check
    from airgap.accepted import AcceptedFile, clock
    from airgap.errors import UntrustedError
    from airgap.trust import TrustStore

    place = places.isolated_root(root)
    policy, accepted = TrustStore.of_host(place).load(), AcceptedFile(place).load()
    concerns = trust_check.concerns(policy, accepted.now(clock()))
    for concern in concerns:
        console.warn(concern.text)
    if stopped := [concern.text for concern in concerns if concern.stops]:
        raise UntrustedError(
            f"no bundle can be accepted: {'; '.join(stopped)}",
            rule="trust.check",
            hint="airgap trust add, with a key and its fingerprint from paper",
        )
    console.data(f"{policy.source}: {len(policy.signers)} signer(s), {len(concerns)} warning(s)")
    console.document("airgap/trust-check/v1", {"warnings": [concern.text for concern in concerns]})
