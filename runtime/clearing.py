"""Clearing a cache that libraries filled: never a mount, never a store, never more than a cache.

The folders come from variables, and whoever followed `airgap cache env` has them lead into a
mount. So each is looked at by where it really lies before anything is removed.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

from airgap import places
from airgap.caches import Holding, files_below, inode, tally
from airgap.errors import UsageError
from runtime import holdings
from runtime.cache import CachePaths
from runtime.folders import Folder
from runtime.generation import HEAD, MOUNTS
from runtime.store import BLOBS

_OWN: Final = (MOUNTS, "store", "staging", "trust", "state", "audit", "receipts")
"""Folders of the host's root that are no cache."""


def clear(
    root: Path, paths: CachePaths, kinds: tuple[str, ...], *, dry_run: bool = False
) -> list[Holding]:
    """Remove the contents of foreign caches.

    Args:
        root: the host's root.
        paths: the folders beside its mounts.
        kinds: which of them.
        dry_run: only look.

    Returns:
        What goes, with the bytes that it frees: a file that has names elsewhere frees none.

    Raises:
        UsageError: a folder is part of a mount, or holds more than a cache; nothing was removed.
        AirgapError: something cannot be read or removed.
    """
    going = {path: kind for kind in kinds for path in holdings.contents(paths, kind)}
    for place in {path.parent for path in going}:
        _refuse_protected(root, place)
    found = {path: list(files_below(path).values()) for path in going}
    names = Counter(inode(one) for files in found.values() for one in files)
    staying = {
        inode(one) for files in found.values() for one in files if one.st_nlink > names[inode(one)]
    }
    gone = []
    for path, kind in going.items():
        _files, size = tally(found[path], staying)
        name = holdings.model_name(path)
        gone.append(Holding(kind, name, str(path), len(found[path]), size, holdings.FOREIGN))
        if not dry_run:
            with Folder.at(path.parent) as folder:
                folder.remove(path.name)
    return gone


def _refuse_protected(root: Path, folder: Path) -> None:
    """Raise UsageError where a folder is part of a mount, or holds what is no foreign cache."""
    real, place = folder.resolve(), root.resolve()
    for parent in (real, *real.parents):
        if (parent / HEAD).is_file() or parent in {place / MOUNTS, place / BLOBS}:
            raise UsageError(
                f"'{folder}' is part of a mount, '{parent}', and is not cleared as a cache",
                hint="airgap unmount NAME, then airgap gc; or unset the variable that leads there",
            )
    for own in (*(place / name for name in _OWN), places.home().resolve()):
        if own.is_relative_to(real):
            raise UsageError(
                f"'{folder}' is no cache alone: '{own}' lies in it",
                hint="name a folder of its own in the variable that leads there",
            )
