"""Garbage: generations that nobody will return to, blobs that none links, leftovers of kills.

Looking comes first, and what was found is what goes. The generation that is served, those that
rollback returns to, and whatever a running process holds stay, and so does every blob of theirs.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from airgap.digest import is_sha256
from airgap.errors import AirgapError
from runtime import environments, generation, lineage
from runtime.environments import RUNTIMES
from runtime.folders import Folder
from runtime.generation import GENERATIONS, MOUNTS
from runtime.store import BLOBS, STAGING

KEPT: Final = 1
"""Generations that stay for rollback, beside the one that is served, where nobody says more."""


@dataclass
class Garbage:
    """What may go from a host's root.

    Attributes:
        generations: (bundle name, number), each locked against being used meanwhile.
        in_use: those that would go, and that a running process holds.
        runtimes: by name, linked by no generation that stays.
        leftovers: paths below the root of what commands that were killed left.
        blobs: by SHA-256, linked by no generation that stays.
        size: bytes on the disk that are freed by all of it.
    """

    generations: list[tuple[str, int]] = field(default_factory=list)
    in_use: list[tuple[str, int]] = field(default_factory=list)
    runtimes: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    blobs: list[str] = field(default_factory=list)
    size: int = 0

    @property
    def anything(self) -> bool:
        """Whether there is something to remove."""
        return bool(self.generations or self.runtimes or self.leftovers or self.blobs)

    @property
    def paths(self) -> list[str]:
        """Leftovers, generations and runtimes, below the root: what links goes before it."""
        generations = [
            f"{MOUNTS}/{name}/{GENERATIONS}/{number:06}" for name, number in self.generations
        ]
        return [*self.leftovers, *generations, *(f"{RUNTIMES}/{one}" for one in self.runtimes)]


@contextmanager
def found(root: Folder, keep: int = KEPT) -> Iterator[Garbage]:
    """Look for garbage; until the block ends nobody can begin to use what was found.

    Args:
        root: locked by this process.
        keep: how many generations stay for rollback, for each bundle name.

    Raises:
        DamagedError: what is current does not tell what came before it.
    """
    garbage, wanted, linked = Garbage(), set[str](), set[str]()
    with root.inside(MOUNTS) as mounts, ExitStack() as taken:
        garbage.leftovers += [f"{MOUNTS}/{left}" for left in lineage.leftovers(mounts)]
        for name in mounts.names():
            if not name.startswith("."):
                blobs, runtimes = _look_at(mounts, name, keep, garbage, taken)
                wanted |= blobs
                linked |= runtimes
        with root.inside(STAGING) as staging:
            garbage.leftovers += [f"{STAGING}/{left}" for left in staging.names()]
        garbage.runtimes += [
            one
            for one in environments.names(root)
            if one not in linked and not environments.runs_this(root.path, one)
        ]
        _count(root, garbage, wanted)
        yield garbage


def collect(root: Folder, garbage: Garbage) -> None:
    """Remove what was found. Killed at any moment, what is left is garbage still.

    Generations go before the blobs that they link: a generation is never without one of its own.
    """
    for path in garbage.paths:
        parent, _slash, entry = path.rpartition("/")
        with root.inside(parent, make=False) as folder:
            lineage.discard(folder, entry)
            folder.sync()
    for sha256 in garbage.blobs:
        with root.inside(f"{BLOBS}/{sha256[:2]}", make=False) as shard:
            shard.remove(sha256)
    with root.inside(BLOBS) as blobs:
        for shard_name in sorted({sha256[:2] for sha256 in garbage.blobs}):
            with blobs.inside(shard_name, make=False) as shard:
                shard.sync()


def _look_at(
    mounts: Folder, name: str, keep: int, garbage: Garbage, taken: ExitStack
) -> tuple[set[str], set[str]]:
    """Sort a name's generations into garbage and others; blobs and runtimes of those others."""
    wanted, linked = set[str](), set[str]()
    with mounts.inside(name, make=False) as folder:
        path = f"{MOUNTS}/{name}"
        garbage.leftovers += [f"{path}/{left}" for left in lineage.leftovers(folder)]
        numbers = lineage.numbers(folder)
        with folder.inside(GENERATIONS) as all_:
            left_there = lineage.leftovers(all_)
        garbage.leftovers += [f"{path}/{GENERATIONS}/{left}" for left in left_there]
        staying = _staying(folder, numbers, keep)
        for number in numbers:
            tree = taken.enter_context(generation.folder_of(folder, number))
            if number not in staying and tree.seize():
                garbage.generations.append((name, number))
                continue
            if number not in staying:
                garbage.in_use.append((name, number))
            wanted |= _blobs_of(tree, number)
            linked |= {environments.linked(tree) or ""}
    return wanted, linked


def _staying(name: Folder, numbers: list[int], keep: int) -> set[int]:
    """What is served, what comes before it, and what somebody rolled back from and may want again.

    Of a name that is not mounted nothing stays: a first mount was killed before it was switched
    to, and nobody ever used it.
    """
    now = generation.current_number(name)
    if now is None:
        return set()
    return {now, *islice(lineage.before(name, now), keep), *(one for one in numbers if one > now)}


def _blobs_of(tree: Folder, number: int) -> set[str]:
    """The blobs that a generation is made of. A damaged one keeps by its links what it has."""
    try:
        return {file.sha256 for file in generation.read(tree, number).manifest.files}
    except AirgapError:
        return set()


def _count(root: Folder, garbage: Garbage, wanted: set[str]) -> None:
    """Find the blobs that go with the rest, and add up what all of it frees.

    A file frees its bytes only when the last of its names goes.
    """
    going: Counter[int] = Counter()
    files: dict[int, int] = {}
    links: dict[int, int] = {}

    def counted(status: os.stat_result) -> None:
        going[status.st_ino] += 1
        files[status.st_ino], links[status.st_ino] = status.st_size, status.st_nlink

    for path in garbage.paths:
        for status in _files_below(root, path):
            counted(status)
    with root.inside(BLOBS) as blobs:
        for shard_name in blobs.names():
            with blobs.inside(shard_name, make=False) as shard:
                for sha256 in filter(is_sha256, shard.names()):
                    status = shard.status(sha256)
                    if sha256 not in wanted and status.st_nlink <= 1 + going[status.st_ino]:
                        garbage.blobs.append(sha256)
                        counted(status)
    garbage.size = sum(size for inode, size in files.items() if going[inode] >= links[inode])


def _files_below(root: Folder, path: str) -> Iterator[os.stat_result]:
    status = root.status(path)
    if stat.S_ISREG(status.st_mode):
        yield status
    if not stat.S_ISDIR(status.st_mode):
        return
    with root.inside(path, make=False) as folder:
        for name in folder.names():
            yield from _files_below(folder, name)
