"""Bundles above 2 and 4 GiB, as sparse files: the last byte counts, and memory stays flat.

The class is RAUC's CVE-2026-34155: a bundle above 2 GiB of which only the first bytes were checked.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airgap import volume_names

pytestmark = pytest.mark.heavy

SPARSE = Path(__file__).parents[2] / "benchmarks/sparse.py"
GIB = 1 << 30
PEAK = 300_000_000
"""Bytes that a verb may hold, of any bundle: 50 to 100 MB on two cores."""


@pytest.fixture(scope="module")
def write() -> Any:
    """Writes a sparse bundle."""
    spec = importlib.util.spec_from_file_location("sparse", SPARSE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.write


def measured(place: Any, *words: str | Path) -> tuple[int, str, int]:
    """Exit code, stderr and peak of the real command, in bytes.

    It is started by a small process: on Linux a child's peak begins with its parent's memory.
    """
    script = (
        "import resource, subprocess, sys\n"
        "code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode\n"
        "print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-m", "airgap", *words]
    done = subprocess.run(
        [sys.executable, "-c", script, *command],
        env=place.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    code, kilobytes = map(int, done.stdout.split())
    return code, done.stderr, kilobytes * 1024


def flip_last(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        byte = stream.read(1)[0]
        stream.seek(-1, os.SEEK_END)
        stream.write(bytes([byte ^ 1]))


@pytest.mark.parametrize(
    ("size", "each"),
    [(2 * GIB + 5, None), (4 * GIB + 5, None), (4 * GIB + 5, 4 * GIB - 1)],
    ids=["above 2 GiB", "above 4 GiB", "above 4 GiB, in volumes for FAT32"],
)
def test_the_last_byte_of_a_large_bundle_counts(
    tmp_path: Path, place: Any, write: Any, size: int, each: int | None
) -> None:
    first = write(tmp_path / "sparse-1.0.0.tar.zst", size, each)
    files = volume_names.locate(first).in_order()
    assert len(files) == (2 if each else 1)
    assert sum(path.stat().st_size for path in files) > size
    code, said, peak = measured(place, "verify", first, "--integrity-only")
    assert code == 4, said
    assert peak < PEAK
    flip_last(files[-1])
    code, said, _peak = measured(place, "verify", first, "--integrity-only")
    assert code == 3
    assert f"frame {2 + size // (4 << 20) - 1} (bytes " in said
    if each:
        assert "in 'sparse-1.0.0.tar.zst.002'" in said


def test_a_bundle_above_4_gib_is_signed_carried_and_mounted(
    tmp_path: Path, place: Any, write: Any
) -> None:
    """What lands on the disk is the whole size, so it is taken away again between the two."""
    first = write(tmp_path / "sparse-1.0.0.tar.zst", 4 * GIB + 5, None)
    place.trust("alice", place.keygen("alice"))
    alice = ("--key", place.keys / "alice", "--passphrase-file", place.passphrase)
    (stick := tmp_path / "stick").mkdir()
    for words in (
        ("sign", first, *alice),
        ("carry", first, stick, "--split", "fat32"),
        ("mount", first),
    ):
        code, said, peak = measured(place, *words)
        assert code == 0, said
        assert peak < PEAK
        shutil.rmtree(stick / "sparse-1.0.0", ignore_errors=True)
    zeros = place.root / "mounts" / "sparse" / "current" / "samples" / "zeros.bin"
    assert zeros.stat().st_size == 4 * GIB + 5
    shutil.rmtree(place.root)
