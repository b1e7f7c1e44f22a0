"""Repair a bundle through its recovery data, in scratch space; nothing of it is trusted.

The bundle's own statement, which nobody has authenticated here, says whether the repair is good.
Whether the repaired bundle is to be believed is asked afterwards, as of any other.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from airgap import confined, pack, recovery, volume_names, volumes
from airgap.archive import read_head
from airgap.console import human_size
from airgap.errors import AirgapError, DamagedError, UsageError
from airgap.files import sync_folder
from airgap.survey import survey
from airgap.volume_names import Files

_CHUNK: Final = 1 << 20
_SECTOR: Final = 4096
_NOT_ENOUGH: Final = 2
"""The PAR2 program's exit code where more is damaged than it has recovery data for."""


def rebuild(files: Files, scratch: Path, otherwise: str) -> Files:
    """Rebuild a bundle in scratch space, of what is left of it and its recovery data.

    Args:
        files: the bundle, damaged; volumes may be missing.
        scratch: an empty folder of ours, with room for the bundle and its damaged files again.
        otherwise: what a person does where it cannot be rebuilt.

    Returns:
        The rebuilt bundle, in `scratch`, which fits its own statement.

    Raises:
        DamagedError: there is too little recovery data, or it makes something else.
        AirgapError: the space does not suffice, or the PAR2 program failed.
    """
    beside = recovery.files_beside(files)
    there = list(files.volumes.values()) if files.is_split else list(files.in_order())
    program = recovery.program()
    _check_space(scratch, [*there, *beside])
    for path in (*there, *beside):
        _salvage(path, scratch / path.name)
    # A PAR2 block replaces one block: no file comes out larger than everything that went in.
    most = sum(path.stat().st_size for path in scratch.iterdir())
    index = scratch / beside[0].name
    command = ["repair", "-q", "-q", f"-B{scratch}", "--", str(index)]
    code = confined.run(program, command, scratch, scratch, most)
    if code == _NOT_ENOUGH:
        raise DamagedError(
            f"more of '{files.name}' is damaged than its recovery data can mend",
            rule="recovery.insufficient",
            hint=otherwise,
        )
    if code:
        raise DamagedError(
            f"the PAR2 program made nothing of the recovery data of '{files.name}': exit code "
            f"{code}",
            rule="recovery.damaged",
            hint=f"copy the .par2 files again; or {otherwise}",
        )
    rebuilt = _only_volumes(files, scratch)
    found = survey(rebuilt)
    if found.again:
        raise DamagedError(
            f"what the recovery data makes of '{files.name}' is not what its statement says",
            rule="recovery.damaged",
            hint=f"the recovery data is another bundle's; {otherwise}",
        )
    for name in found.extra:  # left over from another cut, and copied with the rest
        (scratch / name).unlink()
    rebuilt = volume_names.locate(scratch)
    _keep_signatures(files, rebuilt)
    return rebuilt


def check_in_one_folder(files: Files) -> None:
    """Raise UsageError where a bundle is spread over several: it is not repaired in place."""
    folder = files.folder.resolve()
    if any(path.parent.resolve() != folder for path in files.volumes.values()):
        raise UsageError(
            "a bundle that is spread over several folders is not repaired in place",
            hint="name a folder for the repaired one: --out FOLDER",
        )


def put_in_place(rebuilt: Files) -> list[Path]:
    """Replace, in the bundle's own folder, the files that were damaged or missing.

    Each is replaced whole, the one with the head last; returns what was replaced.
    """
    folder = rebuilt.folder.parent
    replaced = []
    for path in reversed(rebuilt.in_order()):
        old = folder / path.name
        if not _same(path, old):
            path.replace(old)
            replaced.append(old)
    sync_folder(folder)
    return sorted(replaced)


