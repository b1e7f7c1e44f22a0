"""The verbs of the connected side. Network libraries are imported when a verb first needs them."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict
from typing import Annotated

import typer

from airgap import limits
from airgap.console import console, human_size
from airgap.errors import UsageError
from airgap.files import read_bounded, write_whole
from airgap.strict_json import is_name
from bundler import fetch as fetching
from bundler.lock import Lock, lock_path, read_lock
from bundler.locking import Locked, lock_profile
from bundler.plan import make_plan, show_plan
from bundler.profile import read_profile
from bundler.sources.environment import access_for
from bundler.verbs import build

ProfileArgument = Annotated[
    str, typer.Argument(metavar="PROFILE", help="A shipped profile's name, or a file's path.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what goes wrong.")]


def register(app: typer.Typer) -> None:
    """Add the connected verbs to the command `airgap`."""
    app.command("plan")(plan)
    app.command("lock")(lock)
    app.command("fetch")(fetch)
    build.register(app)


def plan(profile: ProfileArgument, as_json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Show what a bundle would carry and need: models, licences, hosts, disk, memory.

    Reads the profile and its lock, and no network.

    Example: airgap plan gpu-full
    """
    console.configure(as_json=as_json, quiet=quiet)
    path, wanted = read_profile(profile)
    planned = make_plan(wanted, read_lock(path, wanted), access_for(path))
    show_plan(planned, console)
    console.document("airgap/plan/v1", planned.as_json())


def lock(
    profile: ProfileArgument,
    version: Annotated[
        str | None, typer.Option(help="The bundle's version, instead of the next one.")
    ] = None,
    sequence: Annotated[
        int | None, typer.Option(min=1, help="The sequence number, instead of the next one.")
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Pin every file of a profile's models: commit, size and SHA-256, beside the profile.

    Asks the hub (HF_ENDPOINT, HF_TOKEN). Where nothing changed, the lock stays as it is.

    Example: airgap lock ./my-profile.yaml
    """
    console.configure(as_json=as_json, quiet=quiet)
    require_connected_side("lock")
    if version is not None and not is_name(version):
        raise UsageError(f"--version: '{version}' is not a version", hint="--version 1.2.0")
    path, wanted = read_profile(profile)
    place = lock_path(path)
    previous = None
    if place.exists():
        previous = Lock.parse(read_bounded(place, limits.LOCK_FILE, "a lock"), str(place))
    locked = lock_profile(wanted, previous, access_for(path), version=version, sequence=sequence)
    written = locked.lock != previous
    if written:
        write_whole(place, locked.lock.to_bytes())
    _tell_locked(locked, previous, str(place), written=written)


def _tell_locked(locked: Locked, previous: Lock | None, place: str, *, written: bool) -> None:
    """What changed, for a person and for a program."""
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


def fetch(
    profile: ProfileArgument, as_json: JsonOption = False, quiet: QuietOption = False
) -> None:
    """Download every file of a lock into the download cache (AIRGAP_CACHE), checked.

    What is there already is not fetched again; `airgap build` then needs no network.

    Example: airgap fetch demo
    """
    console.configure(as_json=as_json, quiet=quiet)
    require_connected_side("fetch")
    path, wanted = read_profile(profile)
    access = access_for(path)
    fetched = fetching.fetch(read_lock(path, wanted), access)
    count, size = len(fetched.paths), human_size(fetched.downloaded)
    console.say(f"{count} files in '{access.cache.root}', {size} of them fetched now")
    console.document(
        "airgap/fetch/v1",
        {
            "cache": str(access.cache.root),
            "downloaded": fetched.downloaded,
            "files": {sha256: str(path) for sha256, path in sorted(fetched.paths.items())},
        },
    )


def require_connected_side(verb: str) -> None:
    """Raise UsageError where the libraries of the `[bundler]` extra are not installed."""
    needed = ("huggingface_hub", "pypi_simple")
    if lacking := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise UsageError(
            f"`airgap {verb}` belongs to the connected side: {', '.join(lacking)} is not installed",
            hint="pip install 'airgap-bundler[bundler]'",
        )
