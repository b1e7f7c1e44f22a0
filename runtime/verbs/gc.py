"""`airgap gc`: show what nothing needs any more, and remove it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console, human_size
from airgap.verbs import options

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.gc import Garbage


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("gc")(gc)


def gc(
    keep: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Earlier generations of each bundle that stay for rollback."
        ),
    ] = 1,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; else it is shown alone.")] = False,
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show what nothing on this host needs any more; with --yes, remove it.

    Never what is served, what rollback returns to, what a running process uses, or a file of
    theirs. Generations newer than the one that is served stay too: somebody rolled back from them.

    \b
    Examples:
      airgap gc
      airgap gc --yes
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places
    from airgap.accepted import AcceptedFile, clock
    from runtime import gc as collecting
    from runtime import root as roots

    place = places.isolated_root(root)
    with roots.locked(place) as locked:
        roots.settle(locked, AcceptedFile(place), clock())
        with collecting.found(locked, keep) as garbage:
            _show(garbage)
            if yes and garbage.anything:
                collecting.collect(locked, garbage)
                _record(place, garbage)
    _conclude(garbage, removed=yes)


def _show(garbage: Garbage) -> None:
    for name, number in garbage.generations:
        console.data(f"generation {number} of {name}")
    for identity in garbage.runtimes:
        console.data(f"runtime {identity}, which no generation needs")
    for path in garbage.leftovers:
        console.data(f"left by a command that was killed: {path}")
    if garbage.blobs:
        console.data(f"{len(garbage.blobs)} files of the store that no generation needs")
    for name, number in garbage.in_use:
        console.say(f"generation {number} of {name} stays: a running process uses it")


def _record(root: Path, garbage: Garbage) -> None:
    from airgap.evidence import record_change

    record_change(
        root,
        "what was shown is removed",
        "gc",
        generations=[f"{name} {number}" for name, number in garbage.generations],
        runtimes=garbage.runtimes,
        blobs=len(garbage.blobs),
        bytes=garbage.size,
    )


def _conclude(garbage: Garbage, *, removed: bool) -> None:
    size = human_size(garbage.size)
    if not garbage.anything:
        console.data("nothing to remove")
    elif removed:
        console.data(f"removed: {size}")
    else:
        console.data(f"{size} would be freed")
        console.say("nothing was removed; next: airgap gc --yes")
    console.document(
        "airgap/gc/v1",
        {
            "generations": [
                {"name": name, "generation": number} for name, number in garbage.generations
            ],
            "in_use": [{"name": name, "generation": number} for name, number in garbage.in_use],
            "runtimes": garbage.runtimes,
            "leftovers": garbage.leftovers,
            "blobs": garbage.blobs,
            "bytes": garbage.size,
            "removed": removed and garbage.anything,
        },
    )
