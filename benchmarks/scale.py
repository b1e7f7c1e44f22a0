"""Time and memory of `airgap verify` from 1 to 16 GB; the bundles are sparse files.

    python benchmarks/scale.py [GIGABYTES …]

They lie in TMPDIR, and take next to nothing of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import timed

FAT32 = (1 << 32) - 1


def main() -> None:
    sizes = [int(word) for word in sys.argv[1:]] or [1, 2, 4, 8, 16]
    print("sparse input: the disk is spared, and every byte is read and hashed")
    print("| bundle | files | seconds | GB/s | peak memory |\n|---|---|---|---|---|")
    for size in sizes:
        for each in (0, FAT32):
            if size * 10**9 > each:
                measure(size, each)


def measure(size: int, each: int) -> None:
    """One line of the table."""
    with tempfile.TemporaryDirectory(prefix="airgap-scale-") as folder:
        made = [Path(__file__).with_name("sparse.py"), folder, str(size * 10**9), str(each)]
        subprocess.run([sys.executable, *made], check=True)
        files = len(list(Path(folder).iterdir()))
        verify = f"{sys.executable} -m airgap verify -q --integrity-only {folder} || test $? = 4"
        run = timed(verify, os.environ)
    cells = (f"{size} GB", files, f"{run.seconds:.1f}", f"{size / run.seconds:.2f}")
    print("|", *(f"{cell} |" for cell in cells), f"{run.peak / 1e6:.0f} MB |", flush=True)


if __name__ == "__main__":
    main()
