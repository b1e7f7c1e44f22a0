"""The wheel of this very project, made again from what is installed: a clone, or a wheel.

The same version gives the same wheel wherever it is made.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, PackagePath, distributions
from pathlib import Path
from typing import Final

import airgap
from airgap import __version__
from airgap.errors import AirgapError, UsageError
from bundler.wheelhouse.metadata import WheelMetadata
from bundler.wheelhouse.packing import pack, record_digest

PROJECT: Final = "airgap-bundler"
FILE: Final = f"airgap_bundler-{__version__}-py3-none-any.whl"

_PACKAGES: Final = ("airgap", "bundler", "profiles", "runtime")
_SUFFIXES: Final = frozenset({".css", ".html", ".js", ".py", ".sh", ".svg", ".typed", ".yaml"})
_INFO: Final = f"airgap_bundler-{__version__}.dist-info"
_PAPERS: Final = ("METADATA", "entry_points.txt", "top_level.txt", "licenses/LICENSE")

_WHEEL: Final = f"""\
Wheel-Version: 1.0
Generator: airgap-bundler ({__version__})
Root-Is-Purelib: true
Tag: py3-none-any
""".encode()


@dataclass(frozen=True)
class OwnWheel:
    """The wheel that a bundle carries of this project."""

    content: bytes
    metadata: WheelMetadata

    @property
    def sha256(self) -> str:
        """Of its bytes."""
        return hashlib.sha256(self.content).hexdigest()


@cache
def own_wheel() -> OwnWheel:
    """The wheel of the version that runs.

    Raises:
        UsageError: this is not an installation of ours, or of another version than its code.
        AirgapError: an installed file is not what was installed.
    """
    installed = _installed()
    papers = _papers(installed)
    files = {**_code(installed), **{f"{_INFO}/{name}": text for name, text in papers.items()}}
    files[f"{_INFO}/WHEEL"] = _WHEEL
    return OwnWheel(pack(files, _INFO), WheelMetadata.parse(papers["METADATA"]))


def _installed() -> Distribution:
    again = "pip install again what you run: pip install --editable . in a clone"
    # Beside its code a clone has an .egg-info, which an installer left there and nobody renews.
    found = [one for one in distributions(name=PROJECT) if _info_files(one)]
    if not found:
        raise UsageError(f"'{PROJECT}' is not installed, so it cannot travel", hint=again)
    installed = found[0]
    if installed.version != __version__:
        raise UsageError(
            f"'{PROJECT}' is installed as {installed.version}, and its code is {__version__}",
            hint=again,
        )
    return installed


def _code(installed: Distribution) -> dict[str, bytes]:
    """The files of our packages; those that were installed by a wheel, as its RECORD has them."""
    root = Path(airgap.__file__).parent.parent
    files = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for package in _PACKAGES
        for path in sorted((root / package).rglob("*"))
        if path.suffix in _SUFFIXES and path.is_file()
    }
    altered = sorted(
        str(one)
        for one in installed.files or ()
        if one.parts[0] in _PACKAGES and one.hash and not _holds(one, files.get(one.as_posix()))
    )
    if altered:
        raise AirgapError(
            f"{len(altered)} installed files are not what was installed: {', '.join(altered[:8])}",
            hint=f"pip install --force-reinstall {PROJECT}=={__version__}",
        )
    return files


def _holds(recorded: PackagePath, content: bytes | None) -> bool:
    """Whether a file has the digest that RECORD gives it. Bytecode is nobody's business."""
    if recorded.suffix not in _SUFFIXES:
        return True
    return (
        content is not None
        and recorded.hash is not None
        and record_digest(content) == recorded.hash.value
    )


def _papers(installed: Distribution) -> dict[str, bytes]:
    found = _info_files(installed)
    if lacking := [name for name in _PAPERS if name not in found]:
        raise UsageError(
            f"the installation of '{PROJECT}' lacks {', '.join(lacking)}",
            hint=f"pip install --force-reinstall {PROJECT}=={__version__}",
        )
    return {name: found[name].read_binary() for name in _PAPERS}


def _info_files(installed: Distribution) -> dict[str, PackagePath]:
    """The files of its .dist-info, by their paths in it."""
    return {
        "/".join(one.parts[1:]): one
        for one in installed.files or ()
        if one.parts[0].endswith(".dist-info")
    }
