"""A carried Python: a relocatable archive, unpacked into a runtime's folder.

The archive was signed, and its digest compared, before a byte of it comes here. Its names are still
followed no further than its own folder.
"""

from __future__ import annotations

import tarfile
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Final

from airgap.errors import AirgapError, DamagedError
from runtime.folders import Folder

TOP: Final = "python"
"""The one folder that the archive holds, with `bin/python3` in it."""

_EXECUTABLE: Final = 0o111


def unpack(archive: Path, into: Folder) -> Path:
    """Unpack the archive; returns the path of its `python3`.

    Raises:
        DamagedError: it holds a name that leaves its folder, or something that is no file, folder
            or link.
        AirgapError: it cannot be read, or written.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                _write(tar, member, into)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise AirgapError(f"cannot unpack '{archive}': {error}") from error
    return into.path / TOP / "bin/python3"


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, into: Folder) -> None:
    path = PurePosixPath(member.name)
    if not _is_inside(member.name):
        raise _strange(member)
    if member.isdir():
        with into.inside(str(path)):
            return
    with into.inside(str(path.parent)) as folder:
        if member.issym() and _is_inside(str(path.parent / member.linkname)):
            folder.point(path.name, member.linkname)
        elif member.isreg() and (stream := tar.extractfile(member)) is not None:
            mode = 0o755 if member.mode & _EXECUTABLE else 0o644
            folder.write(path.name, stream.read(), mode)
        else:
            raise _strange(member)


def _is_inside(name: str) -> bool:
    """Whether a name stays in the archive's own folder: `python/lib/../bin` does."""
    return not name.startswith("/") and normpath(name).split("/")[0] == TOP


def _strange(member: tarfile.TarInfo) -> DamagedError:
    return DamagedError(
        f"the carried Python holds '{member.name}', which is no file, folder or link inside it",
        rule="runtime.python",
        hint="ask who built the bundle",
    )
