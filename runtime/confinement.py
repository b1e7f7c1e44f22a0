"""What a process can give up for good besides system calls: its network, its rights, its peers.

None of this is needed for the filter to hold. Each closes, a second time, what the filter
closes, and namespaces and Landlock close what no filter can see: the memory files of other
processes of the same user.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

from airgap.errors import AirgapError
from runtime.syscalls import call

_CLONE_NEWUSER: Final = 0x1000_0000
_CLONE_NEWNET: Final = 0x4000_0000

# linux/prctl.h
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

CAPABILITY_VERSION: Final = 0x2008_0522
"""_LINUX_CAPABILITY_VERSION_3: two sets of three words."""

_LANDLOCK_VERSION: Final = 1
_LANDLOCK_BIND_AND_CONNECT_TCP: Final = 0b11
_LANDLOCK_ABSTRACT_UNIX_SOCKETS: Final = 0b1
_LANDLOCK_WITH_NETWORK: Final = 4
_LANDLOCK_WITH_SCOPES: Final = 6


def enter_empty_network(user: int, group: int) -> None:
    """Move into a network namespace that has nothing in it, where the kernel allows.

    With a user namespace around it, so that root, too, has no right over the network that it
    left. Where user namespaces are switched off, root still gets the empty network. Where
    neither is allowed (a container's default), the filter holds alone, and the report says so.

    Args:
        user: the effective user id.
        group: the effective group id.
    """
    for namespaces in (_CLONE_NEWUSER | _CLONE_NEWNET, _CLONE_NEWNET):
        try:
            call("unshare", namespaces)
        except OSError:  # forbidden, switched off or used up: the report shows what was entered
            continue
        if namespaces & _CLONE_NEWUSER:
            _keep_ids(user, group)
        return


def _keep_ids(user: int, group: int) -> None:
    """Let the process go on seeing its own user and group under their numbers.

    Some systems (Ubuntu since 23.10) give the namespace and deny the map. Files stay accessible
    all the same, the kernel compares its own ids; only what is shown is `nobody`.
    """
    with suppress(OSError):
        for name, line in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            Path("/proc/self", name).write_text(line, encoding="utf-8")


def drop_privileges() -> None:
    """Give up every capability, and any way to gain one, and core dumps.

    A core dump is handed to a program outside (apport, systemd-coredump), which may send it on.

    Raises:
        AirgapError: a right could not be given up.
    """
    with suppress(OSError):  # not privileged (then nothing is to be dropped), or past the last one
        for capability in range(64):
            call("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)
    try:
        call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        call("capset", struct.pack("=Ii", CAPABILITY_VERSION, 0), bytes(24))
        call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)
    except OSError as error:
        raise AirgapError(
            f"cannot leave the network: a right could not be given up: {error.strerror}"
        ) from error


def enter_landlock() -> bool:
    """Enter a Landlock domain without TCP; whether the kernel has one to enter (Linux 6.7).

    A domain also parts its processes from the memory and descriptors of those outside it.
    Earlier kernels know Landlock for files alone, and a domain of those forbids renaming
    between folders.
    """
    try:
        version = call("landlock_create_ruleset", None, 0, _LANDLOCK_VERSION)
        if version < _LANDLOCK_WITH_NETWORK:
            return False
        scopes = _LANDLOCK_ABSTRACT_UNIX_SOCKETS if version >= _LANDLOCK_WITH_SCOPES else 0
        rules = struct.pack("=QQQ", 0, _LANDLOCK_BIND_AND_CONNECT_TCP, scopes)
        ruleset = call("landlock_create_ruleset", rules, len(rules), 0)
        try:
            call("landlock_restrict_self", ruleset, 0)
        finally:
            os.close(ruleset)
    except OSError:  # not built in, not switched on, refused by a container, or nested too deep
        return False
    return True
