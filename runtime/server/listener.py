"""The socket that is listened on, bound before the network is left; no other is ever opened."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import Final

from airgap.errors import AirgapError, UsageError

_BACKLOG: Final = 1024
"""Connections that wait to be accepted; the kernel caps it at net.core.somaxconn."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Args:
        host: an address, or a name of this host.
        port: 0 for any that is free.

    Raises:
        UsageError: the address is not one of this host's.
        AirgapError: the port is taken, or not allowed.
    """
    try:
        family, _kind, _protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--host '{host}': expected an address of this host: {error}") from error
    try:
        return socket.create_server(
            (str(address[0]), int(address[1])), family=family, backlog=_BACKLOG
        )
    except (OSError, OverflowError) as error:
        raise _unusable(host, port, error) from error


def _unusable(host: str, port: int, error: OSError | OverflowError) -> AirgapError:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return AirgapError(
            f"port {port} on {host} is taken: another program listens there",
            hint=f"--port {port + 1}; or see which it is: ss -ltnp 'sport = :{port}'",
        )
    if isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
        return AirgapError(
            f"cannot listen on {host}: it is no address of this host",
            hint="see which it has: ip -brief address; --host 0.0.0.0 is all of them",
        )
    why = getattr(error, "strerror", None) or error
    return AirgapError(f"cannot listen on {host}, port {port}: {why}", hint="--port, or --host")


def is_loopback(listener: socket.socket) -> bool:
    """Whether nobody beyond this host can reach it."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def shown(listener: socket.socket, *, tls: bool) -> str:
    """Its address, as a person would type it."""
    host, port = listener.getsockname()[:2]
    named = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{named}:{port}"
