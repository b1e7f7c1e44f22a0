"""Leaves the network, for good, and proves it by trying each known escape.

Whatever is loaded afterwards (a model, a library, code inside either) runs in a process that
cannot reach a network, whoever started it and whatever its environment claims: what holds is
measured after it was done, and no variable is believed.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airgap.errors import AirgapError
from runtime import seccomp
from runtime.confinement import drop_privileges, enter_empty_network, enter_landlock
from runtime.descriptors import close_all_but, refuse_ways_out
from runtime.syscalls import machine

OFFLINE_VARIABLES: Final = {
    "HF_HUB_OFFLINE": "1",  # read first: its 0 overrides the next one's 1
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYANNOTE_METRICS_ENABLED": "0",  # else every pipeline reports to otel.pyannote.ai
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime 1.29 and newer, used for voice detection
    "OTEL_SDK_DISABLED": "true",
    "DO_NOT_TRACK": "1",
}
"""What libraries are told, so that they look for files instead of waiting for a network."""

_READ_THEM_AT_IMPORT: Final = ("huggingface_hub", "transformers", "datasets", "pyannote.audio")


@dataclass(frozen=True)
class Isolation:
    """What holds, measured after the network was left.

    Attributes:
        mechanisms: what stands between the process and a network, in words for people.
        escapes_tried: the ways out that were tried; none worked.
    """

    mechanisms: tuple[str, ...]
    escapes_tried: tuple[str, ...]

    def sentence(self) -> str:
        """One line for a log."""
        return (
            f"no network: {', '.join(self.mechanisms)}; "
            f"{len(self.escapes_tried)} escapes tried, none worked"
        )


def leave_network(*, keep: Collection[int] = ()) -> Isolation:
    """Leave every network for good.

    Called once, in the main thread, before there is another thread, before anything else is
    opened (every other descriptor is closed) and before a speech library is imported. There is
    no way back, also when it fails. Root loses its right over other users' files with its
    other capabilities.

    Args:
        keep: descriptors that stay open: files, pipes, and the listening sockets of a server,
            which goes on accepting its clients.

    Raises:
        UsageError: this is not Linux on x86-64 or arm64.
        AirgapError: it was called too late, the kernel lacks the filter, a descriptor is a way
            out, or an escape worked.
    """
    machine_here = machine()
    from runtime.proof import laid_bait, try_every  # noqa: PLC0415 - imports only where Linux is

    _refuse_threads()
    set_offline_variables()
    refuse_ways_out(keep)
    close_all_but(keep)
    with laid_bait(keep) as bait:
        before = _namespaces()
        enter_empty_network(os.geteuid(), os.getegid())
        drop_privileges()
        landlock = enter_landlock()
        seccomp.install(seccomp.program(machine_here))
        mechanisms = _measured(before, landlock=landlock)
        return Isolation(mechanisms, escapes_tried=try_every(bait))


def set_offline_variables() -> None:
    """Tell the libraries that there is no network, whatever was set before.

    Raises:
        AirgapError: one of them was imported already, and has read the variables.
    """
    for name in _READ_THEM_AT_IMPORT:
        if name in sys.modules:
            raise AirgapError(
                f"cannot go offline: '{name}' was imported before, and read its settings then"
            )
    os.environ.update(OFFLINE_VARIABLES)


def _refuse_threads() -> None:
    """A thread that runs already would keep its namespace, and could open what was just closed."""
    try:
        threads = len(list(Path("/proc/self/task").iterdir()))
    except OSError as error:
        raise AirgapError(
            f"cannot leave the network: cannot see this process in /proc: {error.strerror}"
        ) from error
    if threads > 1 or threading.current_thread() is not threading.main_thread():
        raise AirgapError(
            f"cannot leave the network: expected one thread, found {threads}; "
            "it must be left before anything starts another"
        )


def _namespaces() -> dict[str, int]:
    return {name: Path("/proc/self/ns", name).stat().st_ino for name in ("net", "user")}


def _measured(before: dict[str, int], *, landlock: bool) -> tuple[str, ...]:
    """What holds now, by what the kernel says of this process.

    Raises:
        AirgapError: something that needs no privilege does not hold.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines()
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    rights = ("CapInh", "CapPrm", "CapEff", "CapAmb")
    needed = {
        "seccomp filter": status.get("Seccomp") == "2",
        "no new privileges": status.get("NoNewPrivs") == "1",
        "no capabilities": not any(int(status.get(name, "1"), 16) for name in rights),
    }
    if missing := [name for name, holds in needed.items() if not holds]:
        raise AirgapError(f"cannot leave the network: not in force: {', '.join(missing)}")
    now = _namespaces()
    granted = {
        "network namespace": now["net"] != before["net"],
        "user namespace": now["user"] != before["user"],
        "Landlock": landlock,
    }
    return (*needed, *(name for name, holds in granted.items() if holds))
