"""Damaged files of the mounts, restored from a bundle that holds them; nothing else is written.

Whichever bundle brings a file: its bytes must have the digest that the mounted manifest signs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from airgap.console import Advance, quietly
from airgap.errors import AirgapError
from airgap.manifest import File
from airgap.verify import VerifiedBundle
from runtime import generation, lineage, recheck
from runtime.folders import Folder
from runtime.generation import Generation
from runtime.store import Store


@dataclass
class Mended:
    """What was wrong with the mounts of a host, and what became of it.

    Attributes:
        restored: paths of files that are again what was signed.
        left: what this bundle could not mend, as sentences.
        unsigned: what nobody signed, and is for a person to remove.
    """

    restored: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    unsigned: list[Path] = field(default_factory=list)


def mend(
    root: Folder,
    verified: VerifiedBundle,
    checking: Advance = quietly,
    restoring: Advance = quietly,
) -> Mended:
    """Look at every generation, and restore what is damaged and the bundle carries.

    Args:
        root: locked by this process.
        verified: the bundle; its frames are checked as they are taken.
        checking: told the bytes of the mounts that were compared.
        restoring: told the stored bytes of the bundle that are done.

    Raises:
        AirgapError: there is too little space, or writing failed.
        DamagedError: the bundle is not what was signed; nothing was restored.
    """
    done, store = Mended(), Store(root)
    with ExitStack() as opened:
        generations = list(_generations(root, opened, done))
        damaged = [
            (one, file, why)
            for one in generations
            for file, why in recheck.damaged(one, one.manifest.files, checking).items()
        ]
        carried = {file.sha256 for file in verified.bundle.manifest.carried}
        missing = store.missing(file for _one, file, _why in damaged)
        coming = {sha256: size for sha256, size in missing.items() if sha256 in carried}
        store.check_space(sum(coming.values()))
        _restore(store, verified, coming, restoring)
        for one, file, why in damaged:
            path = str(one.folder.path / file.path)
            if file.sha256 in missing and file.sha256 not in carried:
                done.left.append(f"'{path}' {why}, and this bundle does not carry it")
                continue
            _put_in_place(store, one, file)
            done.restored.append(path)
        for one in generations:  # after it was mended: what lay in a file's place is gone
            done.unsigned += recheck.strangers(one)
    return done


def _generations(root: Folder, opened: ExitStack, done: Mended) -> Iterator[Generation]:
    """Every generation of every name, held; one that cannot be read is left to a new mount."""
    for name in generation.mounted(root.path):
        _served, numbers = lineage.survey(root.path, name)
        for number in numbers:
            try:
                yield opened.enter_context(generation.numbered(root.path, name, number))
            except AirgapError as error:
                done.left.append(error.message)


def _restore(
    store: Store, verified: VerifiedBundle, coming: dict[str, int], advance: Advance
) -> None:
    """Write blobs anew. Every frame of the bundle is checked, whether or not it is needed."""
    waited_for = set(coming)
    with store.staging() as staging:
        for file, pieces in verified.bundle.contents(advance):
            if file.sha256 in waited_for:
                waited_for.remove(file.sha256)
                staging.write(file.sha256, pieces)
        store.take(staging)


def _put_in_place(store: Store, one: Generation, file: File) -> None:
    """Give a blob its name in a generation again, in one rename."""
    at = PurePosixPath(file.path)
    with store.staging() as staging, one.folder.inside(str(at.parent)) as folder:
        store.link(file, staging.folder, at.name)
        staging.folder.rename(at.name, folder, at.name)
        folder.sync()
