"""`airgap plan`: what a profile would carry and need, before anything is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console
from airgap.verbs import options
from bundler.verbs.profile import ProfileName

if TYPE_CHECKING:
    from airgap.finding import Finding


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("plan")(plan)


def plan(
    profile: ProfileName,
    site: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What survey.sh wrote at the site: say what would fail there.",
            show_default=False,
        ),
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show what a bundle would carry and need: models, licences, hosts, disk, memory.

    Reads the profile and its lock, and no network. With --site it exits with 1 where something
    would fail at the site.

    \b
    Examples:
      airgap plan gpu-full
      airgap plan cpu-small --site site.txt
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap.finding import State
    from bundler.lock import read_lock
    from bundler.plan import make_plan, show_plan
    from bundler.profile import read_profile
    from bundler.site.page import read_site
    from bundler.site.rules import judge, needs
    from bundler.sources.environment import access_for

    path, wanted = read_profile(profile)
    lock = read_lock(path, wanted)
    planned = make_plan(wanted, lock, access_for(path))
    show_plan(planned, console)
    found: list[tuple[str, Finding]] = []
    if site is not None:
        found = judge(read_site(site), needs(planned, lock))
        _show(found)
    console.document("airgap/plan/v1", planned.as_json() | _as_json(found, asked=site is not None))
    if any(one.state is State.FAIL for _, one in found):
        raise typer.Exit(1)


def _show(found: list[tuple[str, Finding]]) -> None:
    """A line a rule, and the fix below it."""
    width = max(len(name) for name, _ in found)
    console.data("\nAT THE SITE")
    for name, one in found:
        console.data(f"{one.state.upper():4}  {name:{width}}  {one.found}")
        if one.fix:
            console.data(f"      {'':{width}}  fix: {one.fix}")


def _as_json(found: list[tuple[str, Finding]], *, asked: bool) -> dict[str, object]:
    if not asked:
        return {}
    rows = [
        {"check": name, "state": one.state, "found": one.found, "fix": one.fix}
        for name, one in found
    ]
    return {"site": rows}
