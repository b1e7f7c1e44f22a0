"""The verbs of `airgap trust` that take trust away, change it as a whole, or forget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console
from airgap.verbs import options

if TYPE_CHECKING:
    from airgap.trust import TrustStore


def register(group: typer.Typer) -> None:
    """Add the verbs to `airgap trust`."""
    group.command("revoke")(revoke)
    group.command("rotate")(rotate)
    group.command("reset-sequence")(reset_sequence)
    group.command("reset-time")(reset_time)


def revoke(
    key: Annotated[str, typer.Argument(metavar="KEYID", help="The first 8 or more digits.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept.")],
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Let a key count for nothing, from now on and for ever.

    New mounts stop if too few signers are left; what is mounted serves on, unless the policy says
    `expired: stop`.

    \b
    Examples:
      airgap trust revoke 6953120a --reason 'laptop stolen'
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places
    from airgap.accepted import clock
    from airgap.errors import UsageError
    from airgap.evidence import record_change
    from airgap.trust import TrustStore

    if not reason.strip():
        raise UsageError("--reason: expected why the key is revoked, found nothing")
    place = places.isolated_root(root)
    owner, whole = TrustStore.of_host(place).revoke(key.lower(), reason, clock())
    done = f"key {whole[:16]} of '{owner}' counts for nothing from now on"
    record_change(place, done, "trust-revoke", key=whole, signer=owner, reason=reason)
    console.data(done)
    console.say("next: airgap trust check")
    console.document("airgap/trust-revoke/v1", {"key": whole, "signer": owner, "reason": reason})


def rotate(
    rotation: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A rotation, signed.")
    ] = None,
    make: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write an unsigned rotation, instead of applying one."),
    ] = None,
    of: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", help="The edited trust store, for --make."),
    ] = None,
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Replace this host's policy by one that a quorum of the old and of the new has signed.

    To make one: copy the trust store, edit the copy and raise `version`, write the rotation with
    --make, and have it signed with `airgap sign FILE --key NAME`.

    \b
    Examples:
      airgap trust rotate --make policy-2.rotation --from new-trust
      airgap sign policy-2.rotation --key alice
      airgap trust rotate policy-2.rotation
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places
    from airgap.errors import UsageError
    from airgap.trust import TrustStore

    if (rotation is None) == (make is None) or (make is None) != (of is None):
        raise UsageError(
            "expected a rotation to apply, or --make FILE with --from FOLDER",
            hint="airgap trust rotate --help",
        )
    if make is not None and of is not None:
        _make(make, TrustStore(of.absolute()))
    elif rotation is not None:
        _apply(rotation, places.isolated_root(root))


def _make(target: Path, edited: TrustStore) -> None:
    from airgap.envelope import Envelope
    from airgap.errors import UsageError
    from airgap.files import write_whole
    from airgap.rotation import Rotation

    if target.exists():
        raise UsageError(
            f"'{target}' is there already, perhaps with signatures", hint="choose another FILE"
        )
    statement = Rotation.of_store(edited).to_bytes()
    write_whole(target, Envelope(statement, ()).to_json())
    version = edited.load().version
    console.data(f"{target}: version {version} of the policy, to be signed")
    console.say(f"next: airgap sign {target} --key NAME, by a quorum of the old and of the new")
    console.document("airgap/trust-rotation/v1", {"file": str(target), "version": version})


def _apply(path: Path, root: Path) -> None:
    from airgap import rotation
    from airgap.accepted import AcceptedFile, clock
    from airgap.evidence import record_change, refusal_recorded
    from airgap.trust import TrustStore

    store = TrustStore.of_host(root)
    with refusal_recorded(root, "trust-rotate", path.name):
        store.load()  # a host without one is told that, not what its record lacks
        now = AcceptedFile(root).load().now(clock())
        policy = rotation.apply(store, rotation.RotationFile(path).read(), now)
    done = f"{policy.source}: version {policy.version} is in force"
    record_change(root, done, "trust-rotate", version=policy.version)
    console.data(done)
    console.say("next: airgap trust list, and compare with what was decided; airgap trust check")
    console.document("airgap/trust-rotate/v1", {"policy": policy.source, "version": policy.version})


def reset_sequence(
    yes: options.Yes = False, root: options.Root = None, quiet: options.Quiet = False
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
    from airgap.evidence import record_change

    place = places.isolated_root(root)
    record = AcceptedFile(place)
    _confirm(yes, "An old bundle can pass for a new one until the next mount. Forget?")
    record.start()
    done = f"nothing is recorded as accepted: {record.path}"
    record_change(place, done, "trust-reset-sequence")
    console.data(done)


def reset_time(
    yes: options.Yes = False, root: options.Root = None, quiet: options.Quiet = False
) -> None:
    """Forget how late it has been here, after a bundle was made by a clock that was ahead.

    Expiry is judged by the later of this host's clock and the newest bundle that it mounted.

    \b
    Examples:
      airgap trust reset-time
    """
    console.configure(quiet=quiet)
    from airgap import places
    from airgap.accepted import AcceptedFile
    from airgap.evidence import record_change

    place = places.isolated_root(root)
    record = AcceptedFile(place)
    _confirm(yes, "What expired can pass again if this clock is behind. Forget?")
    record.forget_time()
    done = f"the time is this host's clock alone: {record.path}"
    record_change(place, done, "trust-reset-time")
    console.data(done)


def _confirm(yes: bool, question: str) -> None:
    if not yes:
        typer.confirm(question, abort=True)
