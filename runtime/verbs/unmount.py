"""`airgap unmount`: remove a bundle's mount."""

from __future__ import annotations

from typing import Annotated

import typer

from airgap.console import console
from airgap.verbs import options


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("unmount")(unmount)


def unmount(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `airgap list` shows it.")],
    yes: options.Yes = False,
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Remove a bundle's mount with all its generations. Refused while a process uses one.

    Its files stay in the store until `airgap gc`. That this host had accepted it is not
    forgotten: an older bundle of that name is refused as before.

    \b
    Examples:
      airgap unmount demo
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places
    from airgap.accepted import AcceptedFile, clock
    from airgap.evidence import record_change
    from runtime import generation
    from runtime import root as roots
    from runtime import unmount as unmounting

    place = places.isolated_root(root)
    bundle = generation.the_one(place, name, asked_by=None)
    if not yes:
        typer.confirm(
            f"'{bundle}' can then be neither served nor rolled back. Unmount?", abort=True
        )
    with roots.locked(place) as locked:
        roots.settle(locked, AcceptedFile(place), clock())
        count = unmounting.unmount(locked, bundle)
        record_change(
            place, f"'{bundle}' is unmounted", "unmount", bundle=bundle, generations=count
        )
    console.data(f"{bundle}: unmounted, {count} generation(s) removed")
    console.say("its files are in the store still; next: airgap gc")
    console.document("airgap/unmount/v1", {"name": bundle, "generations": count})
