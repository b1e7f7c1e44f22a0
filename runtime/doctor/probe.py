"""What only a process of its own may ask: `python -m runtime.doctor.probe engine|guard …`.

The engine and NVIDIA's libraries start threads and may end the process; leaving the network has
no way back. The answer is one JSON object on stdout.
"""

from __future__ import annotations

import ctypes
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from airgap.errors import AirgapError
from runtime.engine import nvidia_wheels

NVIDIA: Final = "0x10de"
_DISPLAY: Final = ("0x0300", "0x0302")
"""Classes of PCI: graphics, and computing without a screen."""

_MAJOR: Final = 75
_MINOR: Final = 76
"""Of the compute capability: numbers of cuda.h's enumeration CUdevice_attribute."""


def main(arguments: list[str]) -> int:
    """Answer one question."""
    if arguments[:1] == ["guard"]:
        answer = _guard()
    else:
        device, compute_type = arguments[1:]
        answer = {"cuda": cuda(), "engine": _engine(device, compute_type)}
    print(json.dumps(answer))  # noqa: T201 - the parent reads it
    return 0


def _guard() -> dict[str, Any]:
    from runtime.offline import leave_network  # noqa: PLC0415 - the other question needs none of it

    try:
        return {"sentence": leave_network().sentence()}
    except AirgapError as error:
        return _told(error)


def _engine(device: str, compute_type: str) -> dict[str, Any] | None:
    """What `serve` would compute on; None where the engine is not installed."""
    if find_spec("ctranslate2") is None:
        return None
    try:
        from runtime.engine.hardware import find_hardware  # noqa: PLC0415 - imports the engine

        return {"sentence": str(find_hardware(device, compute_type))}
    except AirgapError as error:
        return _told(error)
    except ImportError as error:
        return {"message": f"the engine cannot be imported: {error}", "hint": None}


def _told(error: AirgapError) -> dict[str, Any]:
    return {"message": error.message, "hint": error.hint}


def cuda() -> dict[str, Any]:
    """What NVIDIA's driver and libraries say, without any of Python's wrappers around them."""
    boards = sum(
        _line(device / "vendor") == NVIDIA and _line(device / "class").startswith(_DISPLAY)
        for device in Path("/sys/bus/pci/devices").glob("*")
    )
    answer: dict[str, Any] = {"boards": boards, "driver": None, "error": None, "gpus": []}
    driver = _library("libcuda.so.1")
    if driver is not None:
        version = ctypes.c_int()
        driver.cuDriverGetVersion(ctypes.byref(version))
        answer["driver"] = [version.value // 1000, version.value % 1000 // 10]
        answer["error"] = _error(driver, driver.cuInit(0))
        answer["gpus"] = [] if answer["error"] else _gpus(driver)
    seen = driver is not None  # a hundred megabytes, read only where they could be of use
    answer["cublas"] = seen and _loads(nvidia_wheels.CUBLAS, "libcublas.so.12")
    answer["wheels"] = _wheels()
    return answer


def _gpus(driver: ctypes.CDLL) -> list[dict[str, Any]]:
    count = ctypes.c_int()
    driver.cuDeviceGetCount(ctypes.byref(count))
    return [_gpu(driver, number) for number in range(count.value)]


def _gpu(driver: ctypes.CDLL, number: int) -> dict[str, Any]:
    device, memory = ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(256)
    driver.cuDeviceGet(ctypes.byref(device), number)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    capability = []
    for attribute in (_MAJOR, _MINOR):
        value = ctypes.c_int()
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        capability.append(value.value)
    shown = name.value.decode(errors="replace")
    return {"name": shown, "capability": capability, "memory": memory.value}


def _error(driver: ctypes.CDLL, code: int) -> str | None:
    """What the driver calls an error; None for success."""
    if code == 0:
        return None
    name = ctypes.c_char_p()
    driver.cuGetErrorName(code, ctypes.byref(name))
    return (name.value or b"").decode(errors="replace") or f"error {code}"


def _loads(wheels: tuple[str, ...], name: str) -> bool:
    """Whether the engine would get a library: out of NVIDIA's wheels, or else by the loader."""
    try:
        return nvidia_wheels.load(wheels) or _library(name) is not None
    except AirgapError:
        return False


def _library(name: str) -> ctypes.CDLL | None:
    """A library, where the loader finds it."""
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


def _wheels() -> list[str]:
    """Folders of NVIDIA's wheels with libraries in them, which do not always load."""
    spec = find_spec("nvidia")
    roots = list(spec.submodule_search_locations or ()) if spec else []
    found = (Path(root, "cublas", "lib") for root in roots)
    return [str(folder) for folder in found if folder.is_dir()]


def _line(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
