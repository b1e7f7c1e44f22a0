"""A generation: one state of a mount, as it lies on disk and as the engine loads from it.

Its tree is the cache layout of the bundle. Beside the tree's own files lie three of ours: the
head (statement and signatures), the manifest, and `mount.json`, which says when and by whose
signatures it was mounted.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airgap import frames, limits, places, strict_json
from airgap.envelope import Envelope
from airgap.errors import AirgapError, DamagedError, RefusedError, UsageError
from airgap.manifest import Artifact, Manifest
from airgap.statement import Statement, approval_code
from airgap.strict_json import Fields, is_name, is_time
from runtime.folders import Folder

MOUNTS: Final = places.MOUNTS
CURRENT: Final = "current"
GENERATIONS: Final = "generations"
HEAD: Final = "airgap.head"
MANIFEST: Final = "manifest.json"
RECORD: Final = "mount.json"
INVENTORY: Final = "model_inventory.json"
RUNTIME: Final = "runtime"
"""A link to the runtime that was installed of its wheels, where there is one."""
PROBATION: Final = "probation"
"""A link to the generation to go back to, while a service has not shown that it serves."""

_SCHEMA: Final = "airgap/mount/v2"
_SCHEMA_1: Final = "airgap/mount/v1"
"""As before there was `previous`: hosts have mounts of that time."""


@dataclass(frozen=True)
class Record:
    """How a generation came to be.

    Attributes:
        mounted: when.
        signers: whose signatures satisfied the policy.
        policy: whose that was.
        previous: the number of the generation that was served until then, with another bundle.
    """

    mounted: str
    signers: tuple[str, ...]
    policy: str
    previous: int | None

    def to_bytes(self) -> bytes:
        """The content of `mount.json`."""
        return strict_json.readable(
            {
                "schema": _SCHEMA,
                "mounted": self.mounted,
                "signers": list(self.signers),
                "policy": self.policy,
                "previous": self.previous,
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
        schema = fields.text("schema", {_SCHEMA, _SCHEMA_1}.__contains__, _SCHEMA)
        record = cls(
            fields.text("mounted", is_time, "a time"),
            fields.texts("signers", limits.SIGNATURES),
            fields.text("policy"),
            None if schema == _SCHEMA_1 else fields.optional_integer("previous"),
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
        is_current: whether it was the one that is served, when it was opened.
        envelope, statement: what was signed, and by whom.
        manifest: the inventory, compared with the statement when it was opened.
        record: how it came to be.
    """

    folder: Folder
    number: int
    is_current: bool
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


class Hold:
    """Keeps a generation from being removed for as long as somebody refers to this object.

    A lock of the operating system (flock(2), shared) on the generation's folder: it ends with the
    process at the latest, however that ends.
    """

    def __init__(self, held: Generation) -> None:
        weakref.finalize(self, os.close, os.dup(held.folder.descriptor))


def mounted(root: Path) -> list[str]:
    """Names of the bundles that are mounted under a host's root, sorted."""
    if not (root / MOUNTS).is_dir():
        return []
    with Folder.at(root) as place, place.inside(MOUNTS) as mounts:
        return [name for name in mounts.names() if _is_mounted(mounts, name)]


def the_one(root: Path, name: str | None, asked_by: str | None = "--bundle") -> str:
    """The name of a mounted bundle; of the only one, where none is given.

    Args:
        root: the host's.
        name: as the command line has it.
        asked_by: what a name follows there, for the error's hint; None where a name that was not
            meant would do harm.

    Raises:
        UsageError: nothing is mounted, or several bundles and none was named.
    """
    names = mounted(root)
    chosen = [found for found in names if name in (None, found)]
    if len(chosen) != 1:
        wanted = f"'{name}'" if name else "one bundle"
        right = f"{asked_by} {min(names, default='')}" if asked_by else "airgap list"
        raise UsageError(
            f"expected {wanted} mounted in '{root}', found: {', '.join(names) or 'none'}",
            hint=right if names else "airgap mount BUNDLE",
        )
    return chosen[0]


