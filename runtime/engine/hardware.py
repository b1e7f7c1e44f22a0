"""Where the engine computes and in which arithmetic: chosen from the hardware, and stated."""

from __future__ import annotations

import os
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

import ctranslate2

from airgap.errors import AirgapError, UsageError
from runtime.engine import nvidia_wheels

DEVICES: Final = ("auto", "cpu", "cuda")

_PREFERRED: Final = {
    "cpu": ("int8", "float32"),
    "cuda": ("float16", "int8_float32", "float32"),
}
"""What `auto` takes, best first: a quarter of the memory on a CPU, the GPU's own half floats.

GPUs before compute capability 7.0 have no quick float16 and do not list it.
"""


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a model is loaded for.

    Attributes:
        device: `cpu` or `cuda`.
        compute_type: CTranslate2's name of the arithmetic, such as `int8` or `float16`.
        threads: CPU threads of one transcription.
        workers: transcriptions that compute at once; they share one copy of the weights.
    """

    device: str
    compute_type: str
    threads: int
    workers: int = 1

    def __str__(self) -> str:
        plural = "" if self.threads == 1 else "s"
        several = f", {self.workers} at once" if self.workers > 1 else ""
        return f"{self.device}, {self.compute_type}, {self.threads} thread{plural}{several}"


def find_hardware(
    device: str = "auto", compute_type: str = "auto", threads: int = 0, workers: int = 1
) -> Hardware:
    """Choose from the hardware of this host.

    Args:
        device: `auto` (a GPU where there is one), `cpu` or `cuda`.
        compute_type: `auto`, or one of CTranslate2's.
        threads: CPU threads; 0 for every core that this process may use, shared by the workers.
        workers: transcriptions that compute at once.

    Raises:
        UsageError: what was asked for is not there; the message names what is.
        AirgapError: there is a GPU, but its driver or libraries do not work.
    """
    gpus = ctranslate2.get_cuda_device_count()
    chosen = choose_device(device, gpus)
    if chosen == "cuda":
        nvidia_wheels.load(nvidia_wheels.CUBLAS)
    try:
        supported = ctranslate2.get_supported_compute_types(chosen)
    except (RuntimeError, ValueError) as error:
        raise AirgapError(
            f"device '{chosen}' does not work: {error}",
            hint="check the GPU's driver with nvidia-smi, or give --device cpu",
        ) from error
    if threads < 0:
        raise UsageError(f"threads: expected 0 or more, found {threads}")
    if workers < 1:
        raise UsageError(f"workers: expected 1 or more, found {workers}")
    return Hardware(
        device=chosen,
        compute_type=choose_compute_type(compute_type, chosen, supported),
        threads=threads or max(1, len(os.sched_getaffinity(0)) // workers),
        workers=workers,
    )


def choose_device(asked: str, gpus: int) -> str:
    """`cpu` or `cuda`, from what was asked for and how many GPUs CTranslate2 sees.

    Raises:
        UsageError: it is no device, or there is no GPU.
    """
    if asked not in DEVICES:
        raise UsageError(f"device '{asked}': expected one of {', '.join(DEVICES)}")
    if asked == "cuda" and gpus == 0:
        raise UsageError(
            "device 'cuda': no GPU was found",
            hint="give --device cpu; airgap doctor --device cuda says what a GPU would need",
        )
    if asked == "auto":
        return "cuda" if gpus else "cpu"
    return asked


def choose_compute_type(asked: str, device: str, supported: AbstractSet[str]) -> str:
    """The arithmetic, from what was asked for and what CTranslate2 says the device can do.

    CTranslate2 itself would fall back from some types to others without a word.

    Raises:
        UsageError: the device cannot do it; the message names what it can.
    """
    if asked == "auto":
        # Every device does float32, so there is always a first.
        return next(name for name in _PREFERRED[device] if name in supported | {"float32"})
    if asked not in supported:
        raise UsageError(
            f"compute type '{asked}' is not supported on this {device}: "
            f"expected auto, {', '.join(sorted(supported))}",
        )
    return asked
