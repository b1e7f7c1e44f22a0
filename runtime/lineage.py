"""The generations of one bundle name: which there are, which came before, which one is current."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airgap.errors import AirgapError
from airgap.statement import Statement
from runtime import generation
from runtime.folders import Folder
from runtime.generation import CURRENT, GENERATIONS, MOUNTS, PROBATION


def numbers(name: Folder) -> list[int]:
    """The generations that lie under a bundle's name, oldest first."""
    with name.inside(GENERATIONS) as all_:
        return sorted(filter(None, map(generation.number_of, all_.names())))


def survey(root: Path, name: str) -> tuple[int | None, list[int]]:
    """What is served of a bundle's name under a host's root, and every generation of it."""
    with Folder.at(root) as place, place.inside(f"{MOUNTS}/{name}", make=False) as folder:
        return generation.current_number(folder), numbers(folder)


def before(name: Folder, number: int) -> Iterator[int]:
    """What was served before a generation, the latest first, as far as it is still there.

    It follows what each mount noted, not the numbers: what somebody rolled back from does not
    lie before what was mounted next. What never came off its probation did not serve.

    Raises:
        DamagedError: a note on the way was changed.
    """
    there = set(numbers(name))
    found: int | None = number
    while found is not None:
        with generation.folder_of(name, found) as folder:
            to = fallback(folder)
            proved = to is None
            earlier = generation.read_record(folder).previous if proved else to
        if proved and found != number:
            yield found
        # Only downwards: a note that was tampered with may not lead round in circles.
        found = earlier if earlier in there and earlier < found else None


def fallback(tree: Folder) -> int | None:
    """What to go back to from a generation on probation: 0 for nothing; None from any other."""
    try:
        target = os.readlink(PROBATION, dir_fd=tree.descriptor)
    except OSError:
        return None
    return generation.number_of(target.removeprefix("../"))


def predecessor(name: Folder, statement: Statement) -> int | None:
    """What rollback shall return to from a generation of `statement` that is mounted now.

    A bundle that is mounted once more does not come before itself. Where what is mounted is
    damaged, it is the one below.
    """
    now = generation.current_number(name)
    if now is None:
        return None
    try:
        with generation.folder_of(name, now) as folder:
            mounted = generation.read(folder, now)
            return mounted.record.previous if mounted.statement == statement else now
    except AirgapError:
        return max((one for one in numbers(name) if one < now), default=None)


def point(name: Folder, number: int) -> None:
    """Make `current` another link, in one rename: there is no moment without one."""
    private = private_name()
    name.point(private, f"{GENERATIONS}/{number:06}")
    name.rename(private, name, CURRENT)
    name.sync()


def discard(folder: Folder, entry: str) -> None:
    """Take a folder's name away in one rename, then remove it: half of it is never found."""
    private = private_name()
    folder.rename(entry, folder, private)
    folder.sync()
    folder.remove(private)


def private_name() -> str:
    """A name for what is not there yet, or is no more. Whoever changes the root sweeps them."""
    return f".{secrets.token_hex(4)}"


def leftovers(folder: Folder) -> list[str]:
    """Private names in a folder: of a command that was killed."""
    return [entry for entry in folder.names() if entry.startswith(".")]


@contextmanager
def swept(folder: Folder) -> Iterator[None]:
    """Remove private names before and after: of a command that was killed, of one that failed."""
    try:
        _sweep(folder)
        yield
    finally:
        _sweep(folder)


def _sweep(folder: Folder) -> None:
    for left in leftovers(folder):
        folder.remove(left)
