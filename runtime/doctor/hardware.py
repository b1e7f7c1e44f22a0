"""Rules about processor and GPU: what the engine computes on, and what that still lacks."""

from __future__ import annotations

from typing import Final

from airgap import processor
from airgap.console import human_size
from airgap.cuda import OLDEST, Cuda, of_major
from airgap.finding import Check, Finding, Trouble, fail, ok, warn
from runtime.doctor.facts import Host
from runtime.doctor.surroundings import FORCED_ISA, VISIBLE

_HALF_FLOATS: Final = (7, 0)
"""GPUs before it have no quick float16."""


def _instructions(host: Host) -> Finding | None:
    machine = host.machine
    if machine.architecture != "x86_64":
        return ok(f"{machine.architecture}, {machine.cores} core(s)")
    forced = host.surroundings.variables.get(FORCED_ISA)
    chosen = processor.code_path(machine.features)
    if forced and forced.upper() != chosen:
        return warn(
            f"{FORCED_ISA}={forced}, where CTranslate2 would choose {chosen}: slower, or an "
            "illegal instruction",
            f"unset {FORCED_ISA}",
        )
    if processor.is_slow(machine.features):
        return warn(processor.SLOW.format(chosen), processor.FASTER)
    return ok(f"{chosen}, {machine.cores} core(s)")


def _engine(host: Host) -> Finding | None:
    engine = host.machine.engine
    if engine is None:
        return None
    if isinstance(engine, Trouble):
        return engine.as_finding("give --device and --compute-type that this host has")
    return ok(engine)


def _driver(host: Host) -> Finding | None:
    cuda = host.machine.cuda
    if not _wanted(host) and not cuda.boards:
        return None
    if cuda.driver is None:
        return _lacking(host, "NVIDIA's driver is not loaded", "install it; then: nvidia-smi")
    if cuda.error is not None:
        return _lacking(host, f"NVIDIA's driver does not start: {cuda.error}", "nvidia-smi")
    if cuda.driver[0] < OLDEST.major:
        return _lacking(host, *_too_old(cuda.driver, OLDEST))
    if not cuda.gpus:
        hidden = f" ({VISIBLE}={host.surroundings.variables.get(VISIBLE, '')})"
        return _lacking(host, f"the driver shows no GPU{hidden}", f"unset {VISIBLE}")
    return ok(f"CUDA {_dotted(cuda.driver)}")


def _cublas(host: Host) -> Finding | None:
    cuda = host.machine.cuda
    if not computes_on_gpu(host):
        return None
    if cuda.cublas:
        return ok("cuBLAS 12")
    return fail(
        "no libcublas.so.12 can be loaded: the first inference would fail",
        _library_fix(cuda.wheels),
    )


def _capability(host: Host) -> Finding | None:
    if not computes_on_gpu(host):
        return None
    gpu = host.machine.cuda.gpus[0]
    shown = f"{gpu.name}, compute capability {_dotted(gpu.capability)}, {human_size(gpu.memory)}"
    asked = host.wish.compute_type
    if gpu.capability < OLDEST.capability:
        return fail(f"{shown}: {OLDEST} has no code for it", "--device cpu")
    if gpu.capability < _HALF_FLOATS and asked == "float16":
        return fail(f"{shown}: no quick float16, expected 7.0 or newer", "--compute-type auto")
    if gpu.capability < _HALF_FLOATS:
        return warn(f"{shown}: no quick float16", "--compute-type auto takes int8_float32")
    return ok(shown)


def _torch(host: Host) -> Finding | None:
    if host.libraries.torch_cuda is None or not computes_on_gpu(host):
        return None
    if lacking := torch_lacks(host):
        found, fix = lacking
        return warn(f"{found}: Whisper works without, speakers and emotion do not", fix)
    return ok(f"torch is built for CUDA {host.libraries.torch_cuda}")


def _wanted(host: Host) -> bool:
    return host.wish.device == "cuda"


def computes_on_gpu(host: Host) -> bool:
    """Whether the engine would take a GPU, as far as it has come."""
    engine = host.machine.engine
    chosen = isinstance(engine, str) and engine.startswith("cuda")
    return bool(host.machine.cuda.gpus) and (chosen or _wanted(host))


def torch_lacks(host: Host) -> tuple[str, str] | None:
    """Why torch would not compute on the GPU that the engine takes, and the fix; None: it would.

    CTranslate2 and torch each bring a CUDA of their own, and torch's can be the newer.
    """
    built_for, cuda = host.libraries.torch_cuda, host.machine.cuda
    if built_for is None or not computes_on_gpu(host):
        return None
    wanted, gpu = of_major(int(built_for.partition(".")[0])), cuda.gpus[0]
    if cuda.driver and cuda.driver[0] < wanted.major:
        found, fix = _too_old(cuda.driver, wanted)
        return f"torch is built for CUDA {built_for}, and {found}", fix
    if gpu.capability < wanted.capability:
        found, oldest = _dotted(gpu.capability), _dotted(wanted.capability)
        found = f"compute capability {found}, expected {oldest} or newer"
        told = f"torch is built for CUDA {built_for}, which has no code for {gpu.name}: {found}"
        return told, "a newer GPU"
    return None


def _too_old(driver: tuple[int, int], wanted: Cuda) -> tuple[str, str]:
    """What is told of a driver that runs no CUDA of that version, and its fix."""
    return (
        f"NVIDIA's driver runs CUDA {_dotted(driver)}, expected {wanted.major}.0 or newer",
        f"install driver {wanted.driver} or newer",
    )


def _lacking(host: Host, found: str, fix: str) -> Finding:
    """No GPU: an error where one was asked for, else the CPU is taken."""
    if _wanted(host):
        return fail(found, fix)
    return warn(f"{found}; there is a GPU, and the CPU is taken", f"{fix}; or --device cpu")


def _library_fix(wheels: tuple[str, ...]) -> str:
    if wheels:
        return f"what lies in {' and '.join(wheels)} does not load: install those wheels again"
    return "pip install 'airgap-bundler[gpu]'"


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


CHECKS: Final = (
    Check("hardware.cpu", "Which instructions does CTranslate2 compute with?", _instructions),
    Check("hardware.engine", "Which device and arithmetic does it choose?", _engine),
    Check("gpu.driver", "Does NVIDIA's driver run CUDA 12, and show a GPU?", _driver),
    Check("gpu.cublas", "Does the loader find cuBLAS 12?", _cublas),
    Check("gpu.capability", "Can the GPU do the compute type?", _capability),
    Check("gpu.torch", "Does torch's CUDA fit driver and GPU?", _torch),
)
