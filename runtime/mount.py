"""VerifiedBundle -> generation: checked and written in one pass, switched by one rename.

Blobs enter the store after the last frame held and the file ended; the new generation is built
beside the old ones; one rename of `current` makes it the mount. Killed at any moment, the
previous generation stays what it was, and what was staged is swept by the next mount.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PurePosixPath

from airgap import base
from airgap.accepted import AcceptedFile
from airgap.console import Advance, console, quietly
from airgap.errors import AirgapError
from airgap.manifest import Manifest
from airgap.strict_json import to_time
from airgap.verify import VerifiedBundle
from runtime import generation, inventory, layouts
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
    number_of,
)
from runtime.store import Store


@contextmanager
def locked(root: Path) -> Iterator[Folder]:
    """The isolated host's root, for one mount at a time: a second one waits, and says so."""
    with Folder.at(root) as place:
        descriptor = place.lock("lock")
        try:
            _wait_for(descriptor, root)
            yield place
        finally:
            os.close(descriptor)


def settle(root: Folder, accepted: AcceptedFile, now: datetime) -> None:
    """Remember what is mounted, where this host died between switching and remembering it.

    Until then the bundle before it would still pass for new enough. A name that the record does
    not have stays so: a person may have made it forget (`airgap trust reset-sequence`).
    """
    known = accepted.load().bundles
    for name in generation.mounted(root.path):
        try:
            with generation.current(root.path, name) as one:
                statement = one.statement
        except AirgapError:  # a mount that was damaged is what this one may be there to mend
            continue
        if name in known and known[name].sequence < statement.sequence:
            accepted.raise_to(statement, now)


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
    store.check_space(sum(missing.values()))
    with store.staging() as staging:
        for file, pieces in bundle.contents(advance):
            if missing.pop(file.sha256, None) is not None:
                staging.write(file.sha256, pieces)
        store.take(staging)
    record = Record(to_time(now), tuple(verified.verdict.signers), verified.verdict.policy)
    _build_and_switch(root, store, verified, record)
    accepted.raise_to(bundle.statement, now)
    return root.path / MOUNTS / bundle.statement.name / CURRENT


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


def _build_and_switch(root: Folder, store: Store, verified: VerifiedBundle, record: Record) -> None:
    """Build the tree of links under a private name, give it its number, point `current` at it."""
    bundle = verified.bundle
    with (
        root.inside(f"{MOUNTS}/{bundle.statement.name}") as name,
        name.inside(GENERATIONS) as all_,
        _swept(name),
        _swept(all_),
    ):
        private = _private_name()
        with all_.inside(private) as tree:
            _link_all(store, tree, bundle.manifest)
            tree.write(HEAD, bundle.envelope.to_head())
            tree.write(MANIFEST, bundle.manifest.to_bytes())
            tree.write(RECORD, record.to_bytes())
            tree.write(INVENTORY, inventory.of(bundle.manifest, verified.approval_code))
            tree.sync()
        number = f"{1 + max(map(number_of, all_.names()), default=0):06}"
        all_.rename(private, all_, number)
        all_.sync()
        _point(name, f"{GENERATIONS}/{number}")


def _private_name() -> str:
    return f".{secrets.token_hex(4)}"


@contextmanager
def _swept(folder: Folder) -> Iterator[None]:
    """Remove private names before and after: of a mount that was killed, of one that failed."""
    try:
        _sweep(folder)
        yield
    finally:
        _sweep(folder)


def _sweep(folder: Folder) -> None:
    for left in folder.names():
        if left.startswith("."):
            folder.remove(left)


def _link_all(store: Store, tree: Folder, manifest: Manifest) -> None:
    """Give every file its name in the tree, then make the names last, each folder's at once."""
    files = (*manifest.files, *layouts.links(manifest))
    paths = [PurePosixPath(file.path) for file in files]
    for file, path in zip(files, paths, strict=True):
        with tree.inside(str(path.parent)) as folder:
            store.link(file, folder, path.name)
    for parent in sorted({str(path.parent) for path in paths}):
        with tree.inside(parent, make=False) as folder:
            folder.sync()


def _point(name: Folder, target: str) -> None:
    """Make `current` another link, in one rename: there is no moment without one."""
    private = _private_name()
    name.point(private, target)
    name.rename(private, name, CURRENT)
    name.sync()


def _wait_for(descriptor: int, root: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        console.say(f"another mount is working in '{root}'; waiting for it")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
