"""The wheels that a bundle carries, and for which Pythons and platforms. Layout: docs/format.md.

A *target* is a CPython on a Linux, by the tags that wheels bear: `cp311-manylinux_2_28_x86_64`.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airgap import limits
from airgap.errors import DamagedError, UsageError
from airgap.manifest import File, Manifest
from runtime.folders import Folder

FOLDER: Final = "wheels"

_REQUIREMENTS: Final = re.compile(
    r"wheels/requirements-(cp3(\d+)-manylinux_(\d+)_(\d+)_(x86_64|aarch64))\.txt"
)
_PINNED: Final = re.compile(r"[a-z0-9-]+(?:\[[a-z0-9,-]+\])?==\S+ --hash=sha256:([0-9a-f]{64})")
_PIP: Final = "pip-"
_PLACES: Final = (Path("/usr/bin"), Path("/usr/local/bin"))

_ASK: Final = """
import json, platform, sys, venv
print(json.dumps([sys.implementation.name, *sys.version_info[:2], platform.machine(),
                  *platform.libc_ver()]))
"""
_LONGEST: Final = 60
"""Seconds for a Python to say what it is."""


@dataclass(frozen=True)
class Target:
    """What one of the bundle's sets of wheels is for, and the files of that set.

    Attributes:
        name: `cp311-manylinux_2_28_x86_64`.
        minor: of CPython 3.
        glibc: the oldest that will do.
        machine: as `uname -m` says.
        requirements: what is installed, each by its digest.
        wheels: the files that the requirements name, pip's own among them.
        python: the archive of a carried Python; None where the host has one of its own.
    """

    name: str
    minor: int
    glibc: tuple[int, int]
    machine: str
    requirements: File
    wheels: tuple[File, ...]
    python: File | None

    @property
    def files(self) -> tuple[File, ...]:
        """Everything that an installation reads."""
        return (self.requirements, *self.wheels, *((self.python,) if self.python else ()))


@dataclass(frozen=True)
class Interpreter:
    """A Python of this host, by its own word.

    Attributes:
        path: of the executable.
        minor: of CPython 3; 0 where it is another Python.
        machine: as `uname -m` says.
        glibc: its version; (0, 0) where the C library is another.
    """

    path: Path
    minor: int
    machine: str
    glibc: tuple[int, int]

    def runs(self, target: Target) -> bool:
        """Whether it can run a target's wheels."""
        return self.minor == target.minor and self.reaches(target)

    def reaches(self, target: Target) -> bool:
        """Whether machine and C library will do, whichever Python it is."""
        return self.machine == target.machine and self.glibc >= target.glibc


def targets(manifest: Manifest, tree: Folder) -> tuple[Target, ...]:
    """What a bundle's wheels are for, sorted by name; none where it carries no runtime.

    Args:
        manifest: of the bundle.
        tree: where its files lie; requirements are compared with what was signed as they are read.

    Raises:
        DamagedError: requirements that are not what was signed, or not as the format has them, or
            that name no wheel that is there.
    """
    found = []
    for file in manifest.files:
        if (parts := _REQUIREMENTS.fullmatch(file.path)) is None:
            continue
        archive = f"{FOLDER}/python/{parts[1]}.tar.gz"
        found.append(
            Target(
                name=parts[1],
                minor=int(parts[2]),
                glibc=(int(parts[3]), int(parts[4])),
                machine=parts[5],
                requirements=file,
                wheels=_wheels(manifest, file, tree.read(file.path, limits.LOCK_FILE)),
                python=next((one for one in manifest.files if one.path == archive), None),
            )
        )
    return tuple(sorted(found, key=lambda one: one.name))


def is_carried(manifest: Manifest) -> bool:
    """Whether a bundle carries a runtime."""
    return any(_REQUIREMENTS.fullmatch(one.path) for one in manifest.files)


def require(manifest: Manifest) -> None:
    """Raise UsageError where a bundle carries no runtime."""
    if not is_carried(manifest):
        raise UsageError(
            f"'{manifest.title}' carries no runtime (`runtime: none` in its profile)",
            hint="install airgap-bundler[cpu] by other means, or ask for a bundle with one",
        )


def pip_wheel(target: Target) -> File:
    """The wheel of pip, which runs out of it. Raises DamagedError where there is none."""
    for file in target.wheels:
        if file.path.removeprefix(f"{FOLDER}/").startswith(_PIP):
            return file
    raise _malformed(target.requirements, "it names no pip")


def choose(
    all_: tuple[Target, ...], pythons: tuple[Interpreter, ...]
) -> tuple[Target, Interpreter | None]:
    """The target for this host, and the Python that runs it; None where it is carried.

    Raises:
        UsageError: there is none.
    """
    here = pythons[0]
    for target in all_:
        if target.python and here.reaches(target):
            return target, None
        for python in pythons:
            if not target.python and python.runs(target):
                return target, python
    wanted = ", ".join(one.name for one in all_)
    glibc = ".".join(map(str, here.glibc))
    found = ", ".join(f"Python 3.{one.minor} ('{one.path}')" for one in pythons)
    raise UsageError(
        f"the bundle's wheels are for {wanted}; found {here.machine}, glibc {glibc}, and {found}",
        hint="install such a Python; or ask for a bundle that carries one (`python: carried`)",
    )


def pythons_of(all_: tuple[Target, ...]) -> tuple[Interpreter, ...]:
    """The Python that runs this, first, and those of this host that a target asks for."""
    own = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    here = ask(own) or Interpreter(own, 0, platform.machine(), _glibc(*platform.libc_ver()))
    others = {place / f"python3.{one.minor}" for one in all_ for place in _PLACES} - {own}
    found = (ask(path) for path in sorted(others) if path.exists())
    return (here, *(one for one in found if one is not None))


def ask(python: Path) -> Interpreter | None:
    """What a Python says about itself; None where it does not run, or has no module `venv`."""
    try:
        done = subprocess.run(  # noqa: S603 - a Python of this host, and the lines above
            [python, "-I", "-c", _ASK],
            capture_output=True,
            check=True,
            timeout=_LONGEST,
        )
        name, major, minor, machine, libc, version = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Interpreter(
        path=python,
        minor=minor if (name, major) == ("cpython", 3) else 0,
        machine=machine,
        glibc=_glibc(libc, version),
    )


def _glibc(name: str, version: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", version) if name == "glibc" else None
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _wheels(manifest: Manifest, file: File, content: bytes) -> tuple[File, ...]:
    """The wheels that requirements name, each by its digest."""
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise _malformed(file, "it is not what was signed")
    lying = {
        one.sha256: one
        for one in manifest.files
        if one.path.startswith(f"{FOLDER}/") and one.path.endswith(".whl")
    }
    found = []
    for line in content.decode(errors="replace").splitlines():
        pinned = _PINNED.fullmatch(line)
        if pinned is None or pinned[1] not in lying:
            raise _malformed(file, f"no wheel of the bundle is named by the line '{line}'")
        found.append(lying[pinned[1]])
    return tuple(found)


def _malformed(file: File, why: str) -> DamagedError:
    return DamagedError(
        f"'{file.path}' is not as docs/format.md has it: {why}",
        rule="runtime.requirements",
        hint="ask who built the bundle",
    )
