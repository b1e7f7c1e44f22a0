"""The lock's key `runtime`: every wheel of every target, by size and SHA-256."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from airgap.yaml_document import YamlDocument
from bundler.locked_model import LockedFile, LockedModel, file_entry, read_files
from bundler.sources import Source
from bundler.sources.reading import read_source
from bundler.wheelhouse.from_source import FromSource
from bundler.wheelhouse.names import RELEASE, WHEEL, WheelName, identity
from bundler.wheelhouse.recipe import Recipe, read_recipe
from bundler.wheelhouse.targets import TARGET, Target
from bundler.wheelhouse.wanted import EXTRAS

KEYS: Final = {
    "extras": True,
    "sources": True,
    "targets": True,
    "releases": False,
    "interpreters": False,
}
TARGET_KEYS: Final = {"target": True, "wheels": False}
RELEASE_KEYS: Final = {"release": True, "licence": True, "files": True, "built": False}
INTERPRETER_KEYS: Final = {"target": True, "licence": True, "sources": True, "files": True}

WHEELS: Final = "wheels"
PYTHON: Final = "python"
"""The roles of what a runtime brings."""


@dataclass(frozen=True)
class Release:
    """One version of a project, as wheels.

    Attributes:
        name: `NAME==VERSION`, the name normalised.
        licence: as its metadata names it.
        files: its wheels, by their names; several targets share what fits them.
        recipe: how its one wheel is built; None where it is published.
    """

    name: str
    licence: str
    files: tuple[LockedFile, ...]
    recipe: Recipe | None = None


@dataclass(frozen=True)
class LockedTarget:
    """What one target installs.

    Attributes:
        target: for which Python and platform.
        wheels: their names, sorted; none where it was never resolved.
    """

    target: Target
    wheels: tuple[str, ...]


@dataclass(frozen=True)
class LockedInterpreter:
    """A Python that travels along.

    Attributes:
        target: what it is.
        files: its one archive, by the publisher's name.
    """

    target: Target
    licence: str
    sources: tuple[Source, ...]
    files: tuple[LockedFile, ...]


@dataclass(frozen=True)
class LockedRuntime:
    """What the isolated host installs, beside the wheel of this project, which no lock can name.

    Attributes:
        extras: of this project.
        sources: where wheels can come from, in the order to try, whichever wheel it is.
        targets: for which Pythons and platforms.
        releases: by name.
        interpreters: Pythons that travel along.
    """

    extras: tuple[str, ...]
    sources: tuple[Source, ...]
    targets: tuple[LockedTarget, ...]
    releases: tuple[Release, ...] = ()
    interpreters: tuple[LockedInterpreter, ...] = ()

    @property
    def artifacts(self) -> tuple[LockedModel, ...]:
        """The releases and the interpreters, as the artifacts that a bundle has them as."""
        releases = (
            _artifact(identity(one.name), WHEELS, one.licence, self._sources_of(one), one.files)
            for one in self.releases
        )
        pythons = (
            _artifact(f"{PYTHON}-{one.target.name}", PYTHON, one.licence, one.sources, one.files)
            for one in self.interpreters
        )
        return (*releases, *pythons)

    def _sources_of(self, release: Release) -> tuple[Source, ...]:
        if release.recipe is None:
            return self.sources
        return (FromSource(release.name, release.recipe, self.sources),)

    def missing(self) -> list[str]:
        """What must still be learnt before this can be built, one sentence each."""
        return [
            f"runtime: what {one.target.name} installs is not known"
            for one in self.targets
            if not one.wheels
        ]

    def as_lock(self) -> dict[str, Any]:
        """The value of the lock's key `runtime`, that `read_runtime` reads."""
        entries = {
            "extras": list(self.extras),
            "sources": [source.as_lock() for source in self.sources],
            "targets": [
                {
                    "target": one.target.name,
                    **({"wheels": list(one.wheels)} if one.wheels else {}),
                }
                for one in self.targets
            ],
            "releases": [
                {
                    "release": one.name,
                    "licence": one.licence,
                    "files": [file_entry(file) for file in one.files],
                    **({"built": one.recipe.as_lock()} if one.recipe else {}),
                }
                for one in self.releases
            ],
            "interpreters": [
                {
                    "target": one.target.name,
                    "licence": one.licence,
                    "sources": [source.as_lock() for source in one.sources],
                    "files": [file_entry(file) for file in one.files],
                }
                for one in self.interpreters
            ],
        }
        return {key: value for key, value in entries.items() if value}


