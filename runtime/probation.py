"""Probation: a generation is served, and its service has not yet shown that it stays up by it.

The note about it lies in the generation's own tree and comes into place by the same rename, so a
host that dies in between finds out afterwards: the next change goes back to what is named there.
"""

from __future__ import annotations

from airgap.console import console
from airgap.errors import AirgapError
from runtime import generation, lineage
from runtime.folders import Folder
from runtime.generation import CURRENT, GENERATIONS, MOUNTS, PROBATION


def begin(tree: Folder, served: int | None) -> None:
    """Note in a generation that is not served yet what its service has run by until now.

    Args:
        tree: of the generation.
        served: the number of that one; None where nothing is mounted.
    """
    tree.point(PROBATION, f"../{served or 0:06}")
    tree.sync()


def end(tree: Folder) -> None:
    """It is proved, or a person asked for it: what comes before it is what its record says."""
    if lineage.fallback(tree) is not None:
        tree.remove(PROBATION)
        tree.sync()


def settle(root: Folder) -> bool:
    """Go back from what an update that was killed left on probation.

    Args:
        root: locked by this process.

    Returns:
        Whether there was any: then a server still runs by what is served no more.
    """
    left = False
    for bundle in generation.mounted(root.path):
        with root.inside(f"{MOUNTS}/{bundle}", make=False) as name, lineage.swept(name):
            number = generation.current_number(name)
            if number is None or (to := _fallback_of(name, number)) is None:
                continue
            console.warn(
                f"an update was interrupted before its service had shown that generation {number} "
                f"of '{bundle}' serves; going back to {f'generation {to}' if to else 'none'}, by "
                "which a server runs once it is restarted"
            )
            go_back(name, to)
            forget(name, number)
            left = True
    return left


def go_back(name: Folder, to: int) -> None:
    """Serve what was served before. `name` is the folder of a bundle's name; 0 is for nothing."""
    if to:
        lineage.point(name, to)
    else:
        name.remove(CURRENT)
        name.sync()


def forget(name: Folder, number: int) -> None:
    """Remove a generation that does not serve, unless somebody holds it: gc does that later."""
    with generation.folder_of(name, number) as tree:
        if tree.seize():
            with name.inside(GENERATIONS) as all_:
                lineage.discard(all_, f"{number:06}")


def _fallback_of(name: Folder, number: int) -> int | None:
    """Where to go back to, if it is still there: 0 for nothing; None where there is no need."""
    try:
        with generation.folder_of(name, number) as tree:
            to = lineage.fallback(tree)
    except AirgapError:  # a mount that was damaged is what the next one may be there to mend
        return None
    return to if to == 0 or to in lineage.numbers(name) else None
