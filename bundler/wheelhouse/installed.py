"""How much disk a runtime takes on the isolated host, once it is installed.

What a wheel unpacks to stands in no lock, so it is estimated from the wheel's size. Libraries for
GPUs are compressed by their maker already, and are what is large; all else shrinks to a quarter or
a third. `python benchmarks/wheels.py cpu-small gpu-pyannote gpu-full` measures it, byte code and
whole blocks counted: docs/benchmarks.md.
"""

from __future__ import annotations

from typing import Final

from airgap.memory import MB
from bundler.wheelhouse.locked import LockedRuntime, LockedTarget

LARGE: Final = 100 * MB
_OF_SMALL: Final = 3.6
_OF_LARGE: Final = 1.8

_BOOTSTRAP: Final = 110 * MB
"""The few wheels beside the bundle, 29 MB, and the environment made of them, 80 (bootstrap.md)."""

_OF_PYTHON: Final = 9
"""A carried Python: its archive in the bootstrap, and unpacked in each of two environments, to four
times its size, as `airgap runtime install` reckons."""


def estimate(wheels: list[int]) -> int:
    """Bytes that wheels of these sizes are installed to."""
    return round(sum(size * (_OF_SMALL if size < LARGE else _OF_LARGE) for size in wheels))


def installed_size(runtime: LockedRuntime) -> int:
    """Bytes of the largest target, installed, and of the bootstrap with its environment."""
    sizes = {file.path: file.bytes_expected for one in runtime.artifacts for file in one.files}
    pythons = {one.target: one.files[0].bytes_expected for one in runtime.interpreters}

    def of_target(one: LockedTarget) -> int:
        wheels = estimate([sizes[wheel] for wheel in one.wheels])
        return wheels + _OF_PYTHON * pythons.get(one.target, 0)

    return _BOOTSTRAP + max((of_target(one) for one in runtime.targets), default=0)
