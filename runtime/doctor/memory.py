"""How much memory a process may have here: the machine's, or its control group's."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from runtime.doctor.network import read

_GROUPS: Final = Path("/sys/fs/cgroup")


def total_and_available() -> tuple[int, int]:
    """Bytes that there are, and that are available now, within the limit of every control group."""
    total, available = of_machine(read("/proc/meminfo"))
    limits = [int(text) for text in _limits() if text.strip().isdigit()]
    most = min([total, *limits])
    return most, min(available, most)


def of_machine(content: str) -> tuple[int, int]:
    """Total and available bytes, from /proc/meminfo."""
    lines = (line.split() for line in content.splitlines())
    kib = {line[0]: int(line[1]) for line in lines if len(line) > 1 and line[1].isdigit()}
    return kib.get("MemTotal:", 0) * 1024, kib.get("MemAvailable:", 0) * 1024


def _limits() -> list[str]:
    """`memory.max` of this process's group and of those around it; of version 1, its one file."""
    groups = [line.partition("::")[2] for line in read("/proc/self/cgroup").splitlines()]
    own = _GROUPS / next((group for group in groups if group), "/").lstrip("/")
    around = [own, *(parent for parent in own.parents if parent.is_relative_to(_GROUPS))]
    return [
        *(read(str(group / "memory.max")) for group in around),
        read(str(_GROUPS / "memory/memory.limit_in_bytes")),
    ]
