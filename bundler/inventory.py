"""What a bundle, a lock or a profile holds, in one form, so that any two can be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from airgap.console import human_size
from airgap.manifest import Artifact, File, Manifest
from bundler import layout
from bundler.lock import Lock
from bundler.profile import Profile
from bundler.wheelhouse.programs import with_programs

BUNDLE: Final = "bundle"
LOCK: Final = "lock"
PROFILE: Final = "profile"


@dataclass(frozen=True)
class Model:
    """A model as far as its inventory describes it.

    Attributes:
        id: its name in the bundle; in a profile, the name that it is wanted by.
        told: what a person reads about it where it is new or gone.
        traits: what can change about it, by name.
    """

    id: str
    told: str
    traits: Mapping[str, str]


@dataclass(frozen=True)
class Inventory:
    """What one side of a comparison holds.

    Attributes:
        kind: `BUNDLE`, `LOCK` or `PROFILE`.
        title: `NAME-VERSION`; of a profile its name.
        facts: what is said of the whole, by name: version, sequence, features, ….
        models: in its own order.
        files: of the models, and a bundle's own papers; none in a profile.
        verdicts: of scan and dry-load, and what was exempt from them, with the reason.
        findings: of the scan, with what was found; None where `scan.json` was not at hand.
        signatures: ids of the keys that claim to have signed; None where no head was at hand.
    """

    kind: str
    title: str
    facts: Mapping[str, str]
    models: tuple[Model, ...]
    files: tuple[File, ...]
    verdicts: Mapping[str, str]
    findings: Mapping[str, str] | None = None
    signatures: tuple[str, ...] | None = None


def of_manifest(manifest: Manifest) -> Inventory:
    """The inventory of a bundle, full or delta: what it mounts, not what it carries."""
    facts = {
        "name": manifest.name,
        "version": manifest.version,
        "sequence": str(manifest.sequence),
        "expires": manifest.expires or "never",
        "platform": manifest.platform,
        "profile": f"{manifest.profile} sha256 {manifest.profile_sha256}",
        "base": manifest.base.title if manifest.base else "none",
    }
    facts |= {f"built with {name}": version for name, version in manifest.built_with.items()}
    facts |= {name: _yes(there) for name, there in manifest.features.items()}
    return Inventory(
        kind=BUNDLE,
        title=manifest.title,
        facts=facts,
        models=tuple(_carried(one, manifest.files_of(one)) for one in manifest.artifacts),
        files=manifest.files,
        verdicts=dict(_verdicts(manifest)),
    )


def of_lock(lock: Lock) -> Inventory:
    """The inventory that a bundle of this lock would have. Raises UsageError: it is incomplete."""
    lock.check_complete()
    tree = with_programs(layout.lay_out(lock), lock)
    files = tuple(_files(tree))
    return Inventory(
        kind=LOCK,
        title=f"{lock.name}-{lock.version}",
        facts={
            "name": lock.name,
            "version": lock.version,
            "sequence": str(lock.sequence),
            "profile": f"{lock.name} sha256 {lock.profile_sha256}",
        },
        models=tuple(
            _carried(one, tuple(file for file in files if file.artifact == one.id))
            for one in tree.artifacts
        ),
        files=files,
        verdicts={},
    )


def of_profile(profile: Profile) -> Inventory:
    """What a profile wants; it names no bytes."""
    days = profile.expires_after_days
    return Inventory(
        kind=PROFILE,
        title=profile.name,
        facts={
            "name": profile.name,
            "device": profile.device,
            "diarization": profile.diarization,
            "hash": profile.hash,
            "expires": f"after {days} days" if days else "never",
            "dangers": profile.scan.dangers,
            "runtime": _runtime(profile),
        },
        models=tuple(
            Model(one.name, one.role, {"role": one.role, "revision": one.revision or "main"})
            for one in profile.models
        ),
        files=(),
        verdicts={
            f"waived {one.rule} in {one.model}/{one.file}": one.reason for one in profile.scan.waive
        },
    )


def _carried(one: Artifact, files: tuple[File, ...]) -> Model:
    size = human_size(sum(file.size for file in files))
    traits = {
        "role": one.role,
        "engine": one.engine or "none",
        "repository": one.repository or "none",
        "commit": one.commit or "none",
        "licence": one.licence,
        "gated": _yes(one.gated),
        "size": f"{_counted(len(files))}, {size}",
    }
    at = f"@{one.commit[:8]}" if one.commit else ""
    origin = f"{one.repository}{at}" if one.repository else "not on the hub"
    licence = f"{one.licence} (gated)" if one.gated else one.licence
    return Model(one.id, f"{one.role}, {origin}, {licence}, {traits['size']}", traits)


def _verdicts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    for name, check in (("scan", manifest.scan), ("dry-load", manifest.dry_load)):
        yield name, check.verdict if check else "none"
        for one in check.exempt if check else ():
            yield f"{name} exempt: {one.subject}", one.reason


def _files(tree: layout.Tree) -> Iterator[File]:
    for one in tree.locked:
        size, sha256 = one.file.size, one.file.sha256
        if size is None or sha256 is None:
            raise AssertionError("a lock is checked for completeness before it is compared")
        yield File(one.path, size, sha256, one.file.git_blob, None, one.artifact)
    for made in tree.made:
        sha256 = hashlib.sha256(made.content).hexdigest()
        yield File(made.derived.path, len(made.content), sha256, None, None, made.artifact)
    for built in tree.built:
        sha256 = hashlib.sha256(built.content).hexdigest()
        yield File(built.path, len(built.content), sha256, None, None, built.artifact)


def _counted(files: int) -> str:
    return "1 file" if files == 1 else f"{files} files"


def _runtime(profile: Profile) -> str:
    """What a profile wants the isolated host to install."""
    if profile.runtime is None:
        return "none"
    targets = " ".join(one.name for one in profile.runtime.targets)
    python = "carried" if profile.runtime.interpreters else "the host's Python"
    source = ", ".join(profile.runtime.no_binary)
    built = f", from source {source}" if source else ""
    return f"[{','.join(profile.runtime.extras)}] for {targets}, {python}{built}"


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"
