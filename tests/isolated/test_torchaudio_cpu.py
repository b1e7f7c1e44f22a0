"""The install step against a torchaudio that fails as the real one does beside a torch for CPUs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FAILS = """\
import ctypes, pathlib
for part in (pathlib.Path(__file__).parent / "lib").glob("*.so"):
    ctypes.CDLL(str(part))
"""

Mend = Callable[[], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def libraries(tmp_path: Path) -> Path:
    """Where a torch for CPUs and a torchaudio for CUDA are installed."""
    for name, content in (("torch/__init__", ""), ("torchaudio/__init__", FAILS)):
        path = tmp_path / f"{name}.py"
        path.parent.mkdir()
        path.write_text(content)
    (tmp_path / "torch/__init__.py").write_text("from torch import version\n")
    (tmp_path / "torch/version.py").write_text("cuda = None\nhip = None\n")
    (tmp_path / "torchaudio/lib").mkdir()
    for name in ("libtorchaudio.so", "_torchaudio.so"):
        (tmp_path / "torchaudio/lib" / name).write_bytes(b"needs libcudart.so.13")
    (tmp_path / "torchaudio/lib/__init__.py").touch()
    return tmp_path


@pytest.fixture
def mend(libraries: Path) -> Mend:
    environment = {**os.environ, "PYTHONPATH": str(libraries), "PYTHONDONTWRITEBYTECODE": "1"}
    return lambda: subprocess.run(
        [sys.executable, "-m", "runtime.torchaudio_cpu"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def parts(libraries: Path) -> list[str]:
    return sorted(path.name for path in (libraries / "torchaudio/lib").iterdir())


def test_compiled_parts_for_cuda_are_removed_once(libraries: Path, mend: Mend) -> None:
    done = mend()
    assert done.returncode == 0, done.stderr
    assert parts(libraries) == ["__init__.py"]
    library = libraries / "torchaudio/lib/libtorchaudio.so"
    assert f"removed {library}: built for CUDA\n" in done.stderr
    again = mend()
    assert (again.returncode, again.stderr) == (
        0,
        "torchaudio works beside this torch, or is not installed\n",
    )


def test_a_torch_for_cuda_keeps_them(libraries: Path, mend: Mend) -> None:
    (libraries / "torch/version.py").write_text("cuda = '13.0'\nhip = None\n")
    done = mend()
    assert done.returncode == 1
    assert (
        "error: torchaudio does not work beside the torch that is installed: OSErr" in done.stderr
    )
    assert "next: install the torchaudio that belongs to this torch" in done.stderr
    assert parts(libraries) == ["__init__.py", "_torchaudio.so", "libtorchaudio.so"]


def test_a_torchaudio_that_works_is_left_alone(libraries: Path, mend: Mend) -> None:
    (libraries / "torchaudio/__init__.py").write_text("")
    assert mend().returncode == 0
    assert parts(libraries) == ["__init__.py", "_torchaudio.so", "libtorchaudio.so"]


def test_another_failure_is_told(libraries: Path, mend: Mend) -> None:
    (libraries / "torchaudio/__init__.py").write_text("raise RuntimeError('no luck')")
    done = mend()
    assert done.returncode == 1
    assert (
        "error: torchaudio does not work beside the torch that is installed: Runtime" in done.stderr
    )
