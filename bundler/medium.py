"""What a stick can take: free space, the largest file, and where it is mounted."""

from __future__ import annotations

import re
import resource
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airgap.errors import AirgapError

MOUNTS = Path("/proc/self/mountinfo")
"""Every mount that this process sees; proc_pid_mountinfo(5)."""

LARGEST_FILE: Final = {"vfat": (1 << 32) - 1, "msdos": (1 << 32) - 1}
"""Bytes of the largest file, by kind of file system; others hold more than any bundle."""

_OCTAL: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Medium:
    """The file system below a folder.

    Attributes:
        mounted_at: its mount point.
        kind: as the kernel calls it: `vfat`, `exfat`, `ext4`.
        largest_file: in bytes, by the file system and by this process's own limit; None where
            there is no bound.
        free: bytes that may be written.
    """

    mounted_at: Path
    kind: str
    largest_file: int | None
    free: int

    @classmethod
    def below(cls, folder: Path) -> Medium:
        """Look at a folder. Raises AirgapError where it is none."""
        if not folder.is_dir():
            raise AirgapError(
                f"'{folder}' is no folder", hint="mount the medium, and name a folder on it"
            )
        try:
            mounted_at, kind = _mount_of(folder.resolve())
            free = shutil.disk_usage(folder).free
        except OSError as error:
            raise AirgapError(f"cannot look at '{folder}': {error.strerror}") from error
        limit, _hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        caps = [LARGEST_FILE.get(kind), None if limit == resource.RLIM_INFINITY else limit]
        return cls(mounted_at, kind, min((cap for cap in caps if cap), default=None), free)


def _mount_of(folder: Path) -> tuple[Path, str]:
    """The mount point above a folder, and the kind of its file system."""
    best, kind = Path("/"), "unknown"
    for line in MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        fields, _, after = line.partition(" - ")
        point = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), fields.split()[4]))
        # The last of several mounts on one point is the one that is seen.
        if folder.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, kind = point, after.split()[0]
    return best, kind
