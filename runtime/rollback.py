"""Back to an earlier generation: judged by today's policy, checked in full, one rename."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from airgap.console import Advance, quietly
from airgap.errors import RefusedError, UsageError
from runtime import generation, lineage, probation, recheck, standing
from runtime.folders import Folder
from runtime.generation import MOUNTS, Generation


def target(root: Folder, name: str, wanted: int | None) -> tuple[int, int]:
    """What is current, and what to go back to.

    Args:
        root: locked by this process.
        name: of a mounted bundle.
        wanted: a generation's number; None for the one that was served before.

    Raises:
        UsageError: there is no such generation, or it is current already.
        DamagedError: what is current does not tell what came before it.
    """
    with root.inside(f"{MOUNTS}/{name}", make=False) as folder:
        there = lineage.numbers(folder)
        now = generation.current_number(folder)
        if now is None:
            raise UsageError(f"'{name}' is not mounted in '{root.path}'", hint="airgap list")
        chosen = wanted or next(lineage.before(folder, now), None)
    others = ", ".join(str(one) for one in there if one != now)
    if chosen is None:
        raise UsageError(
            f"nothing was served before generation {now} of '{name}' that is still here; found: "
            f"{others or 'no other generation'}",
            hint=f"airgap rollback {name} --to N" if others else "airgap mount, with that bundle",
        )
    if chosen == now or chosen not in there:
        state = "is current already" if chosen == now else "is not there"
        raise UsageError(
            f"generation {chosen} of '{name}' {state}; to go back to there is: {others or 'none'}",
            hint="airgap list --all",
        )
    return now, chosen


def admit(one: Generation, root: Path, clock: datetime, anyway: str | None) -> list[RefusedError]:
    """Refuse a generation that today's policy would not have mounted, but for its being older.

    Expiry and revocation stop new mounts, and to go back is one: a signer's key may have been
    revoked because of that very bundle. In an emergency a person may say why it is to be served
    all the same, unless the policy stops what is served as well.

    Args:
        one: the generation to go back to.
        root: the host's.
        clock: the time by this host's clock.
        anyway: the reason, where a person gives one.

    Returns:
        The refusals that the reason took back.

    Raises:
        UntrustedError: its signers no longer satisfy the policy, or there is none.
        OutdatedError: it has expired.
    """
    standing.warnings(one, root, clock)  # raises where the policy stops what is served
    objections = standing.objections(one, root, clock)
    if objections and not (anyway and anyway.strip()):
        first = objections[0]
        first.hint = (
            "mount a bundle that is trusted today; to go back all the same: --anyway REASON"
        )
        raise first
    return objections


def rollback(root: Folder, one: Generation, advance: Advance = quietly) -> None:
    """Make a generation current again, after every file of it was compared with what was signed.

    What this host has accepted stays: a bundle as old as this one is refused as before.

    Args:
        root: locked by this process.
        one: the generation, admitted.
        advance: told the bytes that are done.

    Raises:
        DamagedError: it is not what was signed; what is current stays.
    """
    recheck.require_signed(one, one.manifest.files, advance=advance)
    with root.inside(f"{MOUNTS}/{one.statement.name}", make=False) as name, lineage.swept(name):
        probation.end(one.folder)
        lineage.point(name, one.number)
