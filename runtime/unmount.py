"""Unmount: a bundle's name goes in one rename, with all its generations; the store keeps the blobs.

What this host has accepted of that name is not forgotten: an older bundle is refused as before.
"""

from __future__ import annotations

from contextlib import ExitStack

from airgap.errors import AirgapError
from runtime import generation, lineage
from runtime.folders import Folder
from runtime.generation import MOUNTS


def unmount(root: Folder, name: str) -> int:
    """Remove a bundle's mount.

    Args:
        root: locked by this process.
        name: of a mounted bundle.

    Returns:
        How many generations were removed.

    Raises:
        AirgapError: a running process uses one of them; nothing was removed.
    """
    with root.inside(MOUNTS) as mounts, lineage.swept(mounts), ExitStack() as taken:
        folder = taken.enter_context(mounts.inside(name, make=False))
        numbers = lineage.numbers(folder)
        for number in numbers:
            one = taken.enter_context(generation.folder_of(folder, number))
            if not one.seize():
                raise AirgapError(
                    f"generation {number} of '{name}' is in use by a running process{_named(one)}",
                    hint="stop it first (systemctl stop airgap), then this once more",
                )
        lineage.discard(mounts, name)
    return len(numbers)


def _named(folder: Folder) -> str:
    """Who uses it, as far as the kernel tells."""
    users = ", ".join(folder.users())
    return f" (PID {users})" if users else ""
