"""What a build backend made -> the wheel that travels: one, pure, of that release; or a refusal.

Its files are packed again, so that neither clock nor compressor of the builder decides the bytes.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
from pathlib import Path
from typing import Final, NoReturn

from airgap.errors import AirgapError
from airgap.limits import MIB
from bundler.scan.verdict import UnsafeError
from bundler.scan.wheels import judge_wheel
from bundler.wheelhouse.names import WHEEL, WheelName
from bundler.wheelhouse.packing import pack

LARGEST: Final = 256 * MIB
"""Bytes of a wheel that is built here, packed and unpacked: sources are small."""

MACHINE: Final = (".so", ".pyd", ".dylib", ".dll", ".a", ".o")
"""What a pure wheel has no file of; the content tells the rest."""


def take_wheel(folder: Path, release: str) -> tuple[str, bytes]:
    """The wheel that was left in a folder, packed again; with its name.

    Args:
        folder: nobody writes to it any more; whoever did may have meant harm.
        release: `NAME==VERSION` that it must be of.

    Raises:
        UnsafeError: there is not one wheel, or it is not pure, or of another release, or the scan
            finds a danger in it.
        AirgapError: it cannot be read.
    """
    found = sorted(os.listdir(folder))  # noqa: PTH208 - names, of whatever lies there
    if len(found) != 1 or not WHEEL.fits(found[0]):
        told = ", ".join(repr(one) for one in found[:5]) or "nothing"
        _refuse(release, f"expected one wheel, found {told}")
    file = found[0]
    _check_name(file, release)
    content = _read(folder / file)
    judged = judge_wheel(io.BytesIO(content), file, "cpu")
    if judged.findings:
        _refuse(release, f"'{file}': {judged.findings[0].place}: {judged.findings[0].reason}")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        listed = [one for one in archive.infolist() if not one.is_dir()]
        if sum(one.file_size for one in listed) > LARGEST:
            _refuse(release, f"'{file}' unpacks to more than {LARGEST} bytes")
        files = {one.filename: archive.read(one) for one in listed}
    machine = sorted(one for one in files if one.endswith(MACHINE))
    if machine or judged.native:
        _refuse(release, f"'{file}' says that it is pure, and holds code of a machine: {machine}")
    return file, pack(files, _info(files))


def _check_name(file: str, release: str) -> None:
    named = WheelName.parse(file)
    pythons, abi, platform = named.tag.split("-")
    if (abi, platform) != ("none", "any"):
        _refuse(release, f"'{file}' is for one Python or machine; only 'py3-none-any' is taken")
    if "py3" not in pythons.split("."):
        _refuse(release, f"'{file}' is not for every Python 3")
    project, _, version = release.partition("==")
    if named.name != project or not _same(named.version, version):
        _refuse(release, f"'{file}' is of another release")


def _same(one: str, other: str) -> bool:
    """Whether two texts are one version: a backend may write `1.0` for `1.0.0`."""
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415 - as in `names`

    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other


def _read(path: Path) -> bytes:
    """A file, and neither a link to another nor a pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise AirgapError(f"'{path.name}' is not a regular file")
            content = stream.read(LARGEST + 1)
    except OSError as error:
        raise AirgapError(f"cannot read '{path.name}': {error.strerror}") from error
    if len(content) > LARGEST:
        raise AirgapError(f"'{path.name}' has more than {LARGEST} bytes")
    return content


def _info(files: dict[str, bytes]) -> str:
    """The name of its `.dist-info`, of which the scan has found one."""
    return next(path for path in files if path.endswith(".dist-info/METADATA")).partition("/")[0]


def _refuse(release: str, why: str) -> NoReturn:
    raise UnsafeError(
        f"what was built of '{release}' is not a wheel that may travel: {why}",
        rule="sdist.result",
        hint="ask its publisher for a wheel, or take the project from an index that has one",
    )
