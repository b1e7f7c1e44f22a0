"""What the numbers were taken on."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import ssl
import time
from importlib import metadata
from pathlib import Path

import zstandard
from measure import output_of


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def described(folder: Path) -> list[str]:
    """Cores, memory, file system, versions: a line each."""
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    model = found[1] if found else platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    versions = (
        f"Python {platform.python_version()}",
        ssl.OPENSSL_VERSION,
        f"zstandard {metadata.version('zstandard')} (zstd {_version(zstandard.ZSTD_VERSION)})",
    )
    return [
        f"{cores()} cores of {model}, {memory:.0f} GB; load {os.getloadavg()[0]:.2f} at the start",
        f"{platform.system()} {platform.release()}; files on {filesystem(folder)}",
        ", ".join(versions),
        *(first_line(tool, "--version") for tool in ("tar", "zstd", "sha256sum")),
        f"hashlib's SHA-256 of memory, one thread: {hash_rate():.0f} MB/s",
    ]


def _version(parts: tuple[int, ...]) -> str:
    return ".".join(map(str, parts))


def first_line(*command: str) -> str:
    """The first line that a tool prints."""
    if shutil.which(command[0]) is None:
        raise SystemExit(f"{command[0]} is not installed, and the bench compares with it")
    return output_of(*command).splitlines()[0].strip("* ")


def filesystem(folder: Path) -> str:
    """The type of the file system that a folder lies on."""
    return output_of("df", "--output=fstype", folder).split()[-1]


def hash_rate() -> float:
    """MB/s of one thread of hashlib over memory that is warm; the best of five."""
    block = bytes(4 << 20)
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(16):
            hashlib.sha256(block).digest()
        taken.append(time.perf_counter() - start)
    return 16 * len(block) / min(taken) / 1e6
