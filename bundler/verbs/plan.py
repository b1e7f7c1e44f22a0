"""`airgap plan`: what a profile would carry and need, before anything is downloaded."""

from __future__ import annotations

import typer

from airgap.console import console
from airgap.verbs import options
from bundler.verbs.profile import ProfileName


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("plan")(plan)


def plan(profile: ProfileName, json: options.Json = False, quiet: options.Quiet = False) -> None:
    """Show what a bundle would carry and need: models, licences, hosts, disk, memory.

    Reads the profile and its lock, and no network.

    \b
    Examples:
      airgap plan gpu-full
    """
    console.configure(as_json=json, quiet=quiet)
    from bundler.lock import read_lock
    from bundler.plan import make_plan, show_plan
    from bundler.profile import read_profile
    from bundler.sources.environment import access_for

    path, wanted = read_profile(profile)
    planned = make_plan(wanted, read_lock(path, wanted), access_for(path))
    show_plan(planned, console)
    console.document("airgap/plan/v1", planned.as_json())
