"""The profile's key `runtime`: what the isolated host shall be able to install from the bundle."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import yaml

from airgap.yaml_document import Form, YamlDocument
from bundler.sources import Source
from bundler.sources.reading import ADDRESS, read_source
from bundler.wheelhouse.targets import PLATFORM, PYTHONS, TARGET, Target

EXTRAS: Final = ("cpu", "gpu", "server", "nemo", "pyannote", "emotion", "recovery")
"""The extras of this project that serve on an isolated host."""

NONE: Final = "none"
HOST: Final = "host"
CARRIED: Final = "carried"

KEYS: Final = {
    "extras": True,
    "python": False,
    "pythons": False,
    "platforms": False,
    "interpreters": False,
    "indexes": False,
    "no_binary": False,
}
INTERPRETER_KEYS: Final = {
    "target": True,
    "file": True,
    "source": True,
    "sha256": False,
    "licence": False,
}

_PROJECT: Final = Form(re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*"), "the normalised name of a project")
_ARCHIVE: Final = Form(re.compile(r"[A-Za-z0-9][\w.+-]*\.tar\.gz"), "the name of a .tar.gz")
_SHA256: Final = Form(re.compile(r"[0-9a-f]{64}"), "64 hex digits")

_LICENCE: Final = "PSF-2.0"
"""CPython's own; an archive has parts of other licences, and lists them."""


@dataclass(frozen=True)
class WantedInterpreter:
    """A relocatable Python that shall travel along.

    Attributes:
        target: what it is.
        file: its archive's name at the source.
        source: where it is published.
        sha256: as its publisher gives it; None trusts what the source has when it is locked.
    """

    target: Target
    file: str
    source: Source
    sha256: str | None
    licence: str


@dataclass(frozen=True)
class WantedRuntime:
    """What a bundle shall bring so that the isolated host can run it.

    Attributes:
        extras: of this project.
        targets: for which Pythons and platforms, sorted.
        interpreters: of every target, where Python itself is carried; else none.
        indexes: projects that are taken from an index of their own: name and address, sorted.
        no_binary: projects that are built here from source, as pip's option of that name; sorted.
    """

    extras: tuple[str, ...]
    targets: tuple[Target, ...]
    interpreters: tuple[WantedInterpreter, ...] = ()
    indexes: tuple[tuple[str, str], ...] = ()
    no_binary: tuple[str, ...] = ()


def read_runtime(document: YamlDocument, node: yaml.Node) -> WantedRuntime | None:
    """The profile's key `runtime`; defects go where `document` collects them."""
    if isinstance(node, yaml.ScalarNode):
        if node.value != NONE:
            expected = f"expected {NONE}, or what shall travel (extras, pythons, platforms)"
            document.defect(node, f"'runtime': {expected}, found '{node.value}'")
        return None
    values = document.mapping(node, KEYS, "'runtime'")
    python = values.get("python")
    chosen = document.choice(python, (HOST, CARRIED), "'python'") if python else HOST
    extras, indexes, source = (values.get(key) for key in ("extras", "indexes", "no_binary"))
    interpreters = _interpreters(document, node, values, is_carried=chosen == CARRIED)
    targets = {one.target for one in interpreters}
    if chosen != CARRIED:
        targets = _targets(document, node, values)
    return WantedRuntime(
        extras=_choices(document, extras, "'extras'", EXTRAS) if extras else (),
        targets=tuple(sorted(targets)),
        interpreters=tuple(sorted(interpreters, key=lambda one: one.target)),
        indexes=_indexes(document, indexes) if indexes else (),
        no_binary=_projects(document, source) if source else (),
    )


def extras_for(device: str, diarization: str, roles: Collection[str]) -> tuple[str, ...]:
    """The extras without which the isolated host could not do what a profile promises.

    Args:
        device: `cpu` or `gpu`.
        diarization: the back end, or `none`.
        roles: of the profile's models.
    """
    speakers = () if diarization == NONE else (diarization,)
    return (device, *speakers, *(("emotion",) if "emotion" in roles else ()))


def _targets(document: YamlDocument, node: yaml.Node, values: dict[str, yaml.Node]) -> set[Target]:
    pythons, platforms = values.get("pythons"), values.get("platforms")
    if pythons is None or platforms is None:
        lacking = "pythons" if pythons is None else "platforms"
        document.defect(node, f"'runtime' lacks '{lacking}'; or 'python: {CARRIED}' brings its own")
        return set()
    found = [
        document.text(one, "a platform", PLATFORM)
        for one in document.items(platforms, "'platforms'")
    ]
    machines = [Target("", platform).machine for platform in found if platform]
    if len(set(machines)) != len(machines):
        document.defect(platforms, "'platforms': expected one of each machine, the oldest glibc")
    return {
        Target(python, platform)
        for python in _choices(document, pythons, "'pythons'", PYTHONS)
        for platform in found
        if python and platform
    }


def _interpreters(
    document: YamlDocument, node: yaml.Node, values: dict[str, yaml.Node], *, is_carried: bool
) -> tuple[WantedInterpreter, ...]:
    listed = values.get("interpreters")
    if not is_carried:
        if listed is not None:
            document.defect(listed, f"'interpreters' belong to 'python: {CARRIED}'")
        return ()
    for key in ("pythons", "platforms"):
        if key in values:
            document.defect(
                values[key], f"'{key}' follow from 'interpreters' where they are carried"
            )
    if listed is None:
        document.defect(node, f"'python: {CARRIED}' needs 'interpreters'")
        return ()
    found = [_interpreter(document, one) for one in document.items(listed, "'interpreters'")]
    targets = [one.target for one in found]
    if len(set(targets)) != len(targets):
        document.defect(listed, "'interpreters': a target stands twice")
    return tuple(found)


def _interpreter(document: YamlDocument, node: yaml.Node) -> WantedInterpreter:
    values = document.mapping(node, INTERPRETER_KEYS, "an interpreter")
    document.finish()  # what follows needs every key
    target = document.text(values["target"], "'target'", TARGET)
    sha256, licence = values.get("sha256"), values.get("licence")
    return WantedInterpreter(
        target=Target.parse(target) if target else Target("", ""),
        file=document.text(values["file"], "'file'", _ARCHIVE),
        source=read_source(document, values["source"]),
        sha256=document.text(sha256, "'sha256'", _SHA256) if sha256 else None,
        licence=document.text(licence, "'licence'") if licence else _LICENCE,
    )


def _choices(
    document: YamlDocument, node: yaml.Node, what: str, choices: tuple[str, ...]
) -> tuple[str, ...]:
    """Each of a list, once, in the order of `choices`."""
    found = [document.choice(one, choices, f"one of {what}") for one in document.items(node, what)]
    if len(set(found)) != len(found):
        document.defect(node, f"{what}: one stands twice")
    return tuple(one for one in choices if one in found)


def _projects(document: YamlDocument, node: yaml.Node) -> tuple[str, ...]:
    """Each by name: there is no word for all, for each is a program that runs on the builder."""
    found = [
        document.text(one, "a project", _PROJECT) for one in document.items(node, "'no_binary'")
    ]
    if len(set(found)) != len(found):
        document.defect(node, "'no_binary': a project stands twice")
    return tuple(sorted(found))


def _indexes(document: YamlDocument, node: yaml.Node) -> tuple[tuple[str, str], ...]:
    return tuple(
        sorted(
            (
                document.text(key, "a project", _PROJECT),
                document.text(address, "an address", ADDRESS),
            )
            for key, address in document.pairs(node, "'indexes'")
        )
    )
