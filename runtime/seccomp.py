"""The filter that no system call passes which could open, or reopen, a way to a network.

A list of what is refused, not of what is allowed: the engines and their drivers make calls
that nobody can list ahead. It is written against what the kernel reads: where the kernel takes
an `int`, the upper half of the register is ignored, for it is ignored there too.

Reference: Linux, Documentation/userspace-api/seccomp_filter.rst.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from typing import Final

from airgap.errors import AirgapError
from runtime.syscalls import NEWEST, Machine, call

REFUSED: Final = (
    # New sockets of every family, and new peers or addresses for the sockets that are there.
    "socket",
    "connect",
    "bind",
    # A second way into the kernel, which no filter sees.
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    # Back to the old network, or to a user namespace with every capability.
    "setns",
    "unshare",
    # The descriptors and the memory of processes that still have a network.
    "ptrace",
    "pidfd_getfd",
    "process_vm_readv",
    "process_vm_writev",
    # Programs in the kernel; and its keyring, which has a program outside look names up in DNS.
    "bpf",
    "add_key",
    "request_key",
    "keyctl",
    # Network file systems.
    "mount",
    "umount2",
    "pivot_root",
    "open_tree",
    "open_tree_attr",
    "move_mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
)
"""What fails with EPERM whatever its arguments."""

ALONE: Final = (
    # Another program, or another process: one that forks for ever, or outlives its parent.
    "execve",
    "execveat",
    "fork",
    "vfork",
    # The other processes of this user.
    "kill",
    "tkill",
    "tgkill",
    "pidfd_send_signal",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "prlimit64",
)
"""What `alone` refuses besides."""

UNCHANGED: Final = (
    *("chmod", "fchmod", "fchmodat", "fchmodat2"),
    *("chown", "fchown", "lchown", "fchownat"),
    *("utime", "utimes", "futimesat", "utimensat"),
    *("setxattr", "lsetxattr", "fsetxattr", "setxattrat"),
    *("removexattr", "lremovexattr", "fremovexattr", "removexattrat"),
    "file_setattr",
)
"""Modes, owners, times and attributes of files, over which Landlock has no say. Programs set them
when they copy files of their own, so they succeed, and do nothing."""

CLONE_THREAD: Final = 0x1_0000

MSG_FASTOPEN: Final = 0x2000_0000
"""Connects while sending, on a listener that `shutdown` has turned back into a plain socket."""

NEW_NAMESPACES: Final = 0x7E02_0000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET of linux/sched.h."""

TIOCSTI: Final = 0x5412
"""Types into the terminal, for the shell that reads it after us."""

TIOCLINUX: Final = 0x541C
"""Pastes into a virtual console, likewise."""

TUNSETIFF: Final = 0x4004_54CA
"""Attaches to a tunnel, which needs no capability where an administrator gave one to this user."""

_ALLOW: Final = 0x7FFF_0000
_KILL: Final = 0x8000_0000
_FAIL: Final = 0x0005_0000

# linux/bpf_common.h: the few instructions that a filter needs.
_LOAD: Final = 0x20
_EQUAL: Final = 0x15
_GREATER: Final = 0x25
_ANY_BIT: Final = 0x45
_AND: Final = 0x54
_RETURN: Final = 0x06

# struct seccomp_data of linux/seccomp.h: where the number, the architecture, the arguments lie.
_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_ARGUMENTS: Final = 16

_SET_MODE_FILTER: Final = 1
_ALL_THREADS: Final = 1

_AF_UNIX: Final = 1
_SOCK_STREAM: Final = 1
_SOCK_TYPE_MASK: Final = 0xF
_WORD: Final = 0xFFFF_FFFF


