"""What a lock holds of each artifact: where it is from, under which licence, and its files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import yaml

from airgap import limits
from airgap.licences import is_non_commercial
from airgap.paths import collisions
from airgap.strict_json import is_name
from airgap.yaml_document import Form, YamlDocument
from bundler.catalog import ENGINES
from bundler.sources import Source
from bundler.sources.reading import COMMIT, REPOSITORY, read_path, read_source
from bundler.terms import Terms

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

IMAGE: Final = "image"
"""The role of a container image. No engine loads it, and a profile has a key of its own for it."""

SHA256: Final = Form(re.compile(r"[0-9a-f]{64}"), "64 hex digits")


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
        engine: what loads it; None for a sample or an image.
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


def model_entry(model: LockedModel) -> dict[str, Any]:
    """The entry of a lock that `read_model` reads."""
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
        "files": [file_entry(file) for file in model.files],
    }


def file_entry(file: LockedFile) -> dict[str, Any]:
    """The entry of a lock that `read_files` reads."""
    entries = {name: getattr(file, name) for name in FILE_KEYS}
    return {name: value for name, value in entries.items() if value is not None}


def read_model(document: YamlDocument, values: dict[str, yaml.Node]) -> LockedModel:
    """Take a model's entry apart; defects go where `document` collects them."""
    identity = document.text(values["id"], "'id'")
    if identity and not is_name(identity):
        document.defect(values["id"], f"'id': '{identity}' is not a name")

    def optional(key: str, form: Form | None = None) -> str | None:
        node = values.get(key)
        return document.text(node, f"'{key}'", form) if node else None

    return LockedModel(
        id=identity,
        role=document.choice(values["role"], (*ENGINES, IMAGE), "'role'"),
        engine=optional("engine"),
        repository=optional("repository", REPOSITORY),
        commit=optional("commit", COMMIT),
        licence=document.text(values["licence"], "'licence'"),
        gated=document.boolean(values["gated"], "'gated'"),
        sources=tuple(
            read_source(document, node) for node in document.items(values["sources"], "'sources'")
        ),
        files=read_files(document, values["files"]),
        terms=Terms.read(document, values["terms"]) if "terms" in values else None,
    )


def read_files(document: YamlDocument, node: yaml.Node) -> tuple[LockedFile, ...]:
    """Take a list of files apart; defects go where `document` collects them."""
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
        sha256=document.text(sha256, "'sha256'", SHA256) if sha256 else None,
        git_blob=document.text(blob, "'git_blob'", COMMIT) if blob else None,
    )
