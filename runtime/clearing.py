"""Clearing a cache that libraries filled: never a mount, never a store, never more than a cache.

The folders come from variables, and whoever followed `airgap cache env` has them lead into a
mount. So each is looked at by where it really lies before anything is removed.
"""

from __future__ import annotations

from pathlib import Path

from airgap.caches import Holding, Inode, files_below
from airgap.errors import UsageError
from runtime import holdings
from runtime.cache import CachePaths
from runtime.folders import Folder
from runtime.generation import HEAD, MOUNTS
from runtime.store import BLOBS

_OWN = (MOUNTS, BLOBS, "trust", "state", "audit", "staging")
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
    going = {kind: holdings.contents(paths, kind) for kind in kinds}
    for path in (one for found in going.values() for one in found):
        _refuse_protected(root, path)
    every = {
        path: at
        for found in going.values()
        for one in found
        for path, at in files_below(one).items()
    }
    names: dict[Inode, int] = {}
    for at in every.values():
        names[at.st_dev, at.st_ino] = names.get((at.st_dev, at.st_ino), 0) + 1
    kept = {
        (at.st_dev, at.st_ino) for at in every.values() if names[at.st_dev, at.st_ino] < at.st_nlink
    }
    freed = holdings.foreign(paths, kinds, kept)
    if not dry_run:
        for path in (one for found in going.values() for one in found):
            with Folder.at(path.parent) as folder:
                folder.remove(path.name)
    return freed


def _refuse_protected(root: Path, path: Path) -> None:
    """Raise UsageError where removing a path would take something that is no foreign cache."""
    real = path.parent.resolve() / path.name
    for parent in (real, *real.parents):
        if (parent / HEAD).is_file() or parent in {root / MOUNTS, root / BLOBS}:
            raise UsageError(
                f"'{path}' is part of a mount, '{parent}', and is not cleared as a cache",
                hint="airgap unmount NAME, then airgap gc; or unset the variable that leads there",
            )
    protected = [*(root / own for own in _OWN), Path.home()]
    for own in protected:
        if own.resolve().is_relative_to(real):
            raise UsageError(
                f"'{path}' holds more than a cache: '{own}' lies in it",
                hint="name a folder of its own in the variable that leads there",
            )