def program(machine: Machine) -> bytes:
    """The filter for an architecture, as the kernel takes it: struct sock_filter by the dozen."""
    numbers = machine.numbers
    steps = [
        _load(_ARCHITECTURE),
        _jump(_EQUAL, machine.audit, 1, 0),
        _return(_KILL),  # `int 0x80` and the like: another table of numbers, so no rule would hold
        _load(_NUMBER),
        _jump(_GREATER, NEWEST, 0, 1),  # x32, too: its numbers have bit 30 set
        _fail(errno.ENOSYS),
        # Its flags lie in memory, where a filter cannot look; C libraries then use `clone`.
        *_when(numbers["clone3"], _fail(errno.ENOSYS)),
    ]
    for name in REFUSED:
        steps += _when(numbers[name], _fail(errno.EPERM))
    steps += _when(numbers["clone"], *_refuse_any_bit(0, NEW_NAMESPACES), _return(_ALLOW))
    # asyncio wakes itself through such a pair. Of the other types each message can carry an
    # address, `sendmsg` hides it in memory, and so they reach the sockets of other processes.
    steps += _when(
        numbers["socketpair"],
        *_refuse_unless(0, _WORD, _AF_UNIX),
        *_refuse_unless(1, _SOCK_TYPE_MASK, _SOCK_STREAM),
        _return(_ALLOW),
    )
    steps += _when(
        numbers["sendto"],
        *_refuse_any_bit(3, MSG_FASTOPEN),
        *_refuse_any_bit(4, _WORD),
        *_refuse_any_bit(4, _WORD, upper=True),
        _return(_ALLOW),
    )
    steps += _when(numbers["sendmsg"], *_refuse_any_bit(2, MSG_FASTOPEN), _return(_ALLOW))
    steps += _when(numbers["sendmmsg"], *_refuse_any_bit(3, MSG_FASTOPEN), _return(_ALLOW))
    steps += _when(
        numbers["ioctl"],
        *_refuse_equal(1, TIOCSTI),
        *_refuse_equal(1, TIOCLINUX),
        *_refuse_equal(1, TUNSETIFF),
        _return(_ALLOW),
    )
    return b"".join([*steps, _return(_ALLOW)])


def alone(machine: Machine) -> bytes:
    """A second filter, on top of `program`: threads of its own, and nothing of anybody else's.

    For the code of strangers that the connected side runs in order to build a wheel.
    """
    numbers = machine.numbers
    steps = [_load(_NUMBER)]
    for name in ALONE:
        if name in numbers:
            steps += _when(numbers[name], _fail(errno.EPERM))
    for name in UNCHANGED:
        if name in numbers:
            steps += _when(numbers[name], _fail(0))
    steps += _when(
        numbers["clone"],
        _load_argument(0),
        _jump(_ANY_BIT, CLONE_THREAD, 1, 0),
        _fail(errno.EPERM),
        _return(_ALLOW),
    )
    return b"".join([*steps, _return(_ALLOW)])


def install(filters: bytes) -> None:
    """Put a filter on every thread, for good; children and executed programs inherit it.

    `no_new_privs` must be set, or the process be privileged.

    Args:
        filters: what `program` or `alone` returned.

    Raises:
        AirgapError: the kernel has no filters, or did not take this one.
    """
    code = ctypes.create_string_buffer(filters, len(filters))
    # struct sock_fprog: how many instructions of 8 bytes, and where they lie.
    header = struct.pack("@HP", len(filters) // 8, ctypes.addressof(code))
    try:
        refusing = call("seccomp", _SET_MODE_FILTER, _ALL_THREADS, header)
    except OSError as error:
        raise AirgapError(
            f"cannot leave the network: the kernel takes no system call filter: {error.strerror}",
            hint="a kernel with CONFIG_SECCOMP_FILTER is needed; gVisor and WSL1 have none",
        ) from error
    if refusing:
        raise AirgapError(f"cannot leave the network: thread {refusing} did not take the filter")


def _when(number: int, *steps: bytes) -> list[bytes]:
    """`steps`, which must end in a return, for the system call of that number alone."""
    return [_jump(_EQUAL, number, 0, len(steps)), *steps]


def _refuse_any_bit(argument: int, bits: int, *, upper: bool = False) -> list[bytes]:
    return [_load_argument(argument, upper=upper), _jump(_ANY_BIT, bits, 0, 1), _fail(errno.EPERM)]


def _refuse_equal(argument: int, value: int) -> list[bytes]:
    return [_load_argument(argument), _jump(_EQUAL, value, 0, 1), _fail(errno.EPERM)]


def _refuse_unless(argument: int, mask: int, value: int) -> list[bytes]:
    return [
        _load_argument(argument),
        _step(_AND, mask),
        _jump(_EQUAL, value, 1, 0),
        _fail(errno.EPERM),
    ]


def _load_argument(argument: int, *, upper: bool = False) -> bytes:
    """Half of a 64-bit argument; both architectures have the lower half first."""
    return _load(_ARGUMENTS + 8 * argument + (4 if upper else 0))


def _load(offset: int) -> bytes:
    return _step(_LOAD, offset)


def _return(verdict: int) -> bytes:
    return _step(_RETURN, verdict)


def _fail(error: int) -> bytes:
    return _return(_FAIL | error)


def _step(code: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, 0, 0, value)


def _jump(code: int, value: int, if_true: int, if_false: int) -> bytes:
    """Compare, then skip so many of the following instructions."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
