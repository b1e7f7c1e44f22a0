"""Runtimes: what a bundle's wheels were installed into, `ROOT/runtimes/ID/`.

ID is made of the digests of what was installed: bundles with the same wheels share a runtime, and
one that is there is never changed. `installed.json` is written last. A generation has a link
`runtime` to its own: so the one rename that switches generations switches models and programs
together, there and back (docs/decisions/runtimes.md).
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airgap import strict_json
from airgap.console import Advance, human_size, quietly
from airgap.errors import AirgapError
from airgap.extras import by_pip
from airgap.manifest import Manifest
from runtime import interpreter, lineage, recheck, wheelhouse
from runtime.folders import Folder
from runtime.generation import RUNTIME as LINK
from runtime.generation import Generation
from runtime.store import SPARE
from runtime.wheelhouse import Interpreter, Target

RUNTIMES: Final = "runtimes"
COMMAND: Final = f"{LINK}/bin/airgap"
"""Below a cache root: the command of whichever runtime belongs to what is served."""

_RECEIPT: Final = "installed.json"
_UP: Final = "../" * 4
"""From the folder of a generation to the root."""

_ID: Final = 16
"""Hex digits of a runtime's name."""


@dataclass(frozen=True)
class Runtime:
    """An installed runtime, in its folder."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin/python"

    @property
    def command(self) -> Path:
        """Its `airgap`."""
        return self.folder / "bin/airgap"


def install(root: Folder, one: Generation, advance: Advance = quietly) -> Runtime:
    """Install the runtime that a generation carries; nothing to do where it is there already.

    Every file is compared with what was signed before anything of it is run, and again by pip.

    Args:
        root: locked by this process.
        one: a generation, served or not.
        advance: told the bytes that were compared.

    Raises:
        UsageError: the bundle carries no runtime, or none for this host.
        DamagedError: a file is not what was signed; nothing was run.
        AirgapError: there is too little space, or installing failed; nothing is left of it.
    """
    wheelhouse.require(one.manifest)
    targets = wheelhouse.targets(one.manifest, one.folder)
    target, python = wheelhouse.choose(targets, wheelhouse.pythons_of(targets))
    identity = _identity(target)
    with root.inside(RUNTIMES) as runtimes, lineage.swept(runtimes):
        if not is_whole(runtimes, identity):
            recheck.require_signed(one, target.files, advance=advance)
            _check_space(one, target)
            _make(runtimes, identity, one, target, python)
    return Runtime(root.path / RUNTIMES / identity)


def link(tree: Folder, runtime: Runtime) -> None:
    """Have a generation run by a runtime: a link in its tree, whole or not there."""
    if linked(tree) == runtime.folder.name:
        return
    with lineage.swept(tree):
        private = lineage.private_name()
        tree.point(private, f"{_UP}{RUNTIMES}/{runtime.folder.name}")
        tree.rename(private, tree, LINK)
        tree.sync()


def linked(tree: Folder) -> str | None:
    """The name of the runtime that a generation is run by; None where it has none."""
    try:
        target = os.readlink(LINK, dir_fd=tree.descriptor)
    except OSError:
        return None
    parent, _slash, identity = target.rpartition("/")
    return identity if parent == f"{_UP}{RUNTIMES}" and _is_identity(identity) else None


def of(root: Path, tree: Folder) -> Runtime | None:
    """The runtime of a generation, if it is installed."""
    identity = linked(tree)
    if identity is None:
        return None
    runtime = Runtime(root / RUNTIMES / identity)
    return runtime if (runtime.folder / _RECEIPT).is_file() else None


def link_installed(root: Folder, manifest: Manifest, tree: Folder) -> None:
    """Have a generation run by its runtime where another with the same wheels has brought that."""
    if not wheelhouse.is_carried(manifest):
        return
    with root.inside(RUNTIMES) as runtimes:
        for target in wheelhouse.targets(manifest, tree):
            if is_whole(runtimes, _identity(target)):
                link(tree, Runtime(root.path / RUNTIMES / _identity(target)))
                return


def what_brings(one: Generation, extra: str) -> str:
    """What gives this host the libraries of an extra that this very process lacks: for a hint.

    Out of the bundle, where it carries a runtime: a host that was bootstrapped has no package
    index. A runtime that lacks them itself was built so, and nothing here can add to it.
    """
    if not wheelhouse.is_carried(one.manifest):
        return by_pip(extra)
    place = one.folder.path / LINK
    if Path(sys.prefix).resolve() == place.resolve():
        return f"ask for a bundle whose profile has `{extra}` among the `extras` of its `runtime`"
    if (place / _RECEIPT).is_file():
        return f"type '{stable_command(one)}' in place of airgap: the bundle's own runtime"
    return f"airgap runtime install {one.statement.name}"


def own() -> Runtime:
    """What runs this very process."""
    return Runtime(Path(sys.prefix))


def names(root: Folder) -> list[str]:
    """What lies among the runtimes, whole or not, private names too."""
    if RUNTIMES not in root.names():
        return []
    with root.inside(RUNTIMES) as runtimes:
        return runtimes.names()


def runs_this(root: Path, identity: str) -> bool:
    """Whether this very process is run by a runtime."""
    return Path(sys.prefix).resolve() == (root / RUNTIMES / identity).resolve()


def is_whole(runtimes: Folder, identity: str) -> bool:
    """Whether a runtime was installed to the end, and its Python is still on this host."""
    folder = runtimes.path / identity
    return (folder / _RECEIPT).is_file() and Runtime(folder).python.exists()


def _is_identity(name: str) -> bool:
    return len(name) == _ID and not set(name) - set("0123456789abcdef")


def _identity(target: Target) -> str:
    python = target.python.sha256 if target.python else "of the host"
    content = f"{target.name}\n{target.requirements.sha256}\n{python}\n"
    return hashlib.sha256(content.encode()).hexdigest()[:_ID]


def _check_space(one: Generation, target: Target) -> None:
    """Raise AirgapError where the disk has no room for what the wheels hold."""
    needed = SPARE
    for file in target.wheels:
        with zipfile.ZipFile(one.folder.path / file.path) as wheel:
            needed += sum(member.file_size for member in wheel.infolist())
    if target.python:
        needed += 4 * target.python.size
    place = os.statvfs(one.folder.descriptor)
    free = place.f_bavail * place.f_frsize
    if free < needed:
        raise AirgapError(
            f"the runtime takes about {human_size(needed)}, and {human_size(free)} are free",
            hint="free some space; airgap gc",
        )


def _make(
    runtimes: Folder, identity: str, one: Generation, target: Target, python: Interpreter | None
) -> None:
    """Install under the final name, which the programs inside know; the receipt comes last."""
    if identity in runtimes.names():
        lineage.discard(runtimes, identity)  # of an installation that was killed
    try:
        with runtimes.inside(identity) as folder:
            path = python.path if python else _unpacked(one, target, folder)
            _run([path, "-I", "-m", "venv", "--without-pip", folder.path], "make an environment")
            _pip(one, target, folder.path)
            os.sync()  # what the receipt vouches for must outlast a power cut
            receipt = {"schema": "airgap/runtime/v1", "target": target.name}
            folder.write(_RECEIPT, strict_json.readable(receipt))
            folder.sync()
    except BaseException:
        lineage.discard(runtimes, identity)
        raise


def _unpacked(one: Generation, target: Target, folder: Folder) -> Path:
    assert target.python is not None  # noqa: S101 - the target was chosen for it
    return interpreter.unpack(one.folder.path / target.python.path, folder)


def _pip(one: Generation, target: Target, folder: Path) -> None:
    """Install by pip out of its own wheel: no index, no cache, no settings of this host's."""
    tree, python = one.folder.path, Runtime(folder).python
    _run(
        [
            *(python, "-I", tree / wheelhouse.pip_wheel(target).path / "pip"),
            *("--isolated", "--disable-pip-version-check", "--quiet"),
            *("install", "--no-index", "--no-cache-dir", "--only-binary", ":all:"),
            *("--find-links", tree / wheelhouse.FOLDER),
            *("--require-hashes", "--requirement", tree / target.requirements.path),
        ],
        "install the wheels",
    )
    if (folder / "lib").is_dir() and list(folder.glob("lib/python*/site-packages/torchaudio")):
        _run([python, "-I", "-m", "runtime.torchaudio_cpu"], "make torchaudio fit torch")


def _run(command: list[Path | str], what: str) -> None:
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", "/"),
        "LC_ALL": "C.UTF-8",
        "PIP_CONFIG_FILE": os.devnull,
    }
    try:
        done = subprocess.run(  # noqa: S603 - Python and pip, both signed or the host's own
            command,
            env=environment,
            capture_output=True,
            check=False,
        )
    except OSError as error:
        raise AirgapError(f"cannot {what}: '{command[0]}': {error.strerror}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-1000:]
        raise AirgapError(
            f"cannot {what}: {said or f'exit code {done.returncode}'}",
            hint="airgap doctor; programs may not run there (noexec), or the disk is full",
        )


def stable_command(one: Generation) -> Path:
    """The path of the command that stays from one generation to the next: for units and scripts."""
    return one.cache_root / COMMAND
