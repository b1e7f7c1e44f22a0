"""Run a program that reads hostile files: it writes into one folder, and reads little else.

The kernel's Landlock holds it there (Linux 5.13 or newer); what it may write is bounded, and where
the kernel can, it opens no TCP connection. A kernel without Landlock runs nothing.
Source: https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from airgap.errors import AirgapError

_CREATE, _ADD, _RESTRICT = 444, 445, 446
"""System calls; the same numbers on x86-64 and arm64."""

_VERSION: Final = 1
_BENEATH: Final = 1
_NO_NEW_PRIVILEGES: Final = 38

_EXECUTE, _READ_FILE, _READ_FOLDER = 1 << 0, 1 << 2, 1 << 3
_RIGHTS: Final = ((5, 0xFFFF), (3, 0x7FFF), (2, 0x3FFF), (1, 0x1FFF))
"""Every right over files that a version of Landlock knows, the newest first."""

_TCP, _WITH_TCP = 0b11, 4
_SCOPES, _WITH_SCOPES = 0b11, 6

SYSTEM: Final = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache")
"""What a program that is linked to the system's libraries reads."""

UNCONFINED: Final = 125
"""Exit code of the child that could not confine itself, and ran nothing."""


def run(program: Path, arguments: Sequence[str], scratch: Path, readable: Path, most: int) -> int:
    """Run a program to its end; returns its exit code.

    Args:
        program: its path.
        arguments: with absolute paths.
        scratch: the only folder that it may write in.
        readable: a folder that it may read as well.
        most: bytes of the largest file that it may write.

    Raises:
        AirgapError: this kernel cannot confine it, or it cannot be started.
    """
    command = [sys.executable, "-I", "-m", "airgap.confined", str(scratch), str(readable)]
    done = subprocess.run(  # noqa: S603 - a program that we found, without a shell
        [*command, str(most), str(program), *arguments],
        cwd=scratch,
        env={"PATH": os.defpath},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode == UNCONFINED:
        raise AirgapError(
            f"'{program.name}' cannot be confined here: "
            f"{done.stderr.decode(errors='replace').strip()}",
            hint="use a machine with Linux 5.13 or newer, with Landlock",
        )
    return done.returncode


def main(arguments: Sequence[str]) -> None:
    """The child: confine this process, then become the program."""
    scratch, readable, most, program, *rest = arguments
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _soft, allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
        bound = int(most) if allowed == resource.RLIM_INFINITY else min(int(most), allowed)
        resource.setrlimit(resource.RLIMIT_FSIZE, (bound, bound))
        confine([scratch], [readable], [program, *filter(os.path.exists, SYSTEM)])
        os.execv(program, [program, *rest])  # noqa: S606 - there is no shell
    except OSError as error:
        sys.stderr.write(f"{error.strerror}: {error.filename or 'Landlock'}\n")
        raise SystemExit(UNCONFINED) from error


def confine(writable: Iterable[str], readable: Iterable[str], programs: Iterable[str]) -> None:
    """Give up every right of this process over files but these, for good.

    Modes, owners and times of files are not among what Landlock knows.

    Args:
        writable: folders to do anything in.
        readable: files and folders to read.
        programs: those to read and to run.

    Raises:
        OSError: this kernel has no Landlock, or there is no such path.
    """
    version = _call(_CREATE, None, 0, _VERSION)
    files = next(rights for first, rights in _RIGHTS if version >= first)
    handled = (ctypes.c_uint64 * 3)(
        files,
        _TCP if version >= _WITH_TCP else 0,
        _SCOPES if version >= _WITH_SCOPES else 0,
    )
    known = 8 if version < _WITH_TCP else 16 if version < _WITH_SCOPES else 24
    rules = _call(_CREATE, ctypes.byref(handled), known, 0)
    for path in writable:
        _allow(rules, path, files)
    for path in readable:
        _allow(rules, path, _READ_FILE | _READ_FOLDER)
    for path in programs:
        _allow(rules, path, _EXECUTE | _READ_FILE | _READ_FOLDER)
    if ctypes.CDLL(None, use_errno=True).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot give up new privileges")
    _call(_RESTRICT, rules, 0)
    os.close(rules)


class _PathBeneath(ctypes.Structure):
    """`struct landlock_path_beneath_attr`."""

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def _allow(rules: int, path: str, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not os.path.isdir(path):  # noqa: PTH112 - the child starts as fast as it can
            rights &= ~_READ_FOLDER
        _call(_ADD, rules, _BENEATH, ctypes.byref(_PathBeneath(rights, descriptor)), 0)
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    """A system call that libc has no name for. Raises OSError."""
    result: int = ctypes.CDLL(None, use_errno=True).syscall(
        number, *(ctypes.c_long(one) if isinstance(one, int) else one for one in arguments)
    )
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


if __name__ == "__main__":
    main(sys.argv[1:])
