"""Manifest, profile, lock and scan -> REVIEW.html, self-contained and the same bytes every time.

It is made before anyone signs, so it names no signer; and it lies inside the bundle, so it cannot
know the bundle's digests. Its commands read those from the statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from airgap.console import human_size
from airgap.licences import is_non_commercial
from airgap.manifest import Artifact, File, Manifest
from bundler.changes import Changes
from bundler.lock import Lock
from bundler.profile import Profile
from bundler.review.visible import visible
from bundler.scan.verdict import Scan
from bundler.wheelhouse.names import release_of
from bundler.wheelhouse.programs import BUILT_RULE

_FOLDER: Final = Path(__file__).parent

_PROGRAMS: Final = frozenset({"wheels", "python"})
"""Roles of what is installed, and not loaded by an engine."""


@dataclass(frozen=True)
class Model:
    """An artifact as the page shows it.

    Attributes:
        origin: where its files come from, for a person.
        size: of its files, in bytes.
        loaded: whether it was loaded before signing; None where nothing can load it.
    """

    artifact: Artifact
    origin: str
    files: Sequence[File]
    size: int
    non_commercial: bool
    loaded: bool | None


@dataclass(frozen=True)
class Program:
    """A release of wheels, or a carried Python, as the page shows it.

    Attributes:
        version: of a release; of a Python, the target that it is.
        files: how many, in how many bytes.
        commands: what installing it puts on the path.
        native: how many of its files are libraries or programs of the machine.
        built: whether it was made from source here.
        built_from: package URLs of that source and, after it, of what built it; none for the
            project itself.
    """

    artifact: Artifact
    name: str
    version: str
    files: Sequence[File]
    size: int
    commands: Sequence[str]
    native: int
    built: bool
    built_from: Sequence[str]


def review_page(
    manifest: Manifest,
    profile: Profile,
    lock: Lock,
    scan: Scan | None,
    changed: Changes | None = None,
) -> bytes:
    """REVIEW.html.

    Args:
        manifest: of the bundle, with the files of its models; the papers may be missing.
        profile: what was wanted.
        lock: where each model's files come from.
        scan: every file that was judged; None where none was.
        changed: since a bundle before this one; None where none was given.
    """
    text = _template().render(
        manifest=manifest,
        profile=profile,
        title=f"{manifest.name}-{manifest.version}",
        models=_models(manifest, lock),
        programs=_programs(manifest, scan),
        size=sum(file.size for file in manifest.files if file.artifact),
        count=sum(1 for file in manifest.files if file.artifact),
        scan=scan,
        changed=changed,
        exempt=manifest.scan.exempt if manifest.scan else (),
        not_loaded=manifest.dry_load.exempt if manifest.dry_load else (),
    )
    return text.encode()


def _models(manifest: Manifest, lock: Lock) -> list[Model]:
    origins = {model.id: model.sources[0].name for model in lock.models}
    skipped = {one.subject for one in manifest.dry_load.exempt} if manifest.dry_load else set()
    models = []
    for artifact in manifest.artifacts:
        if artifact.role in _PROGRAMS:
            continue
        files = manifest.files_of(artifact)
        is_tried = manifest.dry_load is not None and artifact.id not in skipped
        models.append(
            Model(
                artifact,
                origins[artifact.id],
                files,
                sum(file.size for file in files),
                is_non_commercial(artifact.licence),
                is_tried if artifact.engine else None,
            )
        )
    return models


def _programs(manifest: Manifest, scan: Scan | None) -> list[Program]:
    judged = {one.path: one for one in scan.judged} if scan else {}
    of = {file.path: file.artifact for file in manifest.files}
    derived = (one for one in manifest.derived if one.rule == BUILT_RULE)
    sources = {of[one.path]: one.sources for one in derived}
    programs = []
    for artifact in manifest.artifacts:
        if artifact.role not in _PROGRAMS:
            continue
        files = manifest.files_of(artifact)
        release = release_of(artifact, files)
        seen = [judged[file.path] for file in files if file.path in judged]
        programs.append(
            Program(
                artifact,
                release.name if release else "Python",
                release.version if release else artifact.id.removeprefix("python-"),
                files,
                sum(file.size for file in files),
                sorted({command for one in seen for command in one.commands}),
                max((one.native for one in seen), default=0),
                any(file.path in manifest.built for file in files),
                sources.get(artifact.id, ()),
            )
        )
    return programs


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["human_size"] = human_size
    return environment.get_template("review.html")
