"""The verbs of the isolated side, for the `airgap` command."""

from __future__ import annotations

import typer

from runtime.verbs import apikey, mirror, mount, serve, transcribe
from runtime.verbs import list as list_verb


def register(app: typer.Typer) -> None:
    """Add mount, list, transcribe, serve, mirror and apikey."""
    for verb in (mount, list_verb, transcribe, serve, mirror, apikey):
        verb.register(app)
