"""What a CUDA needs of NVIDIA's driver and of a GPU, on either side of the gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Cuda:
    """A major version of CUDA; its minor versions run on one driver and the same GPUs.

    Source: CUDA's release notes (minor version compatibility; architectures that went).

    Attributes:
        major: 12.
        driver: the first branch of NVIDIA's Linux driver that runs it.
        capability: compute capability of the oldest GPU that it has code for.
    """

    major: int
    driver: int
    capability: tuple[int, int]

    def __str__(self) -> str:
        return f"CUDA {self.major}"


OLDEST: Final = Cuda(12, 525, (5, 0))
"""CTranslate2's: its wheels load cuBLAS 12."""

_KNOWN: Final = (OLDEST, Cuda(13, 580, (7, 5)))


def of_major(major: int) -> Cuda:
    """What a version needs: of one that is newer than all we know, at least what those need."""
    return next((one for one in reversed(_KNOWN) if one.major <= major), OLDEST)
