"""YAML <-> Lock: every file of every model, with commit, size and SHA-256.

Round trip: `Lock.parse(lock.to_bytes(), file) == lock`; and a lock that `airgap lock` wrote is,
byte for byte, what `to_bytes` makes of it. Schema: docs/profiles.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from airgap import limits
from airgap.errors import UsageError
from airgap.files import read_bounded
from airgap.licences import is_non_commercial
from airgap.paths import collisions
from airgap.strict_json import is_name, is_time
from airgap.yaml_document import Form, YamlDocument
from bundler.catalog import CATALOG, ENGINES
from bundler.profile import Profile
from bundler.sources import Source
from bundler.sources.reading import COMMIT, REPOSITORY, read_path, read_source
from bundler.terms import Terms

SCHEMA: Final = 1

KEYS: Final = {
    "lock": True,
    "name": True,
    "version": True,
    "sequence": True,
    "created": True,
    "profile_sha256": True,
    "models": True,
}

MODEL_KEYS: Final = {
    "id": True,
    "role": True,
    "engine": False,
    "repository": False,
    "commit": False,
    "licence": True,
    "gated": True,
    "terms": False,
    "sources": True,
    "files": True,
}

FILE_KEYS: Final = {"path": True, "size": False, "sha256": False, "git_blob": False}

_HEADER: Final = """\
# Written by `airgap lock`. A build takes no byte that is not named here. The sources of a model
# may be edited: they are tried in order, and whichever serves, the bytes must match.
"""

_SHA256: Final = Form(re.compile(r"[0-9a-f]{64}"), "64 hex digits")
_NO_LINE_BREAKS: Final = 1 << 20  # columns: one file, one line, so that diffs read well


@dataclass(frozen=True)
class LockedFile:
    """A file of a model. Without size or digest the lock is incomplete and cannot be built.

    Attributes:
        path: in the model's repository.
        size: in bytes.
        git_blob: git's name for its bytes, where the hub tells it.
    """

    path: str
    size: int | None
    sha256: str | None
    git_blob: str | None = None

    @property
    def bytes_expected(self) -> int:
        """The size, 0 while it is unknown."""
        return self.size or 0


@dataclass(frozen=True)
class LockedModel:
    """One artifact: where it is from, under which licence, and its files.

    Attributes:
        id: its name in the bundle.
        engine: what loads it; None for a sample.
        repository, commit: ORG/NAME on the hub and its state; None where it is not on the hub.
        gated: whether its publisher wants terms accepted first.
        terms: which; None where it is not gated, or the lock was made without asking the hub.
        sources: where its bytes can come from, in the order to try.
    """

    id: str
    role: str
    engine: str | None
    repository: str | None
    commit: str | None
    licence: str
    gated: bool
    sources: tuple[Source, ...]
    files: tuple[LockedFile, ...]
    terms: Terms | None = None

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.bytes_expected for file in self.files)

    @property
    def origin(self) -> str:
        """Where it is from, for a person: `Systran/faster-whisper-tiny.en@0d3d19a3`."""
        if self.repository and self.commit:
            return f"{self.repository}@{self.commit[:8]}"
        return self.sources[0].name

    @property
    def is_non_commercial(self) -> bool:
        """Whether its licence forbids commercial use."""
        return is_non_commercial(self.licence)


@dataclass(frozen=True)
class Lock:
    """What one version of a bundle consists of.

    Attributes:
        sequence: grows with every change; hosts refuse to go back.
        created: when it was last changed, RFC 3339, UTC, whole seconds.
        profile_sha256: of the profile's bytes that it was made from.
    """

    name: str
    version: str
    sequence: int
    created: str
    profile_sha256: str
    models: tuple[LockedModel, ...]

    @classmethod
    def parse(cls, content: bytes, file: str) -> Lock:
        """Read a lock's bytes; `file` is its name in errors.

        Raises:
            UsageError: every defect on a line of its own, as FILE:LINE:COL.
        """
        document = YamlDocument(content, file)
        lock = _read(document)
        document.finish()
        return lock

    def to_bytes(self) -> bytes:
        """The lock as YAML, one file a line."""
        entries = {
            "lock": SCHEMA,
            "name": self.name,
            "version": self.version,
            "sequence": self.sequence,
            "created": self.created,
            "profile_sha256": self.profile_sha256,
            "models": [_model_entry(model) for model in self.models],
        }
        body = yaml.safe_dump(
            entries,
            sort_keys=False,
            default_flow_style=None,
            allow_unicode=True,
            width=_NO_LINE_BREAKS,
        )
        return (_HEADER + body).encode()

    def files(self) -> Iterator[tuple[LockedModel, LockedFile]]:
        """Every file with its model, in the lock's order."""
        for model in self.models:
            for file in model.files:
                yield model, file

    def missing(self) -> list[str]:
        """What the lock must still learn before it can be built, one sentence each, sorted."""
        defects = []
        for model, file in self.files():
            unknown = [name for name in ("size", "sha256") if getattr(file, name) is None]
            if unknown:
                defects.append(f"{model.id}: '{file.path}' has no {' and no '.join(unknown)}")
        for model in self.models:
            if known := CATALOG.get(model.id):
                lacking = known.lacks(file.path for file in model.files)
                defects += [f"{model.id}: '{needed}' is not locked" for needed in lacking]
        return sorted(defects)

    def check_complete(self) -> None:
        """Raise UsageError where `missing` has something to say."""
        if defects := self.missing():
            lines = "\n".join(f"  {defect}" for defect in defects)
            raise UsageError(
                f"the lock of '{self.name}' is incomplete, nothing can be built from it:\n{lines}",
                hint=f"airgap lock {self.name}",
            )


