"""`airgap rollback`: back to what was served before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console
from airgap.verbs import options

if TYPE_CHECKING:
    from pathlib import Path

    from airgap.errors import RefusedError
    from runtime.generation import Generation


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("rollback")(rollback)


def rollback(
    name: options.Mounted = None,
    to: Annotated[
        int | None,
        typer.Option(
            "--to",
            metavar="N",
            min=1,
            help="Generation to go to, as `airgap list --all` shows it; else the one that was "
            "served before.",
            show_default=False,
        ),
    ] = None,
    anyway: Annotated[
        str | None,
        typer.Option(
            metavar="REASON",
            help="Go back to a bundle that has expired, or whose signers are trusted no more. The "
            "reason is recorded.",
            show_default=False,
        ),
    ] = None,
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Serve an earlier generation again: what was mounted before the one that is current.

    Every file of it is compared with what was signed, then one link is switched. A server that
    runs takes it up by itself. Which bundles this host accepts is not changed: to mount an older
    one still takes --allow-older.

    \b
    Examples:
      airgap rollback
      airgap rollback demo --to 3
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places
    from airgap.accepted import AcceptedFile, clock
    from airgap.evidence import refusal_recorded
    from runtime import generation
    from runtime import rollback as going_back
    from runtime import root as roots

    place, now = places.isolated_root(root), clock()
    bundle = generation.the_one(place, name, "airgap rollback")
    with roots.locked(place) as locked, refusal_recorded(place, "rollback", bundle):
        roots.settle(locked, AcceptedFile(place), now)
        served, target = going_back.target(locked, bundle, to)
        with generation.numbered(place, bundle, target) as one:
            taken_back = going_back.admit(one, place, now, anyway)
            size = sum(file.size for file in one.manifest.files)
            with console.progress("check", size) as bar:
                going_back.rollback(locked, one, bar.advance)
            _record(place, one, served, taken_back, anyway or "")
            _report(one, served, other_runtime=_runtimes_differ(place, one, served))


def _record(
    root: Path, one: Generation, served: int, taken_back: list[RefusedError], reason: str
) -> None:
    from airgap.evidence import record_change

    title = one.statement.title
    done = f"generation {one.number} ('{title}') is served"
    for refusal in taken_back:
        found = f"{refusal.message}; overridden: {reason}"
        console.warn(found)
        record_change(
            root, done, "override", action="rollback", rule=refusal.rule, bundle=title, why=found
        )
    record_change(
        root,
        done,
        "rollback",
        bundle=title,
        sequence=one.statement.sequence,
        approval_code=one.approval_code.replace(" ", ""),
        generation=one.number,
        left=served,
    )


def _runtimes_differ(root: Path, one: Generation, served: int) -> bool:
    """Whether programs change with the models; warns where those that belong to them are gone."""
    from runtime import environments, generation

    if environments.linked(one.folder) and environments.of(root, one.folder) is None:
        console.warn("its runtime is not there any more; next: airgap runtime install")
    with generation.numbered(root, one.statement.name, served) as left:
        return environments.linked(left.folder) != environments.linked(one.folder)


def _report(one: Generation, served: int, *, other_runtime: bool) -> None:
    console.data(f"{one.statement.title}: served again")
    console.data(f"  generation     {one.number}, after {served}")
    console.data(f"  signed by      {', '.join(one.record.signers)}")
    console.data(f"  approval code  {one.approval_code}")
    console.data(f"  cache root     {one.cache_root}")
    if other_runtime:
        console.say("its runtime is another one; next: restart the server and other programs")
    else:
        console.say("a server that runs takes it up by itself; other programs: start them again")
    console.document(
        "airgap/rollback/v1",
        {
            "name": one.statement.name,
            "version": one.statement.version,
            "sequence": one.statement.sequence,
            "generation": one.number,
            "left": served,
            "approval_code": one.approval_code,
            "cache_root": str(one.cache_root),
        },
    )
