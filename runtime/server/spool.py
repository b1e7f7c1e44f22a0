"""Where recordings go that are too large for memory: a private folder, swept at start.

This is often patients' speech. Files in it have no name from the start (O_TMPFILE) or lose it
at once, so their end is the end of the request, or of the process, however that ends.
"""

from __future__ import annotations

import os
from pathlib import Path

from airgap.errors import AirgapError
from runtime.folders import Folder


def prepare(folder: Path) -> Path:
    """Make it, for this user alone, and remove whatever a crash left in it.

    Raises:
        AirgapError: it cannot be made, or is somebody else's.
    """
    with Folder.at(folder.parent) as parent, parent.inside(folder.name) as spool:
        found = os.fstat(spool.descriptor)
        if found.st_uid != os.geteuid():
            raise AirgapError(
                f"'{folder}' belongs to user {found.st_uid}, expected {os.geteuid()}",
                hint="give another --spool, or run as its owner",
            )
        try:
            os.fchmod(spool.descriptor, 0o700)
        except OSError as error:
            raise AirgapError(f"cannot make '{folder}' private: {error.strerror}") from error
        for left in spool.names():
            spool.remove(left)
    return folder
