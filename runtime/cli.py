"""The verbs of the isolated side, for the `airgap` command."""

from __future__ import annotations

import typer

from runtime.verbs import apikey, cache, mount, serve, transcribe
from runtime.verbs import list as list_verb


def register(app: typer.Typer) -> None:
    """Add mount, list, cache, transcribe, serve and apikey."""
    for verb in (mount, list_verb, cache, transcribe, serve, apikey):
        verb.register(app)
