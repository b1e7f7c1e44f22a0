"""`airgap list`: what is mounted on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from airgap.console import console, human_size
from airgap.verbs import options

if TYPE_CHECKING:
    from runtime.generation import Generation


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("list")(show)


def show(
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show what is mounted: bundle, version, generation, signers and approval code.

    \b
    Examples:
      airgap list
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places
    from airgap.errors import AirgapError
    from runtime import generation

    place = places.isolated_root(root)
    found, broken = [], []
    for name in generation.mounted(place):
        try:
            with generation.current(place, name) as one:
                found.append(_described(one))
        except AirgapError as error:  # the others are shown all the same
            broken.append(error)
    for entry in found:
        console.data(f"{entry['name']}-{entry['version']}")
        console.data(f"  generation     {entry['generation']}, mounted {entry['mounted']}")
        console.data(f"  sequence       {entry['sequence']}")
        if entry["delta_of"]:
            console.data(f"  delta of       {entry['delta_of']}")
        console.data(f"  signed by      {', '.join(entry['signers'])}")
        console.data(f"  approval code  {entry['approval_code']}")
        console.data(
            f"  models         {', '.join(entry['models'])} ({human_size(entry['bytes'])})"
        )
        console.data(f"  cache root     {entry['cache_root']}")
    if broken:
        raise broken[0]
    if not found:
        console.say(f"nothing is mounted in '{place}'; next: airgap mount BUNDLE")
    console.document("airgap/list/v1", {"root": str(place), "mounts": found})


def _described(one: Generation) -> dict[str, Any]:
    return {
        "name": one.statement.name,
        "version": one.statement.version,
        "sequence": one.statement.sequence,
        "delta_of": one.statement.base.title if one.statement.base else None,
        "generation": one.number,
        "mounted": one.record.mounted,
        "signers": list(one.record.signers),
        "approval_code": one.approval_code,
        "models": [artifact.id for artifact in one.manifest.artifacts],
        "bytes": sum(file.size for file in one.manifest.files),
        "cache_root": str(one.cache_root),
    }
