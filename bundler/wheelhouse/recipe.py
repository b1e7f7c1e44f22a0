"""How a release without a wheel becomes one: the lock's key `built` of that release."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import yaml

from airgap.yaml_document import Form, YamlDocument
from bundler.locked_model import LockedFile, file_entry, read_files
from bundler.wheelhouse.names import SDIST, SOURCE, WHEEL, WheelName, project_of, release_of_sdist

KEYS: Final = {"sdist": True, "backend": True, "with": False}

_NAME: Final = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
BACKEND: Final = Form(re.compile(rf"{_NAME}(?::{_NAME})?"), "a build backend (PEP 517)")

_NOTHING: Final = LockedFile("", None, None)


@dataclass(frozen=True)
class Recipe:
    """From which source a wheel is built, and by what.

    Attributes:
        sdist: the release's source.
        backend: what builds it, `MODULE` or `MODULE:OBJECT` (PEP 517).
        tools: the wheels that the backend is made of, pure ones.
    """

    sdist: LockedFile
    backend: str
    tools: tuple[LockedFile, ...]

    @property
    def purls(self) -> tuple[str, ...]:
        """Package URLs of source and tools, the source first, each with its SHA-256."""
        return tuple(_purl(one) for one in (self.sdist, *self.tools))

    def as_lock(self) -> dict[str, Any]:
        """The value of the key `built`, that `read_recipe` reads."""
        entry: dict[str, Any] = {"sdist": file_entry(self.sdist), "backend": self.backend}
        if self.tools:
            entry["with"] = [file_entry(one) for one in self.tools]
        return entry


def read_recipe(document: YamlDocument, node: yaml.Node, release: str) -> Recipe:
    """Take the key `built` of a release apart; defects go where `document` collects them."""
    values = document.mapping(node, KEYS, "'built'")
    document.finish()  # what follows needs every key
    (sdist,) = read_files(document, yaml.SequenceNode("", [values["sdist"]])) or (_NOTHING,)
    if not SOURCE.fits(sdist.path) or project_of(sdist.path) != release.partition("==")[0]:
        document.defect(values["sdist"], f"'{sdist.path}' is not an sdist of '{release}'")
    tools = read_files(document, values["with"]) if "with" in values else ()
    for one in (sdist, *tools):
        if one.size is None or one.sha256 is None:
            document.defect(node, f"'{one.path}' lacks its size or its sha256")
        if one is not sdist and not WHEEL.fits(one.path):
            document.defect(node, f"'{one.path}' is not the name of a wheel")
    return Recipe(sdist, document.text(values["backend"], "'backend'", BACKEND), tools)


def _purl(file: LockedFile) -> str:
    """https://github.com/package-url/purl-spec, type `pypi`."""
    is_sdist = file.path.endswith(SDIST)
    release = release_of_sdist(file.path) if is_sdist else WheelName.parse(file.path).release
    name, _, version = release.partition("==")
    checksum = f"checksum=sha256:{file.sha256}"
    return f"pkg:pypi/{name}@{quote(version, safe='')}?{checksum}&file_name={quote(file.path)}"
