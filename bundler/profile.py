"""YAML -> Profile: what is wanted, written by a person. Schema: docs/profiles.md.

`Profile.parse` validates and names every defect by file, line and column, with the nearest right
word; `__init__` does not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml

from airgap import limits
from airgap.digest import HASHES
from airgap.errors import UsageError
from airgap.files import read_bounded
from airgap.strict_json import is_name
from airgap.yaml_document import Form, YamlDocument, nearest
from bundler.catalog import CATALOG, ENGINES, entry_for
from bundler.images import WantedImage, read_images
from bundler.scan.policy import ScanPolicy, read_policy
from bundler.sources.reading import REPOSITORY
from bundler.wheelhouse.wanted import WantedRuntime, extras_for, read_runtime

SCHEMA: Final = 1

# The folder beside this package, in a wheel and in a checkout alike. Not by import: `profiles`
# has no code, so any folder of that name on the import path would be a part of it.
SHIPPED: Final = Path(__file__).resolve().parent.parent / "profiles"

KEYS: Final = {
    "profile": True,
    "name": True,
    "description": True,
    "device": True,
    "diarization": True,
    "hash": False,
    "expires_after_days": False,
    "scan": False,
    "models": True,
    "images": False,
    "runtime": False,
}
"""The keys of a profile, and whether each must be there. A new feature is a new key."""

DEVICES: Final = ("cpu", "gpu")
DIARIZATIONS: Final = ("none", "nemo", "pyannote")

DIARIZERS: Final = {
    "nemo": ({"diarization"}, {"speaker-embedding", "vad"}),
    "pyannote": ({"diarization"},),
}
"""The roles with which a back end can tell speakers apart: all of one of these sets."""

_REVISION: Final = Form(
    re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}"), "a branch, a tag or a commit"
)


@dataclass(frozen=True)
class WantedModel:
    """A model that a profile asks for.

    Attributes:
        role: what it is for, one of `bundler.catalog.ENGINES`.
        name: a name of the catalog, or ORG/NAME on the hub.
        revision: the branch, tag or commit to lock; None is the branch `main`.
    """

    role: str
    name: str
    revision: str | None = None


@dataclass(frozen=True)
class Profile:
    """What one bundle shall carry.

    Attributes:
        device: `cpu` or `gpu`.
        diarization: who tells speakers apart: `none`, `nemo` or `pyannote`.
        hash: of the bundle's table, `sha256` or `sha384`.
        expires_after_days: counted from the lock's `created`; None never.
        scan: what becomes of what a scan finds.
        images: container images that travel along.
        runtime: the wheels that travel along; None where the host brings its own.
        sha256: of the profile's bytes; the lock names the profile that it was made from by it.
    """

    name: str
    description: str
    device: str
    diarization: str
    hash: str
    expires_after_days: int | None
    models: tuple[WantedModel, ...]
    sha256: str
    scan: ScanPolicy = field(default_factory=ScanPolicy)
    images: tuple[WantedImage, ...] = ()
    runtime: WantedRuntime | None = None

    @property
    def extras(self) -> tuple[str, ...]:
        """The extras of this project that the isolated host cannot do without."""
        return extras_for(self.device, self.diarization, {model.role for model in self.models})

    @classmethod
    def parse(cls, content: bytes, file: str) -> Profile:
        """Read a profile's bytes; `file` is its name in errors.

        Raises:
            UsageError: every defect on a line of its own, as FILE:LINE:COL.
        """
        document = YamlDocument(content, file)
        values = document.mapping(document.root, KEYS, "the profile")
        profile = _read(document, values, hashlib.sha256(content).hexdigest())
        document.finish()
        return profile


def read_profile(named: str) -> tuple[Path, Profile]:
    """The profile that the command line names, and where it lies. Raises UsageError."""
    path = find_profile(named)
    return path, Profile.parse(read_bounded(path, limits.PROFILE_FILE, "a profile"), str(path))


def find_profile(named: str) -> Path:
    """A path, where `named` has a `/` or ends in `.yaml`; else a profile that ships with us.

    Raises:
        UsageError: no profile of that name ships; the known ones are listed.
    """
    if "/" in named or named.endswith(".yaml"):
        return Path(named)
    known = {path.stem: path for path in shipped_profiles()}
    if named not in known:
        raise UsageError(
            f"no profile is named '{named}'{nearest(named, known)}",
            hint=f"a file of your own is named by its path: ./{named}.yaml",
        )
    return known[named]


def shipped_profiles() -> Iterator[Path]:
    """The profiles that ship with us, by name; their locks lie beside them."""
    for path in sorted(SHIPPED.glob("*.yaml")):
        if not path.name.endswith(".lock.yaml"):
            yield path


def _read(document: YamlDocument, values: dict[str, yaml.Node], sha256: str) -> Profile:
    if schema := values.get("profile"):
        document.integer(schema, "'profile' (the schema)", least=SCHEMA, most=SCHEMA)
    diarization = _choice(document, values, "diarization", DIARIZATIONS)
    profile = Profile(
        name=_name(document, values.get("name")),
        description=_text(document, values.get("description"), "'description'"),
        device=_choice(document, values, "device", DEVICES),
        diarization=diarization,
        hash=_choice(document, values, "hash", tuple(HASHES)) or "sha256",
        expires_after_days=_days(document, values.get("expires_after_days")),
        models=_models(document, values.get("models")),
        sha256=sha256,
        scan=_scan(document, values.get("scan")),
        images=_images(document, values.get("images")),
        runtime=_runtime(document, values.get("runtime")),
    )
    _check_speakers(document, values, profile)
    _check_extras(document, values, profile)
    return profile


def _text(document: YamlDocument, node: yaml.Node | None, what: str) -> str:
    return document.text(node, what) if node else ""


def _choice(
    document: YamlDocument, values: dict[str, yaml.Node], key: str, choices: tuple[str, ...]
) -> str:
    node = values.get(key)
    return document.choice(node, choices, f"'{key}'") if node else ""


def _scan(document: YamlDocument, node: yaml.Node | None) -> ScanPolicy:
    return read_policy(document, node) if node else ScanPolicy()


def _images(document: YamlDocument, node: yaml.Node | None) -> tuple[WantedImage, ...]:
    return read_images(document, node) if node else ()


def _runtime(document: YamlDocument, node: yaml.Node | None) -> WantedRuntime | None:
    return read_runtime(document, node) if node else None


def _days(document: YamlDocument, node: yaml.Node | None) -> int | None:
    return document.integer(node, "'expires_after_days'", least=1, most=36_500) if node else None


def _name(document: YamlDocument, node: yaml.Node | None) -> str:
    name = _text(document, node, "'name'")
    if node and name and not is_name(name):
        expected = "up to 64 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit"
        document.defect(node, f"'name': expected {expected}, found '{name}'")
    return name


def _models(document: YamlDocument, node: yaml.Node | None) -> tuple[WantedModel, ...]:
    if node is None:
        return ()
    models: dict[str, WantedModel] = {}
    for item in document.items(node, "'models'"):
        model = _model(document, item)
        if model.name and model.name in models:
            document.defect(item, f"'{model.name}' stands twice in 'models'")
        models[model.name] = model
    if models and not any(model.role == "asr" for model in models.values()):
        document.defect(node, "'models': expected one of role asr, found none")
    return tuple(models.values())


def _model(document: YamlDocument, node: yaml.Node) -> WantedModel:
    """`ROLE: NAME`, and a `revision` if one is wanted."""
    keys = dict.fromkeys((*ENGINES, "revision"), False)
    values = document.mapping(node, keys, "a model")
    revision = values.pop("revision", None)
    if len(values) != 1:
        if isinstance(node, yaml.MappingNode):
            found = ", ".join(values) or "no role"
            document.defect(node, f"a model: expected one role and its name, found {found}")
        return WantedModel("", "")
    ((role, named),) = values.items()
    name = document.text(named, f"the model for '{role}'")
    _check_name(document, named, role, name)
    if revision is None:
        return WantedModel(role, name)
    return WantedModel(role, name, document.text(revision, "'revision'", _REVISION))


def _check_name(document: YamlDocument, node: yaml.Node, role: str, name: str) -> None:
    if not name:
        return
    if entry := CATALOG.get(name):
        if entry.role != role:
            document.defect(node, f"'{name}' is of role '{entry.role}', not '{role}'")
    elif "/" not in name:
        known = [entry.name for entry in CATALOG.values() if entry.role == role]
        advice = nearest(name, known) if known else ""
        document.defect(node, f"unknown model '{name}'{advice}; or ORG/NAME on the hub")
    elif role == "sample":
        document.defect(node, f"a sample is one of the catalog's, not '{name}' on the hub")
    elif not REPOSITORY.fits(name) or not is_name(entry_for(role, name, "none").name):
        document.defect(node, f"'{name}' is not {REPOSITORY.words}")


def _check_speakers(document: YamlDocument, values: dict[str, yaml.Node], profile: Profile) -> None:
    """No feature may be missing in silence: who promises speakers must carry their models."""
    node, wanted = values.get("diarization"), profile.diarization
    if node is None or not wanted or not all(model.role for model in profile.models):
        return
    present = {
        model.role
        for model in profile.models
        if entry_for(model.role, model.name, wanted).engine == wanted
    }
    if wanted != "none" and not any(roles <= present for roles in DIARIZERS[wanted]):
        needed = ", or ".join(" with ".join(sorted(roles)) for roles in DIARIZERS[wanted])
        document.defect(node, f"'diarization: {wanted}' needs models of {wanted}: {needed}")


def _check_extras(document: YamlDocument, values: dict[str, yaml.Node], profile: Profile) -> None:
    """What travels along must be able to do what the profile promises, on its device alone."""
    if profile.runtime is None or not profile.runtime.extras:
        return
    node, present = values["runtime"], profile.runtime.extras
    for needed in profile.extras:
        if needed and needed not in present:
            document.defect(node, f"'extras': this profile needs '{needed}' as well")
    if profile.device == "cpu" and "gpu" in present:
        document.defect(node, "'extras': 'gpu' is of no use with 'device: cpu'")
