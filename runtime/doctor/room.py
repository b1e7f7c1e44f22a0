"""Rules about the host's root: space, and who may write what."""

from __future__ import annotations

from typing import Final

from airgap.console import human_size
from airgap.finding import Check, Finding, fail, ok, warn
from runtime.doctor.facts import Host
from runtime.store import SPARE

_FEW_FILES: Final = 1_000
"""A generation has hundreds of names, and the log needs one."""


def _space(host: Host) -> Finding | None:
    place = host.place
    if place.free is None:
        return fail(f"'{place.root}' cannot be looked at", "run this as its owner, or give --root")
    if place.free < SPARE:
        return fail(
            f"{human_size(place.free)} are free in '{place.root}': nothing can be mounted or "
            f"recorded with less than {human_size(SPARE)}",
            "free some space",
        )
    if place.free_files is not None and place.free_files < _FEW_FILES:
        return fail(
            f"the file system of '{place.root}' has room for {place.free_files} more files",
            "remove files that nobody needs, or choose another place with --root",
        )
    return ok(f"{human_size(place.free)} free in '{place.root}'")


def _temporary(host: Host) -> Finding | None:
    place = host.place
    if place.temporary_free is None:
        return fail(
            f"this user cannot write '{place.temporary}', where models of speakers are copied to "
            "while they are loaded",
            "set TMPDIR to a folder that this user may write",
        )
    return ok(f"{human_size(place.temporary_free)} free in '{place.temporary}'")


def _rights(host: Host) -> Finding | None:
    place = host.place
    if place.open_to_others:
        named = ", ".join(f"'{one}'" for one in place.open_to_others)
        return warn(
            f"others than their owner may write {named}: whoever can write there could exchange a "
            "model between two readings",
            f"chmod -R go-w {place.root}",
        )
    if not place.writable:
        return warn(
            f"this user may read '{place.root}' and not write it: it serves, without a line in the "
            "audit log, and cannot mount",
            "run this as the owner of the root, to see what the owner sees",
        )
    return ok("written by its owner alone")


def _spool(host: Host) -> Finding | None:
    place = host.place
    if place.spool_owner is None:
        if place.spool_makeable:
            return None
        return fail(
            f"this user cannot make '{place.spool}' for large recordings",
            "airgap serve --spool FOLDER, or serve as the owner of the root",
        )
    if place.spool_owner != place.user:
        return fail(
            f"'{place.spool}' belongs to user {place.spool_owner}, expected {place.user}",
            "airgap serve --spool FOLDER, or serve as its owner",
        )
    return ok("the folder for large recordings is this user's own")


CHECKS: Final = (
    Check("room.space", "Is there space, and room for files, in the root?", _space),
    Check("room.temporary", "Can short-lived copies be made?", _temporary),
    Check("room.rights", "Who may write the root?", _rights),
    Check("room.spool", "Can large recordings be kept while they are heard?", _spool),
)