@contextmanager
def current(root: Path, name: str | None) -> Iterator[Generation]:
    """The generation that is mounted under a bundle's name; the only one, where none is given.

    Until the block ends nobody can remove it; a `Hold` keeps it longer.

    Raises:
        UsageError: nothing is mounted, or several bundles and none was named.
        AirgapError: a file of the mount is missing or cannot be read.
        DamagedError: the mount was changed after it was made.
    """
    with _name_folder(root, the_one(root, name)) as folder, _held(folder, None) as generation:
        yield generation


@contextmanager
def numbered(root: Path, name: str, number: int) -> Iterator[Generation]:
    """A generation of a mounted bundle's name, by its number; held like `current`.

    Raises:
        AirgapError: there is none of that number, or a file of it cannot be read.
        DamagedError: it was changed after it was made.
    """
    with _name_folder(root, name) as folder, _held(folder, number) as generation:
        yield generation


@contextmanager
def folder_of(name: Folder, number: int) -> Iterator[Folder]:
    """The folder of a generation, unread and not held. Raises AirgapError where it is missing."""
    with name.inside(f"{GENERATIONS}/{number:06}", make=False) as folder:
        yield folder


@contextmanager
def _name_folder(root: Path, name: str) -> Iterator[Folder]:
    with Folder.at(root) as place, place.inside(f"{MOUNTS}/{name}", make=False) as folder:
        yield folder


@contextmanager
def _held(name: Folder, wanted: int | None) -> Iterator[Generation]:
    """A generation, or the current one, locked against removal before anything of it is read."""
    while True:
        number = wanted or current_number(name)
        if number is None:
            raise UsageError(f"'{name.path}' was unmounted", hint="airgap list")
        with folder_of(name, number) as folder:
            folder.share()
            # It may have been removed while this waited: then there is another, or none.
            if name.has(f"{GENERATIONS}/{number:06}", folder):
                yield read(folder, number, is_current=number == current_number(name))
                return


def read(folder: Folder, number: int, *, is_current: bool = False) -> Generation:
    """What lies in a generation's folder, compared with its statement.

    Raises:
        AirgapError: a file of it is missing or cannot be read.
        DamagedError: it was changed after it was made.
    """
    content = folder.read(MANIFEST, limits.MANIFEST_SIZE)
    try:
        envelope = Envelope.from_head(folder.read(HEAD, limits.HEAD_SLOT))
        statement = Statement.parse(envelope.statement)
    except RefusedError as error:
        raise _changed(folder.path, error.message) from error
    record = read_record(folder)
    if frames.digest(content, statement.hash).hex() != statement.subjects[MANIFEST]:
        raise _changed(folder.path / MANIFEST, "it is not the manifest that was signed")
    manifest = Manifest.parse(content)
    return Generation(folder, number, is_current, envelope, statement, manifest, record)


def read_record(folder: Folder) -> Record:
    """How the generation in a folder came to be. Raises as `read`."""
    try:
        return Record.parse(folder.read(RECORD, limits.POLICY_FILE))
    except RefusedError as error:
        raise _changed(folder.path, error.message) from error


def _unreadable(why: str) -> DamagedError:
    return DamagedError(f"{RECORD} is damaged: {why}", rule="mount.manifest")


def _changed(path: Path, why: str) -> DamagedError:
    return DamagedError(
        f"'{path}' was changed after it was mounted: {why}",
        rule="mount.manifest",
        hint="airgap mount BUNDLE, once more",
    )


def current_number(name: Folder) -> int | None:
    """The number that `current` in a bundle's folder points at; None where nothing is mounted."""
    try:
        target = os.readlink(CURRENT, dir_fd=name.descriptor)
    except OSError:
        return None
    folder, _slash, number = target.partition("/")
    return number_of(number) or None if folder == GENERATIONS else None


def _is_mounted(mounts: Folder, name: str) -> bool:
    """Whether something is mounted under a name; a private one is a leftover."""
    if not is_name(name):
        return False
    try:
        with mounts.inside(name, make=False) as folder:
            return current_number(folder) is not None
    except AirgapError:  # a file, or a link that somebody planted
        return False


def number_of(name: str) -> int:
    """The number of a generation by its folder's name; 0 for any other name."""
    return int(name) if name.isascii() and name.isdigit() else 0
