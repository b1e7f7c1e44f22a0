"""What differs between two inventories, in a form for people, for JSON and for a report."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from airgap.console import human_size
from airgap.errors import UsageError
from airgap.manifest import File, Manifest
from bundler import delta
from bundler.inventory import PROFILE, Inventory, of_manifest


@dataclass(frozen=True)
class Change:
    """One difference: `old` is None for what is new, `new` for what is gone."""

    what: str
    old: str | None
    new: str | None

    def __str__(self) -> str:
        if self.old is None:
            return f"+ {self.what}  {self.new}"
        if self.new is None:
            return f"- {self.what}  {self.old}"
        return f"~ {self.what}  {self.old} -> {self.new}"


@dataclass(frozen=True)
class Changes:
    """How a newer inventory differs from an older one; each group sorted as the newer one is.

    Attributes:
        old, new: titles of the two.
        facts: of the whole: version, sequence, expiry, features, ….
        models: added, removed, or with another commit, licence, ….
        files: of models that both have, named `MODEL/PATH` without the folder that a commit gives
            its name to, so that a file is only named where its content changed.
        findings: verdicts of scan and dry-load, what was exempt, and where both `scan.json` are at
            hand each finding.
        signatures: key ids that claim to have signed, where both heads are at hand.
        carry: bytes of the new files that the old one lacks, as a delta would hold them, with the
            bundle's own papers; 0 where no file differs, None where the two are profiles.
    """

    old: str
    new: str
    facts: tuple[Change, ...]
    models: tuple[Change, ...]
    files: tuple[Change, ...]
    findings: tuple[Change, ...]
    signatures: tuple[Change, ...]
    carry: int | None

    @property
    def groups(self) -> Mapping[str, tuple[Change, ...]]:
        """The changes by what they are about, in the order in which they are told."""
        return {
            "facts": self.facts,
            "models": self.models,
            "files": self.files,
            "findings": self.findings,
            "signatures": self.signatures,
        }

    def as_json(self) -> dict[str, Any]:
        """The body of the document `airgap/diff/v1`."""
        return asdict(self)


def changes(old: Manifest, new: Manifest) -> Changes:
    """How a bundle differs from one before it, by their manifests alone."""
    return compare(of_manifest(old), of_manifest(new))


def compare(old: Inventory, new: Inventory) -> Changes:
    """How `new` differs from `old`, in what both kinds of inventory can say.

    Raises:
        UsageError: one of the two is a profile, which names no bytes, and the other is not.
    """
    if (old.kind == PROFILE) != (new.kind == PROFILE):
        profile, other = (old, new) if old.kind == PROFILE else (new, old)
        raise UsageError(
            f"'{profile.title}' is a profile, which says what is wanted, and '{other.title}' is a "
            f"{other.kind}, which says which bytes",
            hint="compare the profile's lock, the .lock.yaml beside it",
        )
    found = Changes(
        old=old.title,
        new=new.title,
        facts=tuple(_between(old.facts, new.facts, common=old.kind != new.kind)),
        models=tuple(_models(old, new)),
        files=tuple(_files(old, new)),
        findings=tuple(_found(old, new)),
        signatures=tuple(_claimed(old, new)),
        carry=None if PROFILE in {old.kind, new.kind} else 0,
    )
    if found.carry is None or not any(found.groups.values()):
        return found
    return replace(found, carry=_to_carry(old, new))


def _between(
    old: Mapping[str, str], new: Mapping[str, str], *, prefix: str = "", common: bool = False
) -> Iterator[Change]:
    """What differs by name; only names that both have, where `common` says."""
    for name, now in new.items():
        was = old.get(name)
        if was != now and not (was is None and common):
            yield Change(f"{prefix}{name}", was, now)
    if not common:
        yield from (Change(f"{prefix}{name}", old[name], None) for name in old if name not in new)


def _models(old: Inventory, new: Inventory) -> Iterator[Change]:
    before = {model.id: model for model in old.models}
    for model in new.models:
        was = before.pop(model.id, None)
        if was is None:
            yield Change(model.id, None, model.told)
        else:
            yield from _between(was.traits, model.traits, prefix=f"{model.id} ")
    yield from (Change(model.id, model.told, None) for model in before.values())


def _files(old: Inventory, new: Inventory) -> Iterator[Change]:
    both = {model.id for model in old.models} & {model.id for model in new.models}
    return _between(_contents(old, both), _contents(new, both))


def _contents(inventory: Inventory, models: Collection[str]) -> dict[str, str]:
    """What each file of these models holds, by a name that a new commit does not change."""
    return {
        f"{file.artifact}/{_name(file)}": f"{human_size(file.size)} sha256 {file.sha256}"
        for file in inventory.files
        if file.artifact in models
    }


def _name(file: File) -> str:
    """The path in the repository's snapshot, or where there is none, in the tree."""
    _repository, snapshot, rest = file.path.partition("/snapshots/")
    return rest.partition("/")[2] if snapshot else file.path


def _found(old: Inventory, new: Inventory) -> Iterator[Change]:
    if old.kind == new.kind:
        yield from _between(old.verdicts, new.verdicts)
    if old.findings is not None and new.findings is not None:
        yield from _between(old.findings, new.findings)


def _claimed(old: Inventory, new: Inventory) -> Iterator[Change]:
    if old.signatures is not None and new.signatures is not None:
        claims = (
            dict.fromkeys(one, "claims to have signed") for one in (old.signatures, new.signatures)
        )
        yield from _between(*claims)


def _to_carry(old: Inventory, new: Inventory) -> int:
    there = {(file.path, file.sha256) for file in old.files}
    if there.issuperset((file.path, file.sha256) for file in new.files):
        return 0  # nobody builds a delta of it, which would have papers of its own
    left = delta.left_out(new.files, old.files)
    return sum(file.size for file in new.files if file.path not in left)
