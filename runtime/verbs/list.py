"""`airgap list`: what is mounted on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.console import console, human_size
from airgap.verbs import options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from runtime.generation import Generation


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("list")(show)


def show(
    every: Annotated[
        bool,
        typer.Option("--all", help="Also the generations that rollback can return to."),
    ] = False,
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show what is mounted: bundle, version, generation, signers and approval code.

    \b
    Examples:
      airgap list
      airgap list --all
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places
    from airgap.errors import AirgapError
    from runtime import generation

    place = places.isolated_root(root)
    found, broken = [], []
    for name in generation.mounted(place):
        for opened in _opened(place, name, every=every):
            try:
                with opened as one:
                    found.append(_described(one))
            except AirgapError as error:  # the others are shown all the same
                broken.append(error)
    for entry in found:
        _show(entry)
    if broken:
        raise broken[0]
    if not found:
        console.say(f"nothing is mounted in '{place}'; next: airgap mount BUNDLE")
    console.document("airgap/list/v1", {"root": str(place), "mounts": found})


def _opened(root: Path, name: str, *, every: bool) -> Iterator[AbstractContextManager[Generation]]:
    """What is served of a name; then, where `every` says so, the others, newest first."""
    from runtime import generation, lineage

    yield generation.current(root, name)
    if every:
        served, numbers = lineage.survey(root, name)
        for number in reversed(numbers):
            if number != served:
                yield generation.numbered(root, name, number)


def _show(entry: dict[str, Any]) -> None:
    kept = "" if entry["current"] else ", not served"
    console.data(f"{entry['name']}-{entry['version']}")
    console.data(f"  generation     {entry['generation']}, mounted {entry['mounted']}{kept}")
    console.data(f"  sequence       {entry['sequence']}")
    if entry["delta_of"]:
        console.data(f"  delta of       {entry['delta_of']}")
    console.data(f"  signed by      {', '.join(entry['signers'])}")
    console.data(f"  approval code  {entry['approval_code']}")
    console.data(f"  models         {', '.join(entry['models']) or 'none'}")
    if others := _told(entry["others"]):
        console.data(f"  others         {others}")
    console.data(f"  contents       {entry['files']} files, {human_size(entry['bytes'])}")
    if entry["current"]:
        console.data(f"  cache root     {entry['cache_root']}")


def _told(others: list[dict[str, str]]) -> str:
    """Each by its name, but the wheels, of which there are many."""
    named = [f"{one['id']} ({one['role']})" for one in others if one["role"] != "wheels"]
    wheels = len(others) - len(named)
    return ", ".join([*named, *([f"{wheels} wheel(s)"] if wheels else [])])


def _described(one: Generation) -> dict[str, Any]:
    from runtime import inventory

    artifacts = one.manifest.artifacts
    return {
        "name": one.statement.name,
        "version": one.statement.version,
        "sequence": one.statement.sequence,
        "delta_of": one.statement.base.title if one.statement.base else None,
        "generation": one.number,
        "current": one.is_current,
        "previous": one.record.previous,
        "mounted": one.record.mounted,
        "signers": list(one.record.signers),
        "approval_code": one.approval_code,
        "models": [artifact.id for artifact in artifacts if inventory.is_model(artifact)],
        "others": [
            {"id": artifact.id, "role": artifact.role}
            for artifact in artifacts
            if not inventory.is_model(artifact)
        ],
        "files": len(one.manifest.files),
        "bytes": sum(file.size for file in one.manifest.files),
        "cache_root": str(one.cache_root),
    }
