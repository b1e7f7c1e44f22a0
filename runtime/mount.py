"""VerifiedBundle -> generation: checked and written in one pass, switched by one rename.

Blobs enter the store after the last frame held and the file ended; the new generation is built
beside the old ones; one rename of `current` makes it the mount. Killed at any moment, the
previous generation stays what it was, and what was staged is swept by the next mount.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from pathlib import Path, PurePosixPath

from airgap import base
from airgap.accepted import AcceptedFile
from airgap.console import Advance, console, human_size, quietly
from airgap.errors import AirgapError
from airgap.manifest import Manifest
from airgap.strict_json import to_time
from airgap.verify import VerifiedBundle
from runtime import inventory, layouts, lineage
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


def mount(
    root: Folder,
    verified: VerifiedBundle,
    accepted: AcceptedFile,
    now: datetime,
    advance: Advance = quietly,
) -> Path:
    """Lay a bundle out as the caches that the libraries expect.

    Args:
        root: locked by this process.
        verified: the bundle; its frames are checked as they are taken.
        accepted: where this host remembers what it mounted; raised last.
        now: the clock, for the record.
        advance: told the stored bytes that are done.

    Returns:
        The cache root: `ROOT/mounts/NAME/current`.

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
    _build_and_switch(root, store, verified, now)
    accepted.raise_to(bundle.statement, now)
    return root.path / MOUNTS / bundle.statement.name / CURRENT


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


def _build_and_switch(root: Folder, store: Store, verified: VerifiedBundle, now: datetime) -> None:
    """Build the tree of links under a private name, give it its number, point `current` at it."""
    bundle = verified.bundle
    with (
        root.inside(MOUNTS) as mounts,
        mounts.inside(bundle.statement.name) as name,
        name.inside(GENERATIONS) as all_,
        lineage.swept(mounts),
        lineage.swept(name),
        lineage.swept(all_),
    ):
        private = lineage.private_name()
        with all_.inside(private) as tree:
            _link_all(store, tree, bundle.manifest)
            tree.write(HEAD, bundle.envelope.to_head())
            tree.write(MANIFEST, bundle.manifest.to_bytes())
            tree.write(RECORD, _record(name, verified, now).to_bytes())
            tree.write(INVENTORY, inventory.of(bundle.manifest, verified.approval_code))
            tree.sync()
        number = 1 + max(lineage.numbers(name), default=0)
        all_.rename(private, all_, f"{number:06}")
        all_.sync()
        lineage.point(name, number)


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
