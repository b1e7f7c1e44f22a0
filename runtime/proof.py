"""Proof that the network was left: every known escape is tried, and one that works is an error.

Each is tried in a child of its own, which inherits what holds here: nothing that it does stays
behind, and where a service manager answers a forbidden call with death, only the child dies.

It must be the guard that stops an escape: one that fails for another reason (nobody listens, no
such device) would have worked on another day, and counts as a way out.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from airgap.errors import AirgapError
from runtime.descriptors import STANDARD
from runtime.escapes import Bait, Escape, known

_BROKEN: Final = 255
"""Exit status of a child whose attempt is itself at fault; no error of Linux has that number."""


@contextmanager
def laid_bait(keep: Collection[int]) -> Iterator[Bait]:
    """Prepare, in the old network, what the escapes will be tried with; closed at the end.

    Raises:
        AirgapError: /proc is not mounted.
    """
    with ExitStack() as open_until_tried:
        listener, peer = (open_until_tried.enter_context(each) for each in _listeners())
        try:
            old_network = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise AirgapError(f"cannot see the network namespace: {error.strerror}") from error
        open_until_tried.callback(os.close, old_network)
        ours = {listener.fileno(), peer.fileno(), old_network}
        yield Bait(
            listener=listener,
            peer=peer,
            target=_address(peer),
            old_network=old_network,
            expected=frozenset(ours | set(keep) | STANDARD.keys()),
        )


def try_every(bait: Bait) -> tuple[str, ...]:
    """Try every escape; the names of all that were tried, none of which worked.

    Raises:
        AirgapError: one worked, or could not be tried.
    """
    escapes = known()
    found = zip(escapes, outcomes(escapes, bait), strict=True)
    if ways_out := [each.name for each, outcome in found if outcome not in each.stopped_by]:
        raise AirgapError(
            f"the process could still reach a network by {'; by '.join(ways_out)}: refusing",
            hint="allow user namespaces, or use a kernel with Landlock (Linux 6.7), "
            "or go on with a network by --allow-network",
        )
    return tuple(each.name for each in escapes)


def outcomes(escapes: Sequence[Escape], bait: Bait) -> list[str]:
    """Try each in a child, all at once: `worked`, or the error or signal that stopped it (`EPERM`).

    Raises:
        AirgapError: they could not be tried.
    """
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would lose the statuses
    children: list[int] = []
    try:
        for escape in escapes:
            child = os.fork()
            if child == 0:
                os._exit(_attempted(escape, bait))
            children.append(child)
    except OSError as error:
        raise AirgapError(
            f"cannot prove that the network was left: no child process: {error.strerror}"
        ) from error
    finally:
        statuses = [os.waitpid(child, 0)[1] for child in children]
        signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)
    return [_named(status) for status in statuses]


def _named(status: int) -> str:
    """What a child's status says."""
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    code = os.WEXITSTATUS(status)
    return "worked" if code == 0 else errno.errorcode.get(code, f"status {code}")


def _attempted(escape: Escape, bait: Bait) -> int:
    """The exit status of a child: 0 when it got out, else the number of the error."""
    try:
        escape.attempt(bait)
    except OSError as error:
        return error.errno or _BROKEN
    except BaseException:  # noqa: BLE001 - a child must end here; the parent takes it for a way out
        return _BROKEN
    return 0


def _listeners() -> tuple[socket.socket, socket.socket]:
    """Two listeners on loopback; where no TCP socket is to be had, what stands in for them.

    A connected pair is no listener, but a call on it is refused by the guard all the same.
    """
    try:
        first = socket.create_server(("127.0.0.1", 0))
    except OSError:
        return socket.socketpair()
    try:
        return first, socket.create_server(("127.0.0.1", 0))
    except OSError as error:
        first.close()
        raise AirgapError(f"cannot open a socket on loopback: {error.strerror}") from error


def _address(peer: socket.socket) -> bytes:
    """Where it listens, as struct sockaddr_in."""
    if peer.family != socket.AF_INET:
        return struct.pack("=H14x", socket.AF_UNIX)
    host, port = peer.getsockname()
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, socket.inet_aton(host))
