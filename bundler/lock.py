"""YAML <-> Lock: every file of every model, with commit, size and SHA-256.

Round trip: `Lock.parse(lock.to_bytes(), file) == lock`; and a lock that `airgap lock` wrote is,
byte for byte, what `to_bytes` makes of it. Schema: docs/profiles.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from airgap import limits
from airgap.errors import UsageError
from airgap.files import read_bounded
from airgap.strict_json import is_name, is_time
from airgap.yaml_document import YamlDocument
from bundler.catalog import CATALOG
from bundler.locked_model import (
    MODEL_KEYS,
    SHA256,
    LockedFile,
    LockedModel,
    model_entry,
    read_model,
)
from bundler.profile import Profile
from bundler.wheelhouse.locked import LockedRuntime, read_runtime

__all__ = ["Lock", "LockedFile", "LockedModel", "lock_path", "read_lock"]

SCHEMA: Final = 1

KEYS: Final = {
    "lock": True,
    "name": True,
    "version": True,
    "sequence": True,
    "created": True,
    "profile_sha256": True,
    "models": True,
    "runtime": False,
}

_HEADER: Final = """\
# Written by `airgap lock`. A build takes no byte that is not named here. The sources of a model
# may be edited: they are tried in order, and whichever serves, the bytes must match.
"""

_NO_LINE_BREAKS: Final = 1 << 20  # columns: one file, one line, so that diffs read well


@dataclass(frozen=True)
class Lock:
    """What one version of a bundle consists of.

    Attributes:
        sequence: grows with every change; hosts refuse to go back.
        created: when it was last changed, RFC 3339, UTC, whole seconds.
        profile_sha256: of the profile's bytes that it was made from.
        runtime: the wheels that travel with the models; None where the host brings its own.
    """

    name: str
    version: str
    sequence: int
    created: str
    profile_sha256: str
    models: tuple[LockedModel, ...]
    runtime: LockedRuntime | None = None

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
            "models": [model_entry(model) for model in self.models],
            **({"runtime": self.runtime.as_lock()} if self.runtime else {}),
        }
        body = yaml.safe_dump(
            entries,
            sort_keys=False,
            default_flow_style=None,
            allow_unicode=True,
            width=_NO_LINE_BREAKS,
        )
        return (_HEADER + body).encode()

    @property
    def artifacts(self) -> tuple[LockedModel, ...]:
        """The models, then the releases of the runtime, each in the lock's order."""
        return (*self.models, *(self.runtime.artifacts if self.runtime else ()))

    def files(self) -> Iterator[tuple[LockedModel, LockedFile]]:
        """Every file with its artifact, in the lock's order."""
        for model in self.artifacts:
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
        if self.runtime:
            defects += self.runtime.missing()
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
        profile_sha256=document.text(values["profile_sha256"], "'profile_sha256'", SHA256),
        models=(models := _models(document, values["models"])),
        runtime=_runtime(document, values.get("runtime"), models),
    )


def _models(document: YamlDocument, node: yaml.Node) -> tuple[LockedModel, ...]:
    models: dict[str, LockedModel] = {}
    for item in document.items(node, "'models'"):
        values = document.mapping(item, MODEL_KEYS, "a model")
        if all(key in values for key, needed in MODEL_KEYS.items() if needed):
            model = read_model(document, values)
            if model.id in models:
                document.defect(item, f"'{model.id}' stands twice in 'models'")
            models[model.id] = model
    return tuple(models.values())


def _runtime(
    document: YamlDocument, node: yaml.Node | None, models: tuple[LockedModel, ...]
) -> LockedRuntime | None:
    if node is None:
        return None
    runtime = read_runtime(document, node)
    for twice in {one.id for one in runtime.artifacts} & {one.id for one in models}:
        document.defect(node, f"'{twice}' is a model as well")
    return runtime
