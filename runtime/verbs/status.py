"""`airgap status`, or `airgap` alone on a host with a mount: what is served, and what presses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from airgap.console import console, human_size
from airgap.verbs import options

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from runtime.generation import Generation


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("status")(status)


def status(
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show how this host is: what is mounted, for how long yet, the disk, the audit log.

    `airgap` alone shows it too, where something is mounted. No model file is read:
    `airgap verify --mounted` does that.

    \b
    Examples:
      airgap status
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places
    from airgap.accepted import clock
    from airgap.errors import AirgapError
    from runtime import generation

    place, now = places.isolated_root(root), clock()
    mounts, broken = [], []
    for name in generation.mounted(place):
        try:
            with generation.current(place, name) as one:
                mounts.append(_mount(one, place, now))
        except AirgapError as error:  # the others are shown all the same
            broken.append(error)
    disk, log = _disk(place), _audit(place)
    for entry in mounts:
        _show(entry)
    if not mounts:
        console.data(f"nothing is mounted in '{place}'")
    console.data(f"disk: {human_size(disk['store'])} in the store, {human_size(disk['free'])} free")
    console.data(f"audit log: {log['found']}")
    if broken:
        raise broken[0]
    console.document(
        "airgap/status/v1", {"root": str(place), "mounts": mounts, "disk": disk, "audit": log}
    )


def _mount(one: Generation, root: Path, now: datetime) -> dict[str, Any]:
    from airgap.errors import RefusedError
    from runtime import standing

    try:
        warnings = standing.warnings(one, root, now)
    except RefusedError as error:  # the policy says `expired: stop`
        warnings = [f"not served: {error.message}"]
    return {
        "bundle": one.statement.title,
        "generation": one.number,
        "approval_code": one.approval_code,
        "signers": list(one.record.signers),
        "expires": one.statement.expires,
        "days_left": standing.days_left(one, now),
        "warnings": warnings,
    }


def _show(entry: dict[str, Any]) -> None:
    left = f", {entry['days_left']} days left" if entry["expires"] else ""
    console.data(f"{entry['bundle']}")
    console.data(f"  generation     {entry['generation']}")
    console.data(f"  approval code  {entry['approval_code']}")
    console.data(f"  signed by      {', '.join(entry['signers'])}")
    console.data(f"  expires        {entry['expires'] or 'never'}{left}")
    for warning in entry["warnings"]:
        console.warn(warning)


def _disk(root: Path) -> dict[str, int]:
    """Bytes of the store, and free where it lies."""
    import shutil

    from airgap.caches import files_below
    from airgap.errors import AirgapError
    from runtime.store import BLOBS

    try:
        blobs = sum(one.st_size for one in files_below(root / BLOBS).values())
        return {"store": blobs, "free": shutil.disk_usage(root).free}
    except OSError as error:
        raise AirgapError(f"cannot read '{root}': {error.strerror}") from error


def _audit(root: Path) -> dict[str, Any]:
    """What `airgap audit verify` would say now."""
    from airgap.audit import AuditLog
    from airgap.errors import AirgapError

    try:
        verdict = AuditLog.of(root).verify()
        verdict.require_sound(str(AuditLog.of(root).path))
    except AirgapError as error:
        return {"sound": False, "events": None, "found": error.message}
    found = f"{verdict.events} events, unbroken, checked now"
    return {"sound": True, "events": verdict.events, "found": found}
