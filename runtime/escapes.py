"""Every known way back to a network: a name, and a function that really tries it.

The function returns when it got out and raises when it was stopped. It runs in a child process
(`runtime.proof`), so it may leave behind what it likes.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import mmap
import os
import signal
import socket
import struct
import termios
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtime.confinement import CAPABILITY_VERSION
from runtime.descriptors import open_descriptors
from runtime.seccomp import MSG_FASTOPEN, TIOCLINUX, TIOCSTI, TUNSETIFF
from runtime.syscalls import X86_64, call, call_number, machine


@dataclass(frozen=True)
class Bait:
    """What an escape needs from before: made in the old network, and still open after leaving.

    Attributes:
        listener: a listening socket, as a server has one.
        peer: somebody to reach; its address is `target`.
        target: where `peer` listens, as struct sockaddr.
        old_network: the old network namespace, open.
        expected: every descriptor that may be open, the standard streams among them.
    """

    listener: socket.socket
    peer: socket.socket
    target: bytes
    old_network: int
    expected: frozenset[int]


@dataclass(frozen=True)
class Escape:
    """A way out.

    Attributes:
        name: as an error and the log say it.
        attempt: tries it; returns when it got out, raises OSError when it was stopped.
        stopped_by: how the guard stops it: names of errors, or of signals that end the child.
    """

    name: str
    attempt: Callable[[Bait], None]
    stopped_by: frozenset[str] = frozenset({"EPERM", "SIGSYS"})


# --- sockets ---------------------------------------------------------------------------------


def _open_socket(_bait: Bait, *, family: int, kind: int) -> None:
    socket.socket(family, kind).close()


def _open_any_socket(_bait: Bait) -> None:
    """Bluetooth, CAN, TIPC, XDP, MCTP and whatever else a kernel has."""
    for family in range(64):
        with suppress(PermissionError):
            call("socket", family, socket.SOCK_DGRAM, 0)
            return
    raise PermissionError(errno.EPERM, "no family was given")


def _open_pair(_bait: Bait, *, kind: int) -> None:
    """Unlike a stream, these send to any address, and so to sockets of other processes."""
    for end in socket.socketpair(socket.AF_UNIX, kind):
        end.close()


def _bind(_bait: Bait) -> None:
    one, other = socket.socketpair()
    with one, other:
        one.bind("")  # any free abstract address


def _reconnect_listener(bait: Bait) -> None:
    """AF_UNSPEC turns a listener into a plain socket, which is still in the old network."""
    number = bait.listener.fileno()
    call("connect", number, bytes(16), 16)
    call("connect", number, bait.target, len(bait.target))


def _send_and_connect(bait: Bait) -> None:
    number = _shut_listener(bait)
    call("sendto", number, b"x", 1, MSG_FASTOPEN, bait.target, len(bait.target))


def _send_message_and_connect(bait: Bait) -> None:
    number = _shut_listener(bait)
    header, _alive = _message(bait.target)
    call("sendmsg", number, header, MSG_FASTOPEN)


def _send_messages_and_connect(bait: Bait) -> None:
    number = _shut_listener(bait)
    header, _alive = _message(bait.target)
    call("sendmmsg", number, header + bytes(8), 1, MSG_FASTOPEN)


def _shut_listener(bait: Bait) -> int:
    """`shutdown`, too, turns a listener into a plain socket."""
    with suppress(OSError):  # an escape before this one did it
        bait.listener.shutdown(socket.SHUT_RD)
    return bait.listener.fileno()


def _message(target: bytes) -> tuple[bytes, object]:
    """A struct msghdr with one byte for `target`, and what must live as long as it does."""
    name = ctypes.create_string_buffer(target, len(target))
    content = ctypes.create_string_buffer(b"x", 1)
    vector = ctypes.create_string_buffer(struct.pack("@PN", ctypes.addressof(content), 1), 16)
    header = struct.pack(
        "@PIPNPNi4x", ctypes.addressof(name), len(target), ctypes.addressof(vector), 1, 0, 0, 0
    )
    return header, (name, content, vector)


def _use_left_descriptor(bait: Bait) -> None:
    if open_descriptors() <= bait.expected:
        raise PermissionError(errno.EPERM, "nothing was left open")


# --- namespaces and capabilities -------------------------------------------------------------

_NEW_NETWORK: Final = 0x4000_0000
_NEW_USER_AND_NETWORK: Final = 0x5000_0000


def _return_to_old_network(bait: Bait) -> None:
    call("setns", bait.old_network, _NEW_NETWORK)


def _unshare(_bait: Bait) -> None:
    call("unshare", _NEW_USER_AND_NETWORK)


def _clone(_bait: Bait) -> None:
    if call("clone", _NEW_USER_AND_NETWORK | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0)


def _clone3(_bait: Bait) -> None:
    arguments = struct.pack("=8Q", _NEW_USER_AND_NETWORK, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    if call("clone3", arguments, len(arguments)) == 0:
        os._exit(0)


def _take_capabilities(_bait: Bait) -> None:
    rights = 1 << 12 | 1 << 21  # CAP_NET_ADMIN and CAP_SYS_ADMIN, effective and permitted
    header = struct.pack("=Ii", CAPABILITY_VERSION, 0)
    call("capset", header, struct.pack("=6I", rights, rights, 0, 0, 0, 0))


# --- other processes -------------------------------------------------------------------------


def _trace(_bait: Bait) -> None:
    call("ptrace", 0, 0, 0, 0)  # PTRACE_TRACEME, the request that needs no victim


def _take_descriptor(bait: Bait) -> None:
    """From a process that has sockets; here, one's own."""
    call("pidfd_getfd", os.pidfd_open(os.getpid()), bait.peer.fileno(), 0)


