"""The wheel of this very project, made again from what is installed: a clone, or a wheel.

Its bytes are a function of its files: the same version gives the same wheel wherever it is made.
So nothing is compressed (libraries of zlib differ in what they make; the bundle compresses), and no
time but the earliest that a zip can hold stands in it.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, PackagePath, distributions
from pathlib import Path
from typing import Final

import airgap
from airgap import __version__
from airgap.errors import AirgapError, UsageError
from bundler.wheelhouse.metadata import WheelMetadata

PROJECT: Final = "airgap-bundler"
FILE: Final = f"airgap_bundler-{__version__}-py3-none-any.whl"

_PACKAGES: Final = ("airgap", "bundler", "profiles", "runtime")
_SUFFIXES: Final = frozenset({".css", ".html", ".js", ".py", ".sh", ".svg", ".typed", ".yaml"})
_INFO: Final = f"airgap_bundler-{__version__}.dist-info"
_PAPERS: Final = ("METADATA", "entry_points.txt", "top_level.txt", "licenses/LICENSE")
_EARLIEST: Final = (1980, 1, 1, 0, 0, 0)
_MODE: Final = 0o100644 << 16

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
    files[f"{_INFO}/RECORD"] = _record(files)
    return OwnWheel(_zipped(files), WheelMetadata.parse(papers["METADATA"]))


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
        and _digest(content) == (recorded.hash.value)
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


def _record(files: Mapping[str, bytes]) -> bytes:
    """RECORD: every file with its digest and size, itself without."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    for path, content in sorted(files.items()):
        lines.writerow((path, f"sha256={_digest(content)}", len(content)))
    lines.writerow((f"{_INFO}/RECORD", "", ""))
    return text.getvalue().encode()


def _digest(content: bytes) -> str:
    """As RECORD writes it: base64 for addresses, without padding."""
    digest = hashlib.sha256(content).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _zipped(files: Mapping[str, bytes]) -> bytes:
    """The code first, then the papers, RECORD last, as wheels are to be."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(
            files, key=lambda one: (one.startswith(_INFO), one.endswith("RECORD"), one)
        ):
            member = zipfile.ZipInfo(path, _EARLIEST)
            member.create_system, member.external_attr = 3, _MODE  # as on Linux
            archive.writestr(member, files[path])
    return stream.getvalue()
