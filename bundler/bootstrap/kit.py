"""Wheels of a bundle -> the few of them that `airgap verify` needs, beside it in plain files.

They are the base install of this project, and pip, which installs them. The statement names the
digests of `bootstrap.sh` and of `bootstrap/SHA256SUMS`; the rest hangs on that list.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from airgap import checksums
from airgap.bootstrap_text import FOLDER
from airgap.errors import AirgapError
from airgap.manifest import File, Manifest
from airgap.pack import Opener
from airgap.statement import BOOTSTRAP, BOOTSTRAP_SUMS
from bundler.wheelhouse.metadata import read_metadata
from bundler.wheelhouse.names import normalised
from bundler.wheelhouse.own import PROJECT
from bundler.wheelhouse.resolving import INSTALLER
from bundler.wheelhouse.targets import Target

SCRIPT: Final = Path(__file__).parent / BOOTSTRAP

_REQUIREMENTS: Final = re.compile(r"wheels/requirements-(.+)\.txt")
_PINNED: Final = re.compile(r"([a-z0-9-]+)(?:\[[^]]*\])?(==\S+ --hash=sha256:([0-9a-f]{64}))")


@dataclass(frozen=True)
class Kit:
    """The files of a bootstrap.

    Attributes:
        signed: content of what the statement names, by the subject's name.
        texts: content of other small files that were made, by their names below the folder
            `bootstrap`.
        taken: files of the bundle that lie there too, by their names there.
    """

    signed: Mapping[str, bytes] = field(default_factory=dict)
    texts: Mapping[str, bytes] = field(default_factory=dict)
    taken: Mapping[str, File] = field(default_factory=dict)


def make_kit(manifest: Manifest, opened: Opener) -> Kit:
    """The bootstrap of a bundle; an empty one where it carries no runtime.

    Raises:
        AirgapError: a wheel that the base install needs, or pip, is not among those of a target.
    """
    texts, taken = dict[str, bytes](), dict[str, File]()
    for file in manifest.files:
        found = _REQUIREMENTS.fullmatch(file.path)
        if found is None:
            continue
        target = Target.parse(found[1])
        with opened(file) as stream:
            pinned = _Pinned.read(stream.read().decode(), manifest, target)
        needed = sorted(pinned.needed(opened))
        lines = (f"{name}{pinned.lines[name]}\n" for name in needed)
        texts[f"requirements-{target.name}.txt"] = "".join(lines).encode()
        taken |= {_base_name(pinned.wheels[name]): pinned.wheels[name] for name in needed}
        taken |= {
            f"python-{target.name}.tar.gz": one
            for one in manifest.files
            if one.path == f"wheels/python/{target.name}.tar.gz"
        }
    if not texts:
        return Kit()
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in texts.items()}
    digests |= {name: file.sha256 for name, file in taken.items()}
    signed = {BOOTSTRAP: SCRIPT.read_bytes(), BOOTSTRAP_SUMS: checksums.text(digests).encode()}
    return Kit(signed, texts, taken)


def write_kit(kit: Kit, folder: Path, opened: Opener) -> None:
    """Put a bootstrap into the folder of its bundle, which nobody else sees yet.

    Raises:
        AirgapError: a file cannot be written.
    """
    if not kit.signed:
        return
    try:
        (folder / FOLDER).mkdir(exist_ok=True)
        for name, content in kit.signed.items():
            (folder / name).write_bytes(content)
        for name, content in kit.texts.items():
            (folder / FOLDER / name).write_bytes(content)
        for name, file in kit.taken.items():
            with opened(file) as stream, (folder / FOLDER / name).open("wb") as copy:
                while piece := stream.read(1 << 20):
                    copy.write(piece)
    except OSError as error:
        raise AirgapError(
            f"cannot write '{folder / FOLDER}': {error.strerror}", hint="free some space"
        ) from error


@dataclass(frozen=True)
class _Pinned:
    """What one target installs, by normalised name."""

    target: Target
    lines: Mapping[str, str]
    wheels: Mapping[str, File]

    @classmethod
    def read(cls, text: str, manifest: Manifest, target: Target) -> _Pinned:
        by_digest = {file.sha256: file for file in manifest.files if file.path.endswith(".whl")}
        found = [one for line in text.splitlines() if (one := _PINNED.fullmatch(line))]
        return cls(
            target,
            {one[1]: one[2] for one in found},
            {one[1]: by_digest[one[3]] for one in found if one[3] in by_digest},
        )

    def needed(self, opened: Opener) -> set[str]:
        """The base install, and pip: what they require, and what that requires."""
        needed: set[str] = set()
        wanted = [PROJECT, INSTALLER]
        while wanted:
            name = wanted.pop()
            if name in needed:
                continue
            if name not in self.wheels:
                raise AirgapError(
                    f"the wheels for {self.target.name} lack '{name}', which a host needs to "
                    "verify a bundle",
                    hint="airgap lock, once more",
                )
            needed.add(name)
            wanted += self._required(self.wheels[name], opened)
        return needed

    def _required(self, wheel: File, opened: Opener) -> Iterator[str]:
        environment = {**self.target.environment(), "extra": ""}
        with opened(wheel) as stream:
            requires = read_metadata(stream, wheel.path).requires
        for requirement in map(Requirement, requires):
            if requirement.marker is None or requirement.marker.evaluate(environment):
                yield normalised(requirement.name)


def _base_name(file: File) -> str:
    return file.path.rpartition("/")[2]
