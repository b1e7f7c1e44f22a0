"""A generation: one state of a mount, as it lies on disk and as the engine loads from it.

Its tree is the cache layout of the bundle. Beside the tree's own files lie three of ours: the
head (statement and signatures), the manifest, and `mount.json`, which says when and by whose
signatures it was mounted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airgap import frames, limits, strict_json
from airgap.envelope import Envelope
from airgap.errors import DamagedError, RefusedError, UsageError
from airgap.manifest import Artifact, Manifest
from airgap.statement import Statement, approval_code
from airgap.strict_json import Fields, is_time
from runtime.folders import Folder

MOUNTS: Final = "mounts"
CURRENT: Final = "current"
GENERATIONS: Final = "generations"
HEAD: Final = "airgap.head"
MANIFEST: Final = "manifest.json"
RECORD: Final = "mount.json"
INVENTORY: Final = "model_inventory.json"

RECORD_SCHEMA: Final = "airgap/mount/v1"


@dataclass(frozen=True)
class Record:
    """How a generation came to be: when it was mounted, and whose signatures satisfied whom."""

    mounted: str
    signers: tuple[str, ...]
    policy: str

    def to_bytes(self) -> bytes:
        """The content of `mount.json`."""
        return strict_json.readable(
            {
                "schema": RECORD_SCHEMA,
                "mounted": self.mounted,
                "signers": list(self.signers),
                "policy": self.policy,
            }
        )

    @classmethod
    def parse(cls, content: bytes) -> Record:
        """Read what `to_bytes` wrote. Raises DamagedError where it is anything else."""
        defects: list[str] = []
        try:
            fields = Fields(strict_json.parse(content), "", defects)
        except strict_json.JsonError as error:
            raise _unreadable(str(error)) from error
        fields.text("schema", RECORD_SCHEMA.__eq__, RECORD_SCHEMA)
        record = cls(
            fields.text("mounted", is_time, "a time"),
            fields.texts("signers", limits.SIGNATURES),
            fields.text("policy"),
        )
        fields.close()
        if defects:
            raise _unreadable("; ".join(sorted(defects)))
        return record


@dataclass(frozen=True)
class Generation:
    """A generation whose manifest is the one that its statement names.

    Attributes:
        folder: its tree, held open.
        number: it counts up within a bundle name.
        envelope, statement: what was signed, and by whom.
        manifest: the inventory, compared with the statement when it was opened.
        record: how it came to be.
    """

    folder: Folder
    number: int
    envelope: Envelope
    statement: Statement
    manifest: Manifest
    record: Record

    @property
    def approval_code(self) -> str:
        """The statement's SHA-256 in short groups, as on the officer's paper."""
        return approval_code(self.envelope.statement)

    @property
    def cache_root(self) -> Path:
        """The path that stays the same from one generation to the next."""
        return self.folder.path.parent.parent / CURRENT

    def artifact(self, role: str, named: str | None) -> Artifact:
        """The artifact of a role, by its id where there are several.

        Raises:
            UsageError: there is none, or several and none was named.
        """
        found = [one for one in self.manifest.artifacts if one.role == role]
        chosen = [one for one in found if named in (None, one.id)]
        if len(chosen) == 1:
            return chosen[0]
        ids = ", ".join(one.id for one in found) or "none"
        wanted = f"'{named}'" if named else "one model"
        raise UsageError(
            f"expected {wanted} of the role {role} in '{self.statement.title}', found: {ids}",
            hint=f"--model {found[0].id}" if found else "airgap list",
        )


def mounted(root: Path) -> list[str]:
    """Names of the bundles that are mounted under a host's root, sorted."""
    if not (root / MOUNTS).is_dir():
        return []
    with Folder.at(root) as place, place.inside(MOUNTS) as mounts:
        return [name for name in mounts.names() if _number(mounts, name) is not None]


@contextmanager
def current(root: Path, name: str | None) -> Iterator[Generation]:
    """The generation that is mounted under a bundle's name; the only one, where none is given.

    Raises:
        UsageError: nothing is mounted, or several bundles and none was named.
        AirgapError: a file of the mount is missing or cannot be read.
        DamagedError: the mount was changed after it was made.
    """
    names = mounted(root)
    chosen = [found for found in names if name in (None, found)]
    if len(chosen) != 1:
        wanted = f"'{name}'" if name else "one bundle"
        raise UsageError(
            f"expected {wanted} mounted in '{root}', found: {', '.join(names) or 'none'}",
            hint=f"--bundle {names[0]}" if names else "airgap mount BUNDLE",
        )
    with (
        Folder.at(root) as place,
        place.inside(MOUNTS, make=False) as mounts,
        _opened(mounts, chosen[0]) as generation,
    ):
        yield generation


@contextmanager
def _opened(mounts: Folder, name: str) -> Iterator[Generation]:
    """The current generation of a name that has one. Raises DamagedError where it was changed."""
    number = _number(mounts, name)
    with mounts.inside(f"{name}/{GENERATIONS}/{number:06}", make=False) as folder:
        yield _read(folder, number or 0)


def _read(folder: Folder, number: int) -> Generation:
    """What lies in a generation's folder, compared with its statement."""
    content = folder.read(MANIFEST, limits.MANIFEST_SIZE)
    try:
        envelope = Envelope.from_head(folder.read(HEAD, limits.HEAD_SLOT))
        statement = Statement.parse(envelope.statement)
        record = Record.parse(folder.read(RECORD, limits.POLICY_FILE))
    except RefusedError as error:
        raise _changed(folder.path, error.message) from error
    if frames.digest(content, statement.hash).hex() != statement.subjects[MANIFEST]:
        raise _changed(folder.path / MANIFEST, "it is not the manifest that was signed")
    return Generation(folder, number, envelope, statement, Manifest.parse(content), record)


def _unreadable(why: str) -> DamagedError:
    return DamagedError(f"{RECORD} is damaged: {why}", rule="mount.manifest")


def _changed(path: Path, why: str) -> DamagedError:
    return DamagedError(
        f"'{path}' was changed after it was mounted: {why}",
        rule="mount.manifest",
        hint="airgap mount BUNDLE, once more",
    )


def _number(mounts: Folder, name: str) -> int | None:
    """The number that `current` of a bundle's name points at; None where nothing is mounted."""
    try:
        target = os.readlink(f"{name}/{CURRENT}", dir_fd=mounts.descriptor)
    except OSError:
        return None
    folder, _slash, number = target.partition("/")
    return number_of(number) or None if folder == GENERATIONS else None


def number_of(name: str) -> int:
    """The number of a generation by its folder's name; 0 for any other name."""
    return int(name) if name.isascii() and name.isdigit() else 0