def _artifact(
    identifier: str,
    role: str,
    licence: str,
    sources: tuple[Source, ...],
    files: tuple[LockedFile, ...],
) -> LockedModel:
    return LockedModel(
        id=identifier,
        role=role,
        engine=None,
        repository=None,
        commit=None,
        licence=licence,
        gated=False,
        sources=sources,
        files=files,
    )


def read_runtime(document: YamlDocument, node: yaml.Node) -> LockedRuntime:
    """Take the key `runtime` apart; defects go where `document` collects them."""
    values = document.mapping(node, KEYS, "'runtime'")
    document.finish()  # what follows needs every key
    runtime = LockedRuntime(
        extras=tuple(
            document.choice(one, EXTRAS, "an extra")
            for one in document.items(values["extras"], "'extras'")
        ),
        sources=_sources(document, values["sources"]),
        targets=tuple(
            _target(document, one) for one in document.items(values["targets"], "'targets'")
        ),
        releases=tuple(_entries(document, values.get("releases"), "'releases'", _release)),
        interpreters=tuple(
            _entries(document, values.get("interpreters"), "'interpreters'", _interpreter)
        ),
    )
    for defect in _contradictions(runtime):
        document.defect(node, defect)
    return runtime


def _entries(document: YamlDocument, node: yaml.Node | None, what: str, read: Any) -> Iterator[Any]:
    for one in document.items(node, what) if node else ():
        yield read(document, one)
    document.finish()


def _sources(document: YamlDocument, node: yaml.Node) -> tuple[Source, ...]:
    return tuple(read_source(document, one) for one in document.items(node, "'sources'"))


def _target(document: YamlDocument, node: yaml.Node) -> LockedTarget:
    values = document.mapping(node, TARGET_KEYS, "a target")
    wheels = values.get("wheels")
    return LockedTarget(
        _target_named(document, values.get("target")),
        tuple(document.text(one, "a wheel", WHEEL) for one in document.items(wheels, "'wheels'"))
        if wheels
        else (),
    )


def _target_named(document: YamlDocument, node: yaml.Node | None) -> Target:
    name = document.text(node, "'target'", TARGET) if node else ""
    return Target.parse(name) if name else Target("", "")


def _release(document: YamlDocument, node: yaml.Node) -> Release:
    values = document.mapping(node, RELEASE_KEYS, "a release")
    document.finish()
    name = document.text(values["release"], "'release'", RELEASE)
    files = read_files(document, values["files"])
    recipe = read_recipe(document, values["built"], name) if "built" in values else None
    if recipe and len(files) != 1:
        document.defect(values["files"], f"'files': one wheel is built, found {len(files)}")
    return Release(name, document.text(values["licence"], "'licence'"), files, recipe)


def _interpreter(document: YamlDocument, node: yaml.Node) -> LockedInterpreter:
    values = document.mapping(node, INTERPRETER_KEYS, "an interpreter")
    document.finish()
    files = read_files(document, values["files"])
    if len(files) != 1:
        document.defect(values["files"], f"'files': expected one archive, found {len(files)}")
    return LockedInterpreter(
        _target_named(document, values["target"]),
        document.text(values["licence"], "'licence'"),
        _sources(document, values["sources"]),
        files,
    )


def _contradictions(runtime: LockedRuntime) -> Iterator[str]:
    """Wheels of no release, or of another one; releases, targets and wheels that stand twice."""
    known: set[str] = set()
    for one in runtime.releases:
        for file in one.files:
            if not WHEEL.fits(file.path) or WheelName.parse(file.path).release != one.name:
                yield f"'{file.path}' is not a wheel of '{one.name}'"
            if file.path in known:
                yield f"'{file.path}' stands twice in 'releases'"
            known.add(file.path)
    ids = [one.id for one in runtime.artifacts]
    yield from (
        f"'{one}' stands twice in 'runtime'" for one in sorted({*ids}) if ids.count(one) > 1
    )
    targets = [one.target for one in runtime.targets]
    if len(set(targets)) != len(targets):
        yield "a target stands twice in 'targets'"
    for target in runtime.targets:
        for wheel in target.wheels:
            if wheel not in known:
                yield f"'{wheel}' of {target.target.name} is of no release"
