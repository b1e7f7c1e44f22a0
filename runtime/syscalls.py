"""The system calls that confining a process makes or refuses: their numbers, and how to make one.

Python 3.11 wraps few of them, and the filter speaks in numbers, which differ by architecture.
The numbers are Linux's own: arch/x86/entry/syscalls/syscall_64.tbl and scripts/syscall.tbl
(arm64) of Linux 6.18.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from airgap.errors import UsageError

NEWEST: Final = 469
"""`file_setattr`, the newest call of Linux 6.18; nobody here has judged what later ones do."""

# First the number on x86-64, then the one on arm64, which lacks some that others stand for.
_NUMBERS: Final[Mapping[str, tuple[int, int | None]]] = {
    "add_key": (248, 217),
    "bind": (49, 200),
    "bpf": (321, 280),
    "capset": (126, 91),
    "chmod": (90, None),
    "chown": (92, None),
    "clone": (56, 220),
    "clone3": (435, 435),
    "connect": (42, 203),
    "execve": (59, 221),
    "execveat": (322, 281),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "file_setattr": (469, 469),
    "fork": (57, None),
    "fremovexattr": (199, 16),
    "fsconfig": (431, 431),
    "fsetxattr": (190, 7),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "futimesat": (261, None),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioctl": (16, 29),
    "keyctl": (250, 219),
    "kill": (62, 129),
    "landlock_create_ruleset": (444, 444),
    "landlock_restrict_self": (446, 446),
    "lchown": (94, None),
    "lremovexattr": (198, 15),
    "lsetxattr": (189, 6),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "pivot_root": (155, 41),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "removexattr": (197, 14),
    "removexattrat": (466, 466),
    "request_key": (249, 218),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "seccomp": (317, 277),
    "sendmmsg": (307, 269),
    "sendmsg": (46, 211),
    "sendto": (44, 206),
    "setns": (308, 268),
    "setxattr": (188, 5),
    "setxattrat": (463, 463),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "tgkill": (234, 131),
    "tkill": (200, 130),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "utime": (132, None),
    "utimensat": (280, 88),
    "utimes": (235, None),
    "vfork": (58, None),
}


@dataclass(frozen=True)
class Machine:
    """An architecture as the kernel tells it from others.

    Attributes:
        name: as `uname -m` prints it.
        audit: AUDIT_ARCH_* of linux/audit.h, which a filter finds beside the call's number.
        numbers: a system call's number by its name.
    """

    name: str
    audit: int
    numbers: Mapping[str, int]


X86_64: Final = Machine("x86_64", 0xC000_003E, {name: one for name, (one, _) in _NUMBERS.items()})
ARM64: Final = Machine(
    "aarch64",
    0xC000_00B7,
    {name: one for name, (_, one) in _NUMBERS.items() if one is not None},
)


def machine() -> Machine:
    """The architecture that this interpreter runs on.

    Raises:
        UsageError: it is not Linux, or neither 64-bit x86 nor 64-bit ARM.
    """
    found = platform.machine()
    if sys.platform == "linux" and sys.maxsize > 1 << 32:
        for known in (X86_64, ARM64):
            if found == known.name:
                return known
    raise UsageError(
        "leaving the network needs Linux on x86-64 or arm64 with a 64-bit Python, "
        f"and this is '{platform.system()} {found}'",
        hint="on Windows, run it under WSL2",
    )


def call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make the system call `name`; what it returns.

    Raises:
        OSError: the kernel, or a filter before it, refused.
    """
    return call_number(machine().numbers[name], *arguments)


def call_number(number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make the system call of that number, which may be one that no table of ours holds.

    Raises:
        OSError: the kernel, or a filter before it, refused.
    """
    # A variadic C function takes what it is given: integers must have the width of a register.
    passed = (ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)
    result: int = _libc().syscall(ctypes.c_long(number), *passed)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


@functools.cache
def _libc() -> ctypes.CDLL:
    """The C library that is loaded already; found late, so that importing works on any system."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc
