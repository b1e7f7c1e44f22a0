"""Builds a wheel out of an sdist: a stranger's program, in a process that can do nothing else.

Run as a program, by `bundler.wheelhouse.from_source` alone. Before a line of the sdist runs, the
process has left the network, writes into one folder, reads the sdist, the backend's wheels and
Python itself, and can start no other process.
"""

from __future__ import annotations

import importlib
import os
import re
import resource
import shutil
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from airgap import confined
from airgap.errors import AirgapError
from airgap.limits import MIB
from airgap.paths import path_defect
from runtime import seccomp
from runtime.confinement import drop_privileges, enter_empty_network
from runtime.syscalls import machine

FILE: Final = 256 * MIB
"""Bytes of the largest file that may be written."""

UNPACKED: Final = 1024 * MIB
"""Bytes that an archive may unpack to."""

MEMORY: Final = 4096 * MIB
"""Bytes of address space."""

SECONDS: Final = 120
"""Of computing, and of a core each; compiling some thousand files to nothing takes a few."""

SOURCE, TOOLS = "source", "tools"
"""Folders beside the result: the unpacked sdist, and the unpacked backend."""


def main(made: Path, backend: str, sdist: Path, tools: list[Path]) -> None:
    """Confine this process for good, then build.

    Args:
        made: an empty folder, for the result; it may write in the folder above, and nowhere else.
        backend: `MODULE` or `MODULE:OBJECT`.
        sdist: the source.
        tools: the wheels that the backend is made of.
    """
    _bound()
    scratch = made.parent
    python = _standard_library()
    system = (one for one in confined.SYSTEM if Path(one).exists())
    modules = _loaded_so_far()
    try:
        enter_empty_network(os.geteuid(), os.getegid())
        drop_privileges()
        # One domain: a second one, for the network alone, would forbid to rename between folders.
        confined.confine([str(scratch)], [*python, *system, str(sdist), *map(str, tools)], [])
        seccomp.install(seccomp.program(machine()))
        seccomp.install(seccomp.alone(machine()))
    except (AirgapError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(confined.UNCONFINED) from error
    source, path = scratch / SOURCE, scratch / TOOLS
    _unpack_sdist(sdist, source)
    for wheel in tools:
        with zipfile.ZipFile(wheel) as archive:
            _write_all(path, ((one.filename, archive.open(one)) for one in _files(archive)))
    _forget(modules)
    _build(backend, source, path, made)


def _bound() -> None:
    """Limits of the kernel's own; lower ones that were there stay."""
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, FILE),
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, SECONDS),
    ):
        _soft, allowed = resource.getrlimit(what)
        bound = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(what, (bound, bound))


def _standard_library() -> list[str]:
    """Python's own modules, wherever it lies."""
    return sorted({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})


def _loaded_so_far() -> set[str]:
    """Modules that are not Python's own: what is installed on this builder is not the backend's."""
    return {one for one in sys.modules if one.partition(".")[0] not in sys.stdlib_module_names}


def _unpack_sdist(sdist: Path, folder: Path) -> None:
    """The files below its one top folder (PEP 625); links and devices are none."""
    with tarfile.open(sdist, "r|gz") as archive:
        members = ((one.name.partition("/")[2], one) for one in archive if one.isreg())
        _write_all(folder, ((path, archive.extractfile(one)) for path, one in members))


def _files(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    return [one for one in archive.infolist() if not one.is_dir()]


def _write_all(folder: Path, members: Iterable[tuple[str, Any]]) -> None:
    """Write files, each once, below a folder. Raises AirgapError for a path that leads out."""
    written = 0
    for path, content in members:
        if defect := path_defect(path):
            raise AirgapError(f"its file '{path}' {defect}")
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with content, target.open("xb") as stream:
            shutil.copyfileobj(content, stream)
            written += stream.tell()
        if written > UNPACKED:
            raise AirgapError(f"it unpacks to more than {UNPACKED} bytes")


def _forget(modules: Iterable[str]) -> None:
    """Let the backend be imported as if nothing but Python were installed here."""
    for name in modules:
        if name != "__main__":
            del sys.modules[name]
    standard = tuple(_standard_library())
    sys.path[:] = [one for one in sys.path if one.startswith(standard) and "-packages" not in one]
    sys.meta_path[:] = [one for one in sys.meta_path if "_frozen_importlib" in _module_of(one)]
    sys.path_importer_cache.clear()


def _module_of(finder: object) -> str:
    return str(getattr(finder, "__module__", ""))


def _build(backend: str, source: Path, tools: Path, made: Path) -> None:
    """Call the hooks of PEP 517, in this process."""
    os.chdir(source)
    sys.path[:0] = [*_backend_path(source), str(tools)]
    module, _, attribute = backend.partition(":")
    hooks: Any = importlib.import_module(module)
    for part in filter(None, attribute.split(".")):
        hooks = getattr(hooks, part)
    ask = getattr(hooks, "get_requires_for_build_wheel", None)
    if lacking := sorted(_lacking(ask() if ask else ())):
        raise AirgapError(f"to be built it needs {', '.join(lacking)}, which it does not declare")
    hooks.build_wheel(str(made))


def _backend_path(source: Path) -> Iterator[str]:
    """Where a backend lies that is part of the sdist itself."""
    declared = source / "pyproject.toml"
    system = tomllib.loads(declared.read_text("utf-8")) if declared.exists() else {}
    for path in system.get("build-system", {}).get("backend-path", ()):
        yield str(source / path)


def _lacking(asked: Iterable[str]) -> Iterator[str]:
    """Requirements whose project is not there at all."""
    for one in asked:
        named = re.match(r"[A-Za-z0-9._-]+", one)
        try:
            metadata.version(named[0] if named else one)
        except metadata.PackageNotFoundError:
            yield one


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), [Path(one) for one in sys.argv[4:]])
