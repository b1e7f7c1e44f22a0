"""VerifiedBundle -> generation: checked and written in one pass, switched by one rename.

Blobs enter the store after the last frame held and the file ended; the new generation is built
beside the old ones; one rename of `current` makes it the mount. Killed at any moment, the
previous generation stays what it was, and what was staged is swept by the next mount.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from airgap import base
from airgap.accepted import AcceptedFile
from airgap.console import Advance, console, human_size, quietly
from airgap.errors import AirgapError
from airgap.manifest import Manifest
from airgap.strict_json import to_time
from airgap.verify import VerifiedBundle
from runtime import environments, generation, inventory, layouts, lineage
from runtime.folders import Folder
from runtime.generation import (
    CURRENT,
    GENERATIONS,
    HEAD,
    INVENTORY,
    MANIFEST,
    MOUNTS,
    RECORD,
    Record,
)
from runtime.store import Store


@dataclass(frozen=True)
class Prepared:
    """A generation that is whole, and that nobody is served from yet.

    Attributes:
        tree: its folder, under a private name.
        name: the folder of the bundle's name.
        previous: the number of what is served; None where nothing is mounted.
    """

    tree: Folder
    name: Folder
    previous: int | None

    def switch(self) -> int:
        """Give it its number, and have it served: one rename. Returns the number."""
        number = 1 + max(lineage.numbers(self.name), default=0)
        with self.name.inside(GENERATIONS) as all_:
            all_.rename(self.tree.path.name, all_, f"{number:06}")
            all_.sync()
        lineage.point(self.name, number)
        return number


def mount(
    root: Folder,
    verified: VerifiedBundle,
    accepted: AcceptedFile,
    now: datetime,
    advance: Advance = quietly,
) -> Path:
    """Lay a bundle out as the caches that the libraries expect, and have it served.

    Args:
        root: locked by this process.
        verified: the bundle; its frames are checked as they are taken.
        accepted: where this host remembers what it mounted; raised last.
        now: the clock, for the record.
        advance: told the stored bytes that are done.

    Returns:
        The cache root: `ROOT/mounts/NAME/current`.

    Raises:
        AirgapError, DamagedError: as `prepared`.
    """
    with prepared(root, verified, now, advance) as new:
        environments.link_installed(root, verified.bundle.manifest, new.tree)
        new.switch()
    accepted.raise_to(verified.bundle.statement, now)
    return root.path / MOUNTS / verified.bundle.statement.name / CURRENT


@contextmanager
def prepared(
    root: Folder, verified: VerifiedBundle, now: datetime, advance: Advance = quietly
) -> Iterator[Prepared]:
    """A bundle laid out beside what is served; gone when the block ends without `switch`.

    Args:
        root: locked by this process.
        verified: the bundle; its frames are checked as they are taken.
        now: the clock, for the record.
        advance: told the stored bytes that are done.

    Raises:
        AirgapError: there is too little space, or writing failed; or the bundle is a delta, and
            files that it leaves to its base are not in the store.
        DamagedError: the bundle is not what was signed; nothing of it stays behind.
    """
    bundle = verified.bundle
    store = Store(root)
    missing = store.missing(bundle.manifest.files)
    _check_base(root, bundle.manifest, missing)
    store.check_space(sum(missing.values()) + _copies(store, root, bundle.manifest))
    with store.staging() as staging:
        for file, pieces in bundle.contents(advance):
            if missing.pop(file.sha256, None) is not None:
                staging.write(file.sha256, pieces)
        store.take(staging)
    with _built(root, store, verified, now) as new:
        yield new


def _copies(store: Store, root: Folder, manifest: Manifest) -> int:
    """Bytes that the tree takes beside the store: none, where it can be made of links."""
    if store.links():
        return 0
    size = sum(file.size for file in manifest.files)
    console.warn(
        f"the file system of '{root.path}' has no hard links: the mount is a second copy of the "
        f"models, {human_size(size)} more, and has the names of a hub cache alone"
    )
    return size


def _check_base(root: Folder, manifest: Manifest, missing: Collection[str]) -> None:
    """Look that the store has what a delta leaves to its base, by whichever bundle it came."""
    brought = {file.sha256 for file in manifest.carried}
    left = manifest.left_to_base
    lacking = [one for one in left if one.sha256 in missing and one.sha256 not in brought]
    if manifest.base is None or not lacking:
        return
    named = manifest.base.title
    raise AirgapError(
        f"'{manifest.title}' is a delta of '{named}', and of the {len(left)} files that it leaves "
        f"there, '{root.path}' lacks {len(lacking)}, or holds them damaged: {base.listed(lacking)}",
        hint=f"airgap mount {named}.tar.zst (with --allow-older REASON where this host has gone "
        "beyond it), then this once more; or ask for a full bundle",
    )


@contextmanager
def _built(
    root: Folder, store: Store, verified: VerifiedBundle, now: datetime
) -> Iterator[Prepared]:
    """Build the tree of links under a private name."""
    bundle = verified.bundle
    with (
        root.inside(MOUNTS) as mounts,
        mounts.inside(bundle.statement.name) as name,
        name.inside(GENERATIONS) as all_,
        lineage.swept(mounts),
        lineage.swept(name),
        lineage.swept(all_),
        all_.inside(lineage.private_name()) as tree,
    ):
        _link_all(store, tree, bundle.manifest)
        tree.write(HEAD, bundle.envelope.to_head())
        tree.write(MANIFEST, bundle.manifest.to_bytes())
        tree.write(RECORD, _record(name, verified, now).to_bytes())
        tree.write(INVENTORY, inventory.of(bundle.manifest, verified.approval_code))
        tree.sync()
        yield Prepared(tree, name, generation.current_number(name))


def _record(name: Folder, verified: VerifiedBundle, now: datetime) -> Record:
    return Record(
        mounted=to_time(now),
        signers=tuple(verified.verdict.signers),
        policy=verified.verdict.policy,
        previous=lineage.predecessor(name, verified.bundle.statement),
    )


def _link_all(store: Store, tree: Folder, manifest: Manifest) -> None:
    """Give every file its name in the tree, then make the names last, each folder's at once."""
    further = layouts.links(manifest) if store.links() else ()
    files = (*manifest.files, *further)
    paths = [PurePosixPath(file.path) for file in files]
    for file, path in zip(files, paths, strict=True):
        with tree.inside(str(path.parent)) as folder:
            store.link(file, folder, path.name)
    for parent in sorted({str(path.parent) for path in paths}):
        with tree.inside(parent, make=False) as folder:
            folder.sync()
