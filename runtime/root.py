"""The isolated host's root, for one change at a time, and what it remembers of what it mounted."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from airgap.accepted import AcceptedFile
from airgap.console import console
from airgap.errors import AirgapError
from runtime import generation
from runtime.folders import Folder


@contextmanager
def locked(root: Path) -> Iterator[Folder]:
    """The root, for one change at a time: a second command waits, and says so."""
    with Folder.at(root) as place:
        descriptor = place.lock("lock")
        try:
            _wait_for(descriptor, root)
            yield place
        finally:
            os.close(descriptor)


def settle(root: Folder, accepted: AcceptedFile, now: datetime) -> None:
    """Remember what is mounted, where this host died between switching and remembering it.

    Until then the bundle before it would still pass for new enough; and once it is rolled back
    or unmounted, nothing would tell any more. A name that the record does not have stays so: a
    person may have made it forget (`airgap trust reset-sequence`).
    """
    names = generation.mounted(root.path)
    known = accepted.load().bundles if names else {}  # a new host is told what it lacks first
    for name in names:
        try:
            with generation.current(root.path, name) as one:
                statement = one.statement
        except AirgapError:  # a mount that was damaged is what this one may be there to mend
            continue
        if name in known and known[name].sequence < statement.sequence:
            accepted.raise_to(statement, now)


def _wait_for(descriptor: int, root: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        console.say(f"another command is changing '{root}'; waiting for it")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
