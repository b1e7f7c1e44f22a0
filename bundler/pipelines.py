"""pyannote pipelines whose parts lie elsewhere -> a configuration that names them in the tree.

A pipeline of the 3.1 kind names its segmentation and embedding by repository, which pyannote 4
fetches; a PLDA it fetches also where none is named. The bundle carries those repositories, so
the build writes a configuration that names their folders, wherever the tree will lie: `$model/`
is the folder of the configuration itself.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml

from airgap.errors import UsageError
from airgap.limits import MIB
from airgap.manifest import Artifact, Derived
from bundler.layout import Made, Tree
from bundler.scan.configs import judge_yaml

RULE: Final = "pyannote-local-pipeline"
"""The rule that derives a pipeline's configuration: each part by its folder in the tree."""

CONFIG: Final = "config.yaml"

_HERE: Final = "$model/"
_REACHING: Final = frozenset({"config.repository", "config.address", "config.path"})


@dataclass(frozen=True)
class Part:
    """What a pipeline is made of.

    Attributes:
        key: pyannote's name for it.
        role: of an artifact that is one.
        file: that is in its folder.
        known: a model of the catalog that would do, for hints.
    """

    key: str
    role: str
    file: str
    known: str


PARTS: Final = (
    Part("segmentation", "segmentation", "pytorch_model.bin", "segmentation-3.0"),
    Part("embedding", "speaker-embedding", "pytorch_model.bin", "wespeaker-voxceleb-resnet34-lm"),
    Part("plda", "plda", "plda.npz", "community-1-plda"),
)


def with_pipelines(tree: Tree, cached: Mapping[str, Path]) -> Tree:
    """The tree in which every pyannote pipeline finds its parts without a network.

    A pipeline whose parts lie in its own repository stays as it is. For any other a configuration
    is derived, and its folder becomes the artifact's: `Pipeline.from_pretrained` of that folder
    works on the isolated host, and after a plain untar. The published one stays beside it, in the
    hub's layout.

    Args:
        tree: as the lock has it.
        cached: files of the download cache, by digest.

    Raises:
        UsageError: a pipeline names what the bundle does not carry, or is not one.
    """
    for artifact in tree.artifacts:
        if artifact.role == "diarization" and artifact.engine == "pyannote":
            tree = _with_pipeline(tree, artifact, cached)
    return tree


def _with_pipeline(tree: Tree, artifact: Artifact, cached: Mapping[str, Path]) -> Tree:
    path = f"{artifact.path}/{CONFIG}"
    content = _content(tree, path, cached)
    config, params = _parse(content, path)
    folders = {part.key: _folder(part, params.get(part.key), artifact, tree) for part in PARTS}
    own = {key: f"{_HERE}{posixpath.relpath(at, artifact.path)}" for key, at in folders.items()}
    if all(params.get(key) == named for key, named in own.items()):
        _refuse_reaching(content, path)
        return tree
    moved = replace(artifact, path=f"diarization/{artifact.id}")
    for key, at in folders.items():
        params[key] = f"{_HERE}{posixpath.relpath(at, moved.path)}"
    derived = Derived(f"{moved.path}/{CONFIG}", RULE, (path, *folders.values()))
    content = yaml.safe_dump(config, sort_keys=False).encode()
    _refuse_reaching(content, path)
    return replace(
        tree,
        artifacts=tuple(moved if one is artifact else one for one in tree.artifacts),
        made=(*tree.made, Made(derived, artifact.id, content)),
    )


def _content(tree: Tree, path: str, cached: Mapping[str, Path]) -> bytes:
    """The published configuration."""
    locked = next((one.file for one in tree.locked if one.path == path), None)
    if locked is None or locked.sha256 is None:
        raise UsageError(f"'{path}' is not locked", hint="airgap lock PROFILE")
    with cached[locked.sha256].open("rb") as stream:
        return stream.read(MIB)


def _parse(content: bytes, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration, and in it the parameters of its pipeline, to be changed in place."""
    try:
        config = yaml.safe_load(content)
        params = config["pipeline"]["params"]
        if isinstance(config, dict) and isinstance(params, dict):
            return config, params
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, LookupError, TypeError) as error:
        raise _not_one(path) from error
    raise _not_one(path)


def _not_one(path: str) -> UsageError:
    return UsageError(
        f"'{path}' is no configuration of a pyannote pipeline",
        hint="give the role 'diarization' to a pipeline; its parts have roles of their own",
    )


def _folder(part: Part, named: Any, pipeline: Artifact, tree: Tree) -> str:
    """Where a part of a pipeline lies in the tree."""
    if isinstance(named, dict):
        named = _joined(named)
    if isinstance(named, str) and named.startswith(_HERE):
        wanted, owners = named.removeprefix(_HERE), [pipeline]
    elif isinstance(named, str):
        repository, _, revision = named.partition("@")
        repository, wanted = _split(repository)
        owners = [
            one
            for one in tree.artifacts
            if one.repository == repository and revision in {"", one.commit}
        ]
    elif named is None and part.role == "plda":
        wanted, owners = None, [one for one in tree.artifacts if one.role == part.role]
    else:
        wanted, owners = None, []
    folders = sorted(set(_folders(part, wanted, owners, tree)))
    if len(folders) == 1:
        return folders[0]
    raise _lacking(part, named, pipeline, folders)


def _joined(named: dict[str, Any]) -> str | None:
    """`{checkpoint: ORG/NAME, subfolder: PATH, revision: COMMIT}` in one text."""
    checkpoint, subfolder, revision = (
        named.get(key) or "" for key in ("checkpoint", "subfolder", "revision")
    )
    return f"{checkpoint}/{subfolder}".rstrip("/") + (f"@{revision}" if revision else "")


def _split(named: str) -> tuple[str, str]:
    """ORG/NAME, and the folder behind it."""
    parts = named.split("/")
    return "/".join(parts[:2]), "/".join(parts[2:])


def _folders(part: Part, wanted: str | None, owners: list[Artifact], tree: Tree) -> Iterator[str]:
    """The folders of `owners` that hold the part's file; only the one that is wanted, if any."""
    ids = {owner.id: owner.path for owner in owners}
    for one in tree.locked:
        folder, name = posixpath.split(one.path)
        if one.artifact in ids and name == part.file:
            inside = posixpath.relpath(folder, ids[one.artifact])
            if wanted is None or inside == posixpath.normpath(wanted or "."):
                yield folder


def _lacking(part: Part, named: Any, pipeline: Artifact, folders: list[str]) -> UsageError:
    what = f"'{named}'" if named else "none, and pyannote fetches one that is not named"
    found = f"several: {', '.join(folders)}" if folders else "none of it in the bundle"
    return UsageError(
        f"{pipeline.id} would reach for a hub: its '{part.key}' is {what}; found {found}",
        hint=f"add it to the profile's models, such as '- {part.role}: {part.known}', "
        "and lock again",
    )


def _refuse_reaching(content: bytes, path: str) -> None:
    """Whatever else the configuration names, it must not be a repository, an address or a path."""
    reaching = [one.reason for one in judge_yaml(content, path) if one.rule in _REACHING]
    if reaching:
        raise UsageError(
            f"'{path}' reaches for what no bundle carries: {'; '.join(reaching)}",
            hint="use a pipeline without it, or publish one and lock that",
        )
