"""The verbs of the connected side, for the `airgap` command."""

from __future__ import annotations

import typer

from bundler.verbs import (
    build,
    cache,
    carry,
    diff,
    fetch,
    lock,
    paperwork,
    plan,
    scan,
    split,
    survey,
)


def register(app: typer.Typer) -> None:
    """Add the verbs in the order of the data's path."""
    for verb in (survey, plan, lock, fetch, scan, build, paperwork, split, carry, diff, cache):
        verb.register(app)
