"""The verbs of the connected side, for the `airgap` command."""

from __future__ import annotations

import typer

from bundler.verbs import build, fetch, lock, plan


def register(app: typer.Typer) -> None:
    """Add plan, lock, fetch and build."""
    for verb in (plan, lock, fetch, build):
        verb.register(app)
