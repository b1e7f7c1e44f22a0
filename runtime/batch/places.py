"""Where the texts of a run may go: into nobody else's place, into no mount, into folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from airgap import places
from airgap.attestation import EXTENSION
from airgap.console import one_line
from airgap.errors import AirgapError, UsageError, next_after
from runtime.batch.gathering import Item, refuse_collisions


def check(
    items: Sequence[Item], root: Path, out: Path | None, endings: Sequence[str], *, attest: bool
) -> None:
    """Look, before the work begins, that every text will have its place; make `out`.

    Args:
        items: the recordings.
        root: the host's: what is mounted carries recordings to try it with, and takes no texts.
        out: the folder that was named for all of them; None: beside their recordings.
        endings: of the texts' names, one for each format.
        attest: whether each text gets a signature beside it.

    Raises:
        UsageError: two texts would have one name, or one would lie among the mounts.
        AirgapError: `out` cannot be made.
    """
    _refuse_mounts(items, root)
    refuse_collisions(items, [*endings, *(f"{one}{EXTENSION}" for one in endings if attest)])
    try:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AirgapError(
            f"cannot write into '{out}': {error.strerror}", hint=next_after(error)
        ) from error


def _refuse_mounts(items: Sequence[Item], root: Path) -> None:
    mounts = (root / places.MOUNTS).resolve()
    for item in items:
        if item.place.is_relative_to(mounts):
            raise UsageError(
                one_line(f"the text of '{item.recording}' would be written into the mounts"),
                hint="--out FOLDER",
            )
