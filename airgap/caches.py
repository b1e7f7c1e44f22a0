"""What the caches of a machine hold, as each side tells it to `airgap cache`.

The connected side has the download cache; the isolated side has mounts, its store, and folders that
libraries fill by themselves. One machine may have both, and neither side knows the other.
"""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from airgap.errors import AirgapError

Inode = tuple[int, int]
"""Device and number: two names with one of these are one file."""


@dataclass(frozen=True)
class Holding:
    """What a cache holds of one model.

    Attributes:
        kind: which cache, as `airgap cache clear` knows it; or `store` or `papers`, which it never
            touches.
        name: of the model, or what else it is.
        place: the bundle that brought it, else the folder that it lies in.
        files: how many, each counted in one holding alone however many names it has.
        size: of those, in bytes.
        state: `verified`, `foreign`, …: what is known about the bytes.
    """

    kind: str
    name: str
    place: str
    files: int
    size: int
    state: str


@dataclass(frozen=True)
class Request:
    """What `airgap cache clear` is asked for.

    Attributes:
        kinds: of the side that is asked.
        root: `--root`.
        keep_days: what was used in so many days stays; None where nothing was said.
    """

    kinds: tuple[str, ...]
    root: Path | None
    keep_days: int | None


class Side(ABC):
    """A side of the gap with its caches."""

    @property
    @abstractmethod
    def kinds(self) -> Sequence[str]:
        """The caches that may be cleared."""

    @abstractmethod
    def holdings(self, root: Path | None, /) -> list[Holding]:
        """What they hold, and what else there is. Raises AirgapError where it cannot be read."""

    @abstractmethod
    def clear(self, request: Request, /, *, dry_run: bool) -> list[Holding]:
        """Remove what may go, or only look; returns what goes, with the bytes that it frees.

        Raises:
            UsageError: a folder is not one that may be cleared; nothing was removed.
            AirgapError: something is in use, or cannot be removed.
        """

    def warnings(self, _root: Path | None, /) -> list[str]:
        """What makes a library look elsewhere, a sentence each."""
        return []

    def key(self, _name: str | None, _root: Path | None, /) -> str | None:
        """`key` of the models that a name stands for, or that there are; None for an unknown one.

        Raises:
            UsageError: the name stands for something that has no key yet.
        """
        return None

    def staying(self, _root: Path | None, /) -> list[str]:
        """What `clear` leaves alone although it holds models, and what would remove it."""
        return []


def key(name: str, digests: Iterable[str]) -> str:
    """A name for these files, the same wherever they are: `airgap-demo-0123456789abcdef`.

    Args:
        name: of the bundle.
        digests: SHA-256 of each file of a model that its lock names.
    """
    import hashlib  # noqa: PLC0415 - OpenSSL takes 5 ms, and every `airgap --help` comes by

    content = "".join(f"{digest}\n" for digest in sorted(set(digests)))
    return f"airgap-{name}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def files_below(path: Path) -> dict[Path, os.stat_result]:
    """Every regular file at or below a path, following no link; none where it does not exist.

    Raises:
        AirgapError: a folder cannot be read.
    """
    found = {}
    try:
        there = path.lstat()
        if stat.S_ISREG(there.st_mode):
            found[path] = there
        if stat.S_ISDIR(there.st_mode):
            for inner in sorted(path.iterdir()):
                found |= files_below(inner)
    except FileNotFoundError:  # it was never there, or went while we looked
        return found
    except OSError as error:
        raise AirgapError(f"cannot read '{error.filename}': {error.strerror}") from error
    return found


def inode(status: os.stat_result) -> Inode:
    """What tells a file from its names."""
    return status.st_dev, status.st_ino


def tally(files: Iterable[os.stat_result], seen: set[Inode]) -> tuple[int, int]:
    """How many files and bytes these are beyond those that were seen, which they join."""
    count = size = 0
    for one in files:
        if inode(one) not in seen:
            seen.add(inode(one))
            count, size = count + 1, size + one.st_size
    return count, size
