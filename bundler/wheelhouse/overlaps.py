"""Whether two wheels of a target would install different files under one path.

An installer copies wheel by wheel, and what comes later lies over what was there before: which of
two cuDNNs a host has would be the order's. The same content twice does no harm: packages that share
a namespace each bring its `__init__.py`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from airgap.errors import AirgapError, UsageError
from bundler.lock import Lock
from bundler.wheelhouse.locked import LockedRuntime, LockedTarget
from bundler.wheelhouse.names import WheelName

Content = tuple[int, int]
"""Size and CRC-32, as an archive lists them: this looks for accidents, and so reads no file."""

_SITE: Final = frozenset({"purelib", "platlib"})
_SHOWN: Final = 3


def check_overlaps(lock: Lock, cached: Mapping[str, Path]) -> None:
    """Compare what the wheels of each target install.

    Args:
        lock: complete.
        cached: its files, by SHA-256.

    Raises:
        UsageError: two wheels bring different files for one path; nothing was written.
        AirgapError: a file is no wheel.
    """
    if lock.runtime is None:
        return
    brought = _brought(lock.runtime, cached)
    defects = [defect for one in lock.runtime.targets for defect in _overlaps(one, brought)]
    if defects:
        lines = "\n".join(f"  {one}" for one in defects)
        raise UsageError(
            f"wheels of '{lock.name}' would overwrite each other on the isolated host:\n{lines}",
            hint="have the profile's 'runtime' ask for one of them, then: "
            f"airgap lock {lock.name} --runtime-only",
        )


def _brought(runtime: LockedRuntime, cached: Mapping[str, Path]) -> dict[str, dict[str, Content]]:
    """What each wheel installs: by its name, then by path."""
    return {
        file.path: _installed(cached[file.sha256 or ""], file.path)
        for release in runtime.releases
        for file in release.files
    }


def _installed(wheel: Path, file: str) -> dict[str, Content]:
    project = WheelName.parse(file).name
    try:
        with zipfile.ZipFile(wheel) as archive:
            return {
                _place(one.filename, project): (one.file_size, one.CRC)
                for one in archive.infolist()
                if not one.is_dir()
            }
    # What zipfile raises for archives that are cut or whose directory is broken.
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise AirgapError(f"'{file}' is no wheel: {str(error)[:120]}") from error


def _place(member: str, project: str) -> str:
    """Where an installer puts a member: below site-packages, or below the environment as `../…`.

    Source: the binary distribution format's `NAME-VERSION.data/SCHEME/`; headers get a folder of
    their project's name.
    """
    top, _, rest = member.partition("/")
    if not top.endswith(".data"):
        return member
    scheme, _, inside = rest.partition("/")
    if scheme in _SITE:
        return inside
    return {
        "scripts": f"../bin/{inside}",
        "data": f"../{inside}",
        "headers": f"../include/{project}/{inside}",
    }.get(scheme, f"../{rest}")


def _overlaps(target: LockedTarget, brought: Mapping[str, Mapping[str, Content]]) -> Iterator[str]:
    """A line for each two wheels that differ in what lies at one path."""
    first: dict[str, str] = {}
    differing: dict[tuple[str, str], list[str]] = {}
    for wheel in target.wheels:
        for path, content in sorted(brought[wheel].items()):
            other = first.setdefault(path, wheel)
            if brought[other][path] != content:
                differing.setdefault((other, wheel), []).append(path)
    for (other, wheel), paths in differing.items():
        shown = ", ".join(f"'{path}'" for path in paths[:_SHOWN])
        more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
        yield f"{target.target.name}: '{other}' and '{wheel}' both install {shown}{more}"