def put_into(rebuilt: Files, folder: Path) -> Files:
    """Put a rebuilt bundle into a new folder; returns it there. Raises UsageError."""
    try:
        folder.mkdir()
    except FileExistsError as error:
        raise UsageError(f"'{folder}' is there already", hint="--out elsewhere") from error
    for path in rebuilt.in_order():
        path.rename(folder / path.name)
    sync_folder(folder)
    sync_folder(folder.parent)
    return volume_names.locate(folder)


def _keep_signatures(files: Files, rebuilt: Files) -> None:
    """Keep the head of the damaged bundle where it has all signatures of the rebuilt one, and more.

    Who was stopped while signing has recovery data from before. A head that lacks one of them, or
    has another in its place, is itself what was mended.
    """
    try:
        with volumes.opened_files(files.alone) as source:
            there = read_head(source)
    except AirgapError:
        return
    with volumes.opened_files(rebuilt.alone) as source:
        mended = read_head(source)
    added = set(there.signatures) > set(mended.signatures)
    if there.statement == mended.statement and added:
        with rebuilt.first.open("r+b") as stream:
            pack.write_head(stream, there)


def _check_space(scratch: Path, paths: Sequence[Path]) -> None:
    """Raise AirgapError where copies of these, and a repaired one of the largest, do not fit."""
    try:
        sizes = [path.stat().st_size for path in paths]
    except OSError as error:
        raise AirgapError(f"cannot read '{error.filename}': {error.strerror}") from error
    wanted, free = sum(sizes) + max(sizes), shutil.disk_usage(scratch).free
    if wanted > free:
        raise AirgapError(
            f"not enough space in '{scratch.parent}': the repair needs {human_size(wanted)}, and "
            f"{human_size(free)} are free",
            hint="--out FOLDER, where there is more space",
        )


def _salvage(path: Path, to: Path) -> None:
    """Copy what a failing medium still gives; zeros stand where it gives nothing."""
    try:
        source = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        target = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            size = os.fstat(source).st_size
            for at in range(0, size, _CHUNK):
                os.pwrite(target, _read_what_is_left(source, at, min(_CHUNK, size - at)), at)
        finally:
            os.close(source)
            os.close(target)
    except OSError as error:
        hint = "--out FOLDER, where there is more space" if error.errno == errno.ENOSPC else None
        raise AirgapError(
            f"cannot copy '{path}' to repair it: {error.strerror}", hint=hint
        ) from error


def _read_what_is_left(descriptor: int, at: int, size: int) -> bytes:
    """Bytes of a file; a chunk that cannot be read is tried again sector by sector."""
    try:
        return os.pread(descriptor, size, at)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        if size <= _SECTOR:
            return bytes(size)
    return b"".join(
        _read_what_is_left(descriptor, at + start, min(_SECTOR, size - start))
        for start in range(0, size, _SECTOR)
    )


def _only_volumes(files: Files, scratch: Path) -> Files:
    """What the PAR2 program left, of which only the bundle stays. Raises DamagedError."""
    for path in scratch.iterdir():
        if not stat.S_ISREG(path.lstat().st_mode) or not path.name.startswith(files.name):
            raise DamagedError(
                f"the recovery data of '{files.name}' makes files that are not its: '{path.name}'",
                rule="recovery.damaged",
                hint="do not use these .par2 files: copy again what is damaged",
            )
        is_volume = volume_names.is_volume(path.name, files.name)
        if not (is_volume if files.is_split else path.name == files.name):
            path.unlink()  # the PAR2 files, and what the program has put aside
    rebuilt = volume_names.locate(scratch)
    for path in rebuilt.in_order():
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        os.fsync(descriptor)
        os.close(descriptor)
    return rebuilt


def _same(path: Path, old: Path) -> bool:
    """Whether two files hold the same bytes; one that cannot be read does not."""
    try:
        if not stat.S_ISREG(old.lstat().st_mode):  # a pipe would be waited for, a link followed
            return False
        with path.open("rb") as new, old.open("rb") as there:
            while content := new.read(_CHUNK):
                if there.read(_CHUNK) != content:
                    return False
            return not there.read(1)
    except OSError:
        return False
