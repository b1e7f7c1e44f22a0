"""The verbs of the isolated side, for the `airgap` command."""

from __future__ import annotations

import typer

from runtime.verbs import list as list_verb
from runtime.verbs import mount, transcribe


def register(app: typer.Typer) -> None:
    """Add mount, list and transcribe."""
    for verb in (mount, list_verb, transcribe):
        verb.register(app)
