"""What stays open when the network is left: an open socket is a way out that no filter sees."""

from __future__ import annotations

import errno
import gc
import os
import socket
import stat
from collections.abc import Collection
from contextlib import suppress

from airgap.errors import AirgapError

STANDARD = {0: "standard input", 1: "standard output", 2: "standard error"}


def refuse_ways_out(keep: Collection[int]) -> None:
    """Check the standard streams and the descriptors to keep, and change nothing.

    A standard stream may be a file, a terminal, a pipe, or a connected Unix stream: that is a
    pipe by another name, and what journald gives to a service. A socket of any other kind
    (inetd, `socat EXEC`) has the network at its other end. What is kept may be a file, a folder,
    a pipe, or a listening TCP or Unix stream, which serves those who come and calls nobody.

    Raises:
        AirgapError: one of them is a way to a network, or is not open.
    """
    for number, name in STANDARD.items():
        if _is_socket(number) and not (_is_local_stream(number) or _is_listener(number)):
            raise AirgapError(
                f"cannot leave the network: {name} is itself a network socket",
                hint="give it a file, a pipe or a terminal (`</dev/null >out 2>log`)",
            )
    for number in sorted(set(keep) - STANDARD.keys()):
        try:
            mode = os.fstat(number).st_mode
        except OSError as error:
            raise AirgapError(
                f"cannot leave the network: descriptor {number}, to be kept, is not open"
            ) from error
        plain = stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISFIFO(mode)
        if not (plain or (_is_socket(number) and _is_listener(number))):
            raise AirgapError(
                f"cannot leave the network: descriptor {number}, to be kept, is neither a file "
                "nor a pipe nor a listening TCP or Unix stream socket"
            )


def close_all_but(keep: Collection[int]) -> None:
    """Close every descriptor above the standard streams that is not to be kept.

    What nobody holds any more is collected first, so that its owner closes it: one that is found
    later closes by number, and that number may be another's by then. boto3 leaves such: the
    connection over which a machine's role gave it credentials.
    """
    gc.collect()
    for number in open_descriptors() - STANDARD.keys() - set(keep):
        os.close(number)


def open_descriptors() -> set[int]:
    """The descriptors of this process.

    Raises:
        AirgapError: /proc is not mounted.
    """
    try:
        listed = {int(name) for name in os.listdir("/proc/self/fd")}  # noqa: PTH208 - numbers, not paths
    except OSError as error:
        raise AirgapError(f"cannot list open descriptors: {error.strerror}") from error
    return {number for number in listed if _is_open(number)}  # the listing itself had one


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError as error:
        if error.errno == errno.EBADF:
            return False
        raise
    return True


def _is_socket(number: int) -> bool:
    return _is_open(number) and stat.S_ISSOCK(os.fstat(number).st_mode)


def _is_listener(number: int) -> bool:
    """Whether it listens for TCP or Unix streams; SCTP and MPTCP also call out by themselves."""
    with socket.socket(fileno=os.dup(number)) as found:
        kinds = (
            (socket.AF_INET, socket.IPPROTO_TCP),
            (socket.AF_INET6, socket.IPPROTO_TCP),
            (socket.AF_UNIX, 0),
        )
        return (
            found.type == socket.SOCK_STREAM
            and (found.family, found.proto) in kinds
            and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        )


def _is_local_stream(number: int) -> bool:
    with socket.socket(fileno=os.dup(number)) as found, suppress(OSError):
        found.getpeername()
        return found.family == socket.AF_UNIX and found.type == socket.SOCK_STREAM
    return False
