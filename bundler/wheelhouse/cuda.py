"""Which CUDA the wheels of a runtime are built for, by what they bring."""

from __future__ import annotations

import re
from typing import Final

from airgap.cuda import OLDEST, Cuda, of_major
from bundler.wheelhouse.locked import LockedRuntime

_OF_CUDA: Final = re.compile(r"cuda-toolkit==(\d+)\..*|nvidia-[a-z0-9-]+-cu(\d+)==.*")
"""Releases whose name or version is that of a CUDA: torch asks for them."""


def newest_cuda(runtime: LockedRuntime | None) -> Cuda:
    """The newest CUDA among a runtime's wheels; CTranslate2's where none tells."""
    found = (_OF_CUDA.fullmatch(one.name) for one in (runtime.releases if runtime else ()))
    majors = [int(one[1] or one[2]) for one in found if one]
    return of_major(max(majors, default=OLDEST.major))