def _copy_memory(_bait: Bait, *, how: str) -> None:
    """Of a process that has sockets; here, one's own."""
    here, there = (ctypes.create_string_buffer(8) for _ in range(2))
    local, remote = (struct.pack("@PN", ctypes.addressof(each), 8) for each in (here, there))
    call(how, os.getpid(), local, 1, remote, 1, 0)


def _open_memory(_bait: Bait) -> None:
    """Writable memory of any process that is not ours: code put there has that one's network."""
    ours = {os.getpid(), os.getppid()}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) not in ours:
            with suppress(OSError):
                os.close(os.open(folder / "mem", os.O_RDWR | os.O_CLOEXEC))
                return
    raise PermissionError(errno.EPERM, "no other memory was opened")


def _type_into_terminal(bait: Bait, *, command: int) -> None:
    try:
        _, terminal = os.openpty()
    except OSError:  # none to be had; a call on anything is refused by the guard all the same
        terminal = bait.listener.fileno()
    else:
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    fcntl.ioctl(terminal, command, b"\x02")


def _open_tunnel(bait: Bait) -> None:
    try:
        device = os.open("/dev/net/tun", os.O_RDWR)
    except OSError:  # not here, or not for us; a call on anything is refused all the same
        device = bait.listener.fileno()
    tunnel_without_header = 0x1001
    fcntl.ioctl(device, TUNSETIFF, struct.pack("=16sH22x", b"airgap%d", tunnel_without_header))


# --- other ways into the kernel --------------------------------------------------------------


def _io_uring(_bait: Bait) -> None:
    call("io_uring_setup", 1, ctypes.create_string_buffer(120))


def _load_program(_bait: Bait) -> None:
    """BPF_MAP_CREATE of an array of one: the least that it does."""
    call("bpf", 0, struct.pack("=4I", 2, 4, 4, 1), 16)


def _add_key(_bait: Bait) -> None:
    call("add_key", b"user\0", b"airgap\0", b"x", 1, _PROCESS_KEYRING)


def _request_key(bait: Bait) -> None:
    """For a key of type dns_resolver, a program of the host asks the network for a name."""
    with suppress(OSError):
        _add_key(bait)  # one that is there to be found
    call("request_key", b"user\0", b"airgap\0", None, _PROCESS_KEYRING)


def _find_keyring(_bait: Bait) -> None:
    call("keyctl", 0, _PROCESS_KEYRING, 1)  # KEYCTL_GET_KEYRING_ID


_PROCESS_KEYRING: Final = -2


