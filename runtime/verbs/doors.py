"""A verb that listens: its options, and what it does before it answers anyone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console

if TYPE_CHECKING:
    import socket

    from runtime.server.keys import Keys
    from runtime.server.tls import Certificate

Address = Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")]
Port = Annotated[int, typer.Option(metavar="PORT", min=0, max=65535)]
Chain = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Certificate chain, PEM.", show_default=False)
]
ChainKey = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Its key, PEM.", show_default=False)
]
Anonymous = Annotated[
    bool, typer.Option("--allow-anonymous", help="Listen beyond this host without API keys.")
]


def keys(root: Path) -> Keys:
    """The API keys of this host: those of `airgap apikey`, and of API_KEYS."""
    from runtime.server import keys as api_keys

    return api_keys.Keys(api_keys.given_by_environment(), api_keys.KeyFile.under(root))


def bound(host: str, port: int) -> socket.socket:
    """The one socket that is listened on."""
    from runtime.server import listener

    return listener.bind(host, port)


def refuse_half_a_pair(chain: Path | None, key: Path | None) -> None:
    """Raise UsageError where a certificate was given without its key, or the key without it."""
    from airgap.errors import UsageError

    if (chain is None) != (key is None):
        raise UsageError("--tls-cert and --tls-key go together: one of them is missing")


def certificate(chain: Path | None, key: Path | None) -> Certificate | None:
    """The certificate, read while root may still read every file. Raises UsageError."""
    if chain is None or key is None:
        return None
    from runtime.server.tls import Certificate

    return Certificate(chain, key)


def refuse_open_doors(
    listener: socket.socket, keys: Keys, what: str, *, tls: bool, allow_anonymous: bool
) -> None:
    """Beyond this host nobody is served without a key, unless someone said so.

    Args:
        listener: bound.
        keys: who may come in.
        what: what travels, for the warning where there is no TLS.
        tls: whether there is.
        allow_anonymous: whether someone said so.

    Raises:
        UsageError: other hosts can reach it, and there is no key.
    """
    from airgap.errors import UsageError
    from runtime.server.listener import is_loopback, shown

    if is_loopback(listener):
        return
    where = shown(listener, tls=tls)
    if not keys.required and not allow_anonymous:
        raise UsageError(
            f"{where} can be reached from other hosts, and there is no API key",
            hint="airgap apikey add NAME; or --allow-anonymous",
        )
    if not keys.required:
        console.warn(f"--allow-anonymous: whoever reaches {where} is served")
    if not tls:
        console.warn(f"{where}: {what} travel in the clear")


def leave_network(listener: socket.socket, *, allow_network: bool) -> str:
    """Leave before a thread is started or a library imported; what holds, in a sentence."""
    from runtime import offline

    if allow_network:
        offline.set_offline_variables()
        return "--allow-network: this process can reach a network"
    return f"Running in OFFLINE mode: {offline.leave_network(keep=[listener.fileno()]).sentence()}"
