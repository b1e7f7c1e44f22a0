"""Lock -> tree: where each locked file lies inside a bundle, and the files that are derived.

The tree is the cache layout itself. A model of the hub lies as a snapshot in the hub's own
cache layout, in plain files; what is not on the hub lies under its role's folder.
"""

from __future__ import annotations

from dataclasses import dataclass

from airgap.errors import UsageError
from airgap.manifest import Artifact, Derived
from bundler.lock import Lock, LockedFile, LockedModel

REF_RULE = "hub-ref"
"""The rule that derives `refs/main`: the commit's 40 hex digits, without a newline (one breaks
the hub's client)."""

WHEELS = "wheels"
PYTHONS = f"{WHEELS}/python"
"""Where a runtime lies: wheels side by side, as pip finds them, and carried Pythons."""

_SHARED = {"wheels": WHEELS, "python": PYTHONS}
"""Folders of a role, in which several artifacts lie."""

_FOLDERS = {"sample": "samples", "emotion": "emotion", "asr": "whisper"}


@dataclass(frozen=True)
class Locked:
    """A locked file and where it lies in the tree."""

    path: str
    artifact: str
    file: LockedFile


@dataclass(frozen=True)
class Made:
    """A small file that the build makes, with its content, where it lies, and how it was made."""

    derived: Derived
    artifact: str
    content: bytes


@dataclass(frozen=True)
class Built:
    """A file that the build makes from source, which no lock can name."""

    path: str
    artifact: str
    content: bytes


@dataclass(frozen=True)
class Tree:
    """Everything of a bundle but its own papers.

    Attributes:
        derived: how locked files came about that were built of others, which do not travel.
    """

    artifacts: tuple[Artifact, ...]
    locked: tuple[Locked, ...]
    made: tuple[Made, ...]
    built: tuple[Built, ...] = ()
    derived: tuple[Derived, ...] = ()


def lay_out(lock: Lock) -> Tree:
    """The tree of a complete lock. Raises UsageError where two models would share a folder."""
    artifacts = tuple(_artifact(model) for model in lock.artifacts)
    folders = [artifact.path for artifact in artifacts if artifact.repository]
    if len(set(folders)) != len(folders):
        raise UsageError(f"'{lock.name}' locks one state of a repository twice")
    locked = tuple(
        Locked(_path(artifact, file), artifact.id, file)
        for artifact, model in zip(artifacts, lock.artifacts, strict=True)
        for file in model.files
    )
    made = tuple(_ref(artifact) for artifact in artifacts if artifact.commit)
    return Tree(artifacts, locked, made)


def _artifact(model: LockedModel) -> Artifact:
    return Artifact(
        id=model.id,
        role=model.role,
        engine=model.engine,
        path=_folder(model),
        repository=model.repository,
        commit=model.commit,
        licence=model.licence,
        gated=model.gated,
    )


def _folder(model: LockedModel) -> str:
    if model.repository and model.commit:
        return f"{_repository_folder(model.repository)}/snapshots/{model.commit}"
    if model.role in _SHARED:
        return _SHARED[model.role]
    return f"{_FOLDERS.get(model.role, 'diarization')}/{model.id}"


def _path(artifact: Artifact, file: LockedFile) -> str:
    """Where a file lies; a carried Python is called after what it is, as its requirements are."""
    if artifact.role == "python":
        return f"{artifact.path}/{artifact.id.removeprefix('python-')}.tar.gz"
    return f"{artifact.path}/{file.path}"


def _repository_folder(repository: str) -> str:
    return f"hf/hub/models--{repository.replace('/', '--')}"


def _ref(artifact: Artifact) -> Made:
    """`refs/main`, by which the hub's client finds the snapshot offline."""
    path = f"{_repository_folder(artifact.repository or '')}/refs/main"
    commit = artifact.commit or ""
    return Made(Derived(path, REF_RULE, (artifact.path,)), artifact.id, commit.encode())