def lock_path(profile: Path) -> Path:
    """Where the lock of a profile lies: beside it, `NAME.lock.yaml`."""
    return profile.with_name(f"{profile.stem}.lock.yaml")


def read_lock(path: Path, profile: Profile) -> Lock:
    """The lock beside the profile at `path`, which must be of this very profile.

    Raises:
        UsageError: it is not there, is not a lock, or the profile changed since it was made.
    """
    place = lock_path(path)
    again = f"airgap lock {path if path.is_absolute() or '/' in str(path) else f'./{path}'}"
    if not place.exists():
        raise UsageError(f"'{path}' is not locked: '{place}' is not there", hint=again)
    lock = Lock.parse(read_bounded(place, limits.LOCK_FILE, "a lock"), str(place))
    if lock.profile_sha256 != profile.sha256 or lock.name != profile.name:
        raise UsageError(f"'{path}' was changed after '{place}' was made from it", hint=again)
    return lock


def _model_entry(model: LockedModel) -> dict[str, Any]:
    optional = {
        "engine": model.engine,
        "repository": model.repository,
        "commit": model.commit,
    }
    return {
        "id": model.id,
        "role": model.role,
        **{key: value for key, value in optional.items() if value is not None},
        "licence": model.licence,
        "gated": model.gated,
        **({"terms": model.terms.as_lock()} if model.terms else {}),
        "sources": [source.as_lock() for source in model.sources],
        "files": [_file_entry(file) for file in model.files],
    }


def _file_entry(file: LockedFile) -> dict[str, Any]:
    entries = {name: getattr(file, name) for name in FILE_KEYS}
    return {name: value for name, value in entries.items() if value is not None}


def _read(document: YamlDocument) -> Lock:
    values = document.mapping(document.root, KEYS, "the lock")
    document.finish()  # what follows needs every key
    document.integer(values["lock"], "'lock' (the schema)", least=SCHEMA, most=SCHEMA)
    name, version = (document.text(values[key], f"'{key}'") for key in ("name", "version"))
    created = document.text(values["created"], "'created'")
    for key, value, holds in (
        ("name", name, is_name),
        ("version", version, is_name),
        ("created", created, is_time),
    ):
        if value and not holds(value):
            document.defect(values[key], f"'{key}': '{value}' is not of its form")
    return Lock(
        name=name,
        version=version,
        sequence=document.integer(
            values["sequence"], "'sequence'", least=1, most=limits.INTEGER - 1
        ),
        created=created,
        profile_sha256=document.text(values["profile_sha256"], "'profile_sha256'", _SHA256),
        models=_models(document, values["models"]),
    )


def _models(document: YamlDocument, node: yaml.Node) -> tuple[LockedModel, ...]:
    models: dict[str, LockedModel] = {}
    for item in document.items(node, "'models'"):
        values = document.mapping(item, MODEL_KEYS, "a model")
        if all(key in values for key, needed in MODEL_KEYS.items() if needed):
            model = _model(document, values)
            if model.id in models:
                document.defect(item, f"'{model.id}' stands twice in 'models'")
            models[model.id] = model
    return tuple(models.values())


def _model(document: YamlDocument, values: dict[str, yaml.Node]) -> LockedModel:
    identity = document.text(values["id"], "'id'")
    if identity and not is_name(identity):
        document.defect(values["id"], f"'id': '{identity}' is not a name")

    def optional(key: str, form: Form | None = None) -> str | None:
        node = values.get(key)
        return document.text(node, f"'{key}'", form) if node else None

    return LockedModel(
        id=identity,
        role=document.choice(values["role"], ENGINES, "'role'"),
        engine=optional("engine"),
        repository=optional("repository", REPOSITORY),
        commit=optional("commit", COMMIT),
        licence=document.text(values["licence"], "'licence'"),
        gated=document.boolean(values["gated"], "'gated'"),
        sources=tuple(
            read_source(document, node) for node in document.items(values["sources"], "'sources'")
        ),
        files=_files(document, values["files"]),
        terms=Terms.read(document, values["terms"]) if "terms" in values else None,
    )


def _files(document: YamlDocument, node: yaml.Node) -> tuple[LockedFile, ...]:
    files = tuple(_file(document, item) for item in document.items(node, "'files'"))
    for defect in collisions(file.path for file in files):
        document.defect(node, defect)
    return files


def _file(document: YamlDocument, node: yaml.Node) -> LockedFile:
    values = document.mapping(node, FILE_KEYS, "a file")
    path, size = values.get("path"), values.get("size")
    sha256, blob = values.get("sha256"), values.get("git_blob")
    return LockedFile(
        path=read_path(document, path, "'path'") if path else "",
        size=document.integer(size, "'size'", least=0, most=limits.INTEGER - 1) if size else None,
        sha256=document.text(sha256, "'sha256'", _SHA256) if sha256 else None,
        git_blob=document.text(blob, "'git_blob'", COMMIT) if blob else None,
    )
