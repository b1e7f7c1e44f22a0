"""`airgap lock`: which bytes a profile means, pinned in a file beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console
from airgap.verbs import options
from bundler.verbs.profile import ProfileName
from bundler.verbs.reaching import CaBundle

if TYPE_CHECKING:
    from bundler.lock import Lock
    from bundler.locking import Locked


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("lock")(lock)


def lock(
    profile: ProfileName,
    version: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="The bundle's version, instead of the next one."),
    ] = None,
    sequence: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="The sequence number, instead of the next one."),
    ] = None,
    runtime_only: Annotated[
        bool,
        typer.Option(
            "--runtime-only",
            help="Resolve the wheels of the runtime anew, and leave the models as they are locked.",
        ),
    ] = False,
    ca_bundle: CaBundle = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Pin every file of a profile's models and runtime, by size and SHA-256, beside the profile.

    Asks the hub (HF_ENDPOINT, HF_TOKEN) for models, and the package index (PIP_INDEX_URL) for the
    wheels that the isolated host will install. Where nothing changed, the lock stays as it is.

    \b
    Examples:
      airgap lock ./my-profile.yaml
      airgap lock ./my-profile.yaml --runtime-only
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import limits
    from airgap.errors import UsageError
    from airgap.files import read_bounded, write_whole
    from airgap.strict_json import is_name
    from bundler.lock import Lock, lock_path
    from bundler.locking import lock_profile
    from bundler.profile import read_profile
    from bundler.sources.environment import access_for, require_libraries

    require_libraries("lock")
    if version is not None and not is_name(version):
        raise UsageError(f"--version: '{version}' is not a version", hint="--version 1.2.0")
    path, wanted = read_profile(profile)
    place = lock_path(path)
    previous = None
    if place.exists():
        previous = Lock.parse(read_bounded(place, limits.LOCK_FILE, "a lock"), str(place))
    locked = lock_profile(
        wanted,
        previous,
        access_for(path, ca_bundle),
        version=version,
        sequence=sequence,
        runtime_only=runtime_only,
    )
    written = locked.lock != previous
    if written:
        write_whole(place, locked.lock.to_bytes())
    _tell(locked, previous, str(place), written=written)


def _tell(locked: Locked, previous: Lock | None, place: str, *, written: bool) -> None:
    """What changed, for a person and for a program."""
    from dataclasses import asdict

    new = locked.lock
    for change in locked.changes:
        console.data(str(change))
    story = "Locked" if written else "Unchanged:"
    console.say(f"{story} {new.name} {new.version} (sequence {new.sequence}): {place}")
    if written and previous and new.sequence <= previous.sequence:
        console.warn(
            f"sequence {new.sequence} is not above {previous.sequence}: a host that mounted that "
            "one will refuse this"
        )
    console.document(
        "airgap/lock/v1",
        {
            "lock": place,
            "written": written,
            "name": new.name,
            "version": new.version,
            "sequence": new.sequence,
            "missing": new.missing(),
            "changes": [asdict(change) for change in locked.changes],
        },
    )
