"""`airgap diff`: what changed between two bundles, manifests, locks or profiles."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console, human_size
from airgap.verbs import options

if TYPE_CHECKING:
    from bundler.changes import Change, Changes
    from bundler.inventory import Inventory

KINDS = "A bundle or its folder, its manifest.json, a lock or a profile"

_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{28,}\b")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("diff")(diff)


def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help=f"{KINDS}.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Another.")],
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show what changed: models, files, licences, findings, signers, and what a delta would carry.

    OLD and NEW are bundles or their folders, their manifest.json, locks, or profiles; a lock can be
    compared with a bundle. What each is, its content says. Nothing is verified, and it says so. The
    exit code is 0 whether or not they differ.

    \b
    Examples:
      airgap diff demo-1.0.0/manifest.json demo-1.1.0/demo-1.1.0.tar.zst
      airgap diff demo-1.0.0/manifest.json ./demo.lock.yaml
      airgap diff cpu-small cpu-medium
    """
    console.configure(as_json=json, quiet=quiet)
    from bundler.changes import compare
    from bundler.claims import CAUTION
    from bundler.inventory import BUNDLE

    before, after = _read(old), _read(new)
    changes = compare(before, after)
    caution = CAUTION if BUNDLE in {before.kind, after.kind} else None
    if caution:
        console.data(caution)
    _show(changes, has_papers=after.kind == BUNDLE)
    console.document("airgap/diff/v1", {"caution": caution, **changes.as_json()})


def _read(named: str) -> Inventory:
    """What a command line names, by its content. Raises UsageError where it is none of ours."""
    from airgap import limits
    from airgap.errors import UsageError
    from airgap.files import read_bounded
    from bundler import claims, inventory
    from bundler.lock import Lock
    from bundler.profile import Profile

    path = _found(named)
    if claims.is_bundle(path):
        return claims.read_inventory(path)
    content = read_bounded(path, limits.LOCK_FILE, "a lock or a profile")
    if content.lstrip().startswith(b"{"):
        return claims.read_inventory(path)
    kind = re.search(rb"^(lock|profile):", content, re.MULTILINE)
    if kind is None:
        raise UsageError(f"expected {KINDS.lower()}, found '{path}'")
    if kind[1] == b"lock":
        return inventory.of_lock(Lock.parse(content, str(path)))
    return inventory.of_profile(Profile.parse(content, str(path)))


def _found(named: str) -> Path:
    """The file, the bundle's folder, or the shipped profile; a folder `demo` is not the profile."""
    from bundler.profile import find_profile, shipped_profiles

    path = Path(named)
    is_folder = path.is_dir() and named not in {one.stem for one in shipped_profiles()}
    return path if path.is_file() or is_folder else find_profile(named)


def _show(changes: Changes, *, has_papers: bool) -> None:
    console.data(f"{changes.old} -> {changes.new}")
    for title, group in changes.groups.items():
        if group:
            console.data(f"{title}:")
            for line in _lines(group):
                console.data(f"  {line}")
    if not any(changes.groups.values()):
        console.data("no difference")
    if changes.carry:
        papers = ", with its own papers" if has_papers else ""
        console.data(f"to carry: {human_size(changes.carry)} that {changes.old} lacks{papers}")


def _lines(group: Sequence[Change]) -> Iterator[str]:
    """Aligned: a sign, what it is about, what it was and is."""
    width = max(len(_in_line(change.what)) for change in group)
    for change in group:
        what, old, new = _in_line(change.what), change.old, change.new
        sign = "+" if old is None else "-" if new is None else "~"
        states = " -> ".join(_in_line(state) for state in (old, new) if state is not None)
        yield f"{sign} {what:<{width}}  {states}"


def _in_line(text: str) -> str:
    """Free text that nobody vouches for: no line of ours may be forged by it. Digests are cut."""
    return _DIGEST.sub(r"\1…", text.replace("\n", "\\n"))
