"""Profile, lock and what was checked -> manifest and contents of a bundle, byte for byte the same.

The papers of the tree speak of the models, and so are made of a manifest that has only these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import zstandard

from airgap import __version__, checksums, papers, tar
from airgap.manifest import Check, File, Manifest
from airgap.strict_json import from_time, to_time
from bundler import delta, layout, own_papers
from bundler.changes import changes
from bundler.layout import Tree
from bundler.lock import Lock
from bundler.pipelines import with_pipelines
from bundler.profile import Profile
from bundler.review.page import review_page
from bundler.sbom import sbom
from bundler.scan.verdict import Verdict
from bundler.wheelhouse.programs import with_programs

Contents = Mapping[str, Path | bytes]
"""What each file of the tree holds: a file of the download cache, or the bytes themselves."""


@dataclass(frozen=True)
class Checks:
    """What became of the models before they were packed."""

    scan: Verdict
    dry_load: Check


def compose(
    profile: Profile,
    lock: Lock,
    cached: Mapping[str, Path],
    checks: Checks | None = None,
    *,
    tree: Tree | None = None,
    base: Manifest | None = None,
    previous: Manifest | None = None,
) -> tuple[Manifest, Contents]:
    """The manifest of a bundle, and where the bytes of each of its files are.

    Args:
        profile: what is wanted.
        lock: which bytes; of this very profile.
        cached: the file of each digest, in the download cache.
        checks: what the scan and the dry-load said; None where there were none.
        tree: as it was checked; None makes it.
        base: of the full bundle that this is a delta of.
        previous: of an older bundle, from which REVIEW.html tells the changes; else `base`.
    """
    tree = tree or whole_tree(lock, cached)
    files, contents = model_files(tree, cached)
    left = delta.left_out(files, base.files) if base else {}
    models = _manifest(profile, lock, tree, files, checks, base=base)
    scan = checks.scan.scan if checks else None
    since = previous or base
    changed = changes(since, models) if since else None
    by_hand = delta.by_hand(base, left) if base else b""
    made = {
        own_papers.README: own_papers.readme(lock.name, lock.version) + by_hand,
        papers.REVIEW: review_page(models, profile, lock, scan, changed),
        papers.SBOM: sbom(models),
    }
    if checks:
        made[own_papers.SCAN] = checks.scan.report
    made[checksums.FILE] = _sums(models, made)
    for path, content in made.items():
        files.append(_small_file(path, content, None))
        contents[path] = content
    files.sort(key=lambda file: file.path)
    return replace(models, files=_laid_out(files, left, lock.created)), contents


def whole_tree(lock: Lock, cached: Mapping[str, Path]) -> Tree:
    """Everything of a bundle but its own papers.

    Args:
        lock: complete.
        cached: the file of each digest, in the download cache.

    Raises:
        UsageError: a pipeline names what the bundle does not carry, or this project, which
            travels with its wheels, is not installed as it should be.
    """
    return with_programs(with_pipelines(layout.lay_out(lock), cached), lock)


def _manifest(
    profile: Profile,
    lock: Lock,
    tree: Tree,
    files: Sequence[File],
    checks: Checks | None,
    *,
    base: Manifest | None,
) -> Manifest:
    """The manifest as far as the models make it: without the papers, which speak of it."""
    return Manifest(
        name=lock.name,
        version=lock.version,
        sequence=lock.sequence,
        created=lock.created,
        expires=_expiry(profile, lock),
        base=delta.named(base, profile.hash) if base else None,
        profile=profile.name,
        profile_sha256=lock.profile_sha256,
        lock_sha256=hashlib.sha256(lock.to_bytes()).hexdigest(),
        built_with={
            "airgap": __version__,
            "zstd": ".".join(map(str, zstandard.ZSTD_VERSION)),
        },
        platform=_platform(lock),
        features={"diarization_enabled": profile.diarization != "none"},
        artifacts=tree.artifacts,
        files=tuple(files),
        derived=(*(made.derived for made in tree.made), *tree.derived),
        built=(*(one.path for one in tree.built), *(one.path for one in tree.derived)),
        scan=checks.scan.check if checks else None,
        dry_load=checks.dry_load if checks else None,
    )


def model_files(
    tree: Tree, cached: Mapping[str, Path]
) -> tuple[list[File], dict[str, Path | bytes]]:
    """The files of the models, without offsets, and where the bytes of each are."""
    files: list[File] = []
    contents: dict[str, Path | bytes] = {}
    for one in tree.locked:
        size, sha256 = one.file.size, one.file.sha256
        if size is None or sha256 is None:
            raise AssertionError("a lock was checked for completeness before its tree is built")
        files.append(File(one.path, size, sha256, one.file.git_blob, 0, one.artifact))
        contents[one.path] = cached[sha256]
    for made in tree.made:
        files.append(_small_file(made.derived.path, made.content, made.artifact))
        contents[made.derived.path] = made.content
    for built in tree.built:
        files.append(_small_file(built.path, built.content, built.artifact))
        contents[built.path] = built.content
    return files, contents


def _platform(lock: Lock) -> str:
    """What the programs run on: a compressed set of tags, as in a wheel's name (PEP 425)."""
    if lock.runtime is None:
        return "any"
    return ".".join(sorted({one.target.platform for one in lock.runtime.targets}))


def _laid_out(files: Sequence[File], left: Collection[str], created: str) -> tuple[File, ...]:
    """The files with the offsets that the tar gives to those which are not left to a base."""
    members = tar.members((file for file in files if file.path not in left), created)
    offsets = {file.path: file.offset for _header, file in members}
    return tuple(replace(file, offset=offsets.get(file.path)) for file in files)


def _sums(models: Manifest, made: Mapping[str, bytes]) -> bytes:
    """SHA256SUMS of all that is in the tree but the manifest, which comes after it, and itself."""
    digests = {file.path: file.sha256 for file in models.files}
    digests |= {path: hashlib.sha256(content).hexdigest() for path, content in made.items()}
    return checksums.text(digests).encode()


def _small_file(path: str, content: bytes, artifact: str | None) -> File:
    return File(path, len(content), hashlib.sha256(content).hexdigest(), None, 0, artifact)


def _expiry(profile: Profile, lock: Lock) -> str | None:
    if profile.expires_after_days is None:
        return None
    return to_time(from_time(lock.created) + timedelta(days=profile.expires_after_days))
