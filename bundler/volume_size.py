"""How large a volume may be: a number with its unit, or the name of a medium."""

from __future__ import annotations

import re
from typing import Final

from airgap import limits
from airgap.console import human_size
from airgap.errors import UsageError

MEDIA: Final = {
    "fat32": (1 << 32) - 1,  # the largest file that FAT32 can hold
    "cd": 700_000_000,
    "dvd": 4_600_000_000,
    "bd": 25_000_000_000,
}
"""Bytes of a volume for a medium; each leaves room for the papers beside it, which are small.

A CD has 737 280 000 bytes (ECMA-130, 80 minutes), a DVD+R 4 700 372 992 (ECMA-349), a BD-R
25 025 314 816.
"""

_UNITS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_BINARY: Final = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SIZE: Final = re.compile(r"([0-9]{1,15}) ?(?:([kmg])(i?)b?|b?)", re.IGNORECASE)


def parse(text: str) -> int:
    """Bytes of a volume: `fat32`, `cd`, `dvd`, `bd`, `4GB` (powers of ten), `700MiB` (of two).

    Raises:
        UsageError: it is no size, or less than the smallest volume.
    """
    size = MEDIA.get(text.lower()) or _number(text)
    if size < limits.VOLUME_WRITTEN:
        raise UsageError(
            f"volumes of {human_size(size)} are too small: at least 1 MiB",
            hint="--split fat32, or --size fat32, suits every stick",
        )
    return size


def check_count(total: int, size: int) -> None:
    """Raise UsageError where so many bytes would need more volumes than there are numbers."""
    count = -(-total // size)
    if count > limits.VOLUMES:
        raise UsageError(
            f"{human_size(total)} in volumes of {human_size(size)} would be {count} files, and the "
            f"format has numbers for {limits.VOLUMES}",
            hint=f"choose at least {human_size(-(-total // limits.VOLUMES))}",
        )


def _number(text: str) -> int:
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise UsageError(
            f"'{text}' is no size: expected {', '.join(MEDIA)}, or a number such as 4GB or 700MiB"
        )
    unit = (found[2] or "").lower()
    return int(found[1]) * (_BINARY[unit] if found[3] else _UNITS[unit])