def _mount(_bait: Bait) -> None:
    call("mount", b"none\0", b"/proc/self/task\0", b"tmpfs\0", 1 << 5, None)  # MS_REMOUNT


def _open_file_system(_bait: Bait) -> None:
    call("fsopen", b"tmpfs\0", 0)


# --- other tables of system calls, on x86-64 -------------------------------------------------


def _x32(_bait: Bait) -> None:
    call_number(0x4000_0000 | X86_64.numbers["socket"], socket.AF_INET, socket.SOCK_STREAM, 0)


def _int_80(_bait: Bait) -> None:
    """`socket` (359) of the 32-bit table, by its own instruction."""
    code = bytes.fromhex("53 b867010000 bb02000000 b901000000 31d2 cd80 5b c3")
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    result: int = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
    if result < 0:
        raise OSError(-result, os.strerror(-result))


# --- the list --------------------------------------------------------------------------------


def _sockets() -> Iterator[Escape]:
    for name, family, kind in (
        ("an IPv4 socket", socket.AF_INET, socket.SOCK_STREAM),
        ("an IPv6 socket", socket.AF_INET6, socket.SOCK_STREAM),
        ("a UDP socket", socket.AF_INET, socket.SOCK_DGRAM),
        ("a Unix socket", socket.AF_UNIX, socket.SOCK_STREAM),
        ("a netlink socket", socket.AF_NETLINK, socket.SOCK_RAW),
        ("a packet socket", socket.AF_PACKET, socket.SOCK_DGRAM),
        ("a socket to the hypervisor", socket.AF_VSOCK, socket.SOCK_STREAM),
    ):
        yield Escape(name, functools.partial(_open_socket, family=family, kind=kind))
    yield Escape("a socket of another family", _open_any_socket)
    for name, kind in (("datagram", socket.SOCK_DGRAM), ("packet", socket.SOCK_SEQPACKET)):
        yield Escape(f"a pair of {name} sockets", functools.partial(_open_pair, kind=kind))


_EVERYWHERE: Final = (
    *_sockets(),
    Escape("a bound socket", _bind),
    Escape("a listener, disconnected and connected out", _reconnect_listener),
    Escape("a listener, shut down and sent from", _send_and_connect),
    Escape("a listener, shut down and a message sent from", _send_message_and_connect),
    Escape("a listener, shut down and messages sent from", _send_messages_and_connect),
    Escape("a descriptor left open", _use_left_descriptor),
    Escape("the old network namespace", _return_to_old_network),
    Escape("a new user namespace", _unshare),
    Escape("a child in a new user namespace", _clone),
    Escape("a child in a new user namespace, by clone3", _clone3, frozenset({"ENOSYS", "SIGSYS"})),
    Escape("capabilities taken back", _take_capabilities),
    Escape("tracing", _trace),
    Escape("another process's descriptors", _take_descriptor),
    Escape(
        "another process's memory, read", functools.partial(_copy_memory, how="process_vm_readv")
    ),
    Escape(
        "another process's memory, written",
        functools.partial(_copy_memory, how="process_vm_writev"),
    ),
    Escape("another process's memory file", _open_memory),
    Escape("typing into the terminal", functools.partial(_type_into_terminal, command=TIOCSTI)),
    Escape("pasting into the console", functools.partial(_type_into_terminal, command=TIOCLINUX)),
    Escape("a tunnel", _open_tunnel),
    Escape("io_uring", _io_uring),
    Escape("a program in the kernel", _load_program),
    Escape("a key added", _add_key),
    Escape("a key asked for", _request_key),
    Escape("a keyring", _find_keyring),
    Escape("a mount", _mount),
    Escape("a file system opened", _open_file_system),
)

_OF_X86_64: Final = (
    Escape("the x32 table of system calls", _x32, frozenset({"ENOSYS", "SIGSYS"})),
    Escape(
        "the 32-bit table of system calls",
        _int_80,
        frozenset({"SIGSYS", "SIGSEGV", "EPERM", "EACCES"}),  # killed; no such table; no such page
    ),
)


def known() -> tuple[Escape, ...]:
    """The escapes that exist on this architecture."""
    of_x86 = _OF_X86_64 if machine() is X86_64 else ()
    return _EVERYWHERE + of_x86
