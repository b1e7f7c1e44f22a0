"""The verbs of the isolated side."""

from __future__ import annotations

import typer

from runtime.verbs import (
    apikey,
    cache,
    doctor,
    gc,
    load,
    mirror,
    mount,
    pull,
    push,
    rollback,
    runtime,
    serve,
    status,
    transcribe,
    unmount,
    update,
)
from runtime.verbs import list as list_verb


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    everyday = (mount, update, status, doctor, list_verb, cache, rollback, unmount, gc, runtime)
    for verb in (*everyday, load, transcribe, serve, mirror, apikey, push, pull):
        verb.register(app)
