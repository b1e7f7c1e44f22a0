"""cuBLAS as NVIDIA's wheels bring it, in a process of its own, without LD_LIBRARY_PATH.

The stand-ins are a small library of PyAV's under the names of NVIDIA's: file name and soname.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

LOADED = """
import ctypes, sys
import ctranslate2
from airgap.errors import AirgapError
from runtime.engine.hardware import find_hardware
ctranslate2.get_cuda_device_count = lambda: int(sys.argv[2])
ctranslate2.get_supported_compute_types = lambda device: {"float16", "int8", "float32"}
try:
    print(find_hardware(sys.argv[1], threads=1))
    ctypes.CDLL("libcublas.so.12")  # as CTranslate2 does it
except (AirgapError, OSError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
finally:
    with open("/proc/self/maps") as maps:
        print(*sorted({line.split()[-1] for line in maps if "cublas" in line}))
"""
PROBED = """
from runtime.doctor import probe
from runtime.engine import nvidia_wheels
print(probe._loads(nvidia_wheels.CUBLAS, "libcublas.so.12"))
"""


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH, with what NVIDIA's wheels of cuBLAS would install."""
    places = [Path(str(one.locate())) for one in distribution("av").files or ()]
    (small,) = [one for one in places if one.name.startswith("libsharpyuv-")]
    lib = tmp_path / "nvidia/cublas/lib"
    lib.mkdir(parents=True)
    for name in ("libcublas.so.12", "libcublasLt.so.12"):
        soname = name.encode().ljust(len(small.name), b"\0")
        content = small.read_bytes()
        assert small.name.encode() in content
        (lib / name).write_bytes(content.replace(small.name.encode(), soname))
    return tmp_path


def child(program: str, wheels: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    paths = [str(wheels), *filter(None, [environment.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_a_gpu_computes_with_is_there_by_its_name(wheels: Path) -> None:
    done = child(LOADED, wheels, "auto", "1")
    assert done.returncode == 0, done.stderr
    said, loaded = done.stdout.splitlines()
    assert said == "cuda, float16, 1 thread"
    lib = wheels / "nvidia/cublas/lib"
    assert loaded.split() == [f"{lib}/libcublas.so.12", f"{lib}/libcublasLt.so.12"]


@pytest.mark.parametrize(("device", "gpus"), [("cpu", "1"), ("auto", "0")])
def test_a_cpu_has_no_use_for_it(wheels: Path, device: str, gpus: str) -> None:
    done = child(LOADED, wheels, device, gpus)
    assert done.stdout == "cpu, int8, 1 thread\n\n"
    assert "OSError: libcublas.so.12: cannot open shared object file" in done.stderr


def test_without_wheels_the_loader_is_asked_as_before(tmp_path: Path) -> None:
    done = child(LOADED, tmp_path, "auto", "1")
    assert done.stdout == "cuda, float16, 1 thread\n\n"


def test_a_wheel_that_does_not_load_is_named(wheels: Path) -> None:
    damaged = wheels / "nvidia/cublas/lib/libcublas.so.12"
    damaged.write_bytes(damaged.read_bytes()[:100])
    done = child(LOADED, wheels, "auto", "1")
    assert done.returncode == 1
    assert f"AirgapError: cannot load '{damaged}': " in done.stderr
    assert child(PROBED, wheels).stdout == "False\n"


def test_the_doctor_finds_it_there_too(wheels: Path, tmp_path: Path) -> None:
    assert child(PROBED, wheels).stdout == "True\n"
    assert child(PROBED, tmp_path / "nothing").stdout == "False\n"
