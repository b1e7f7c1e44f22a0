"""Gathers the facts about a host: reads, asks two processes of its own, and writes nothing."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import stat
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from airgap import limits, places, trust_check
from airgap.accepted import AcceptedFile, clock
from airgap.audit import AuditLog
from airgap.errors import AirgapError
from airgap.finding import Trouble
from airgap.strict_json import from_time
from airgap.trust import TrustStore
from runtime.doctor import libraries, memory, network
from runtime.doctor.facts import (
    Cuda,
    Gpu,
    Host,
    Libraries,
    Machine,
    Place,
    Surroundings,
    Trust,
    Wish,
)
from runtime.doctor.surroundings import VARIABLES

_LONGEST: Final = 60
"""Seconds for a probe; it takes a fifth of one, and a driver that hangs must not hang us."""

_QUICK_LOG: Final = 2 * limits.MIB
"""Bytes of an audit log that is judged whole: some thousand events, a second."""

_LINKED: Final = (b"libcudart", b"libc10_cuda", b"libtorch_cuda")
"""What a compiled part names that was built for CUDA."""


def examine(root: Path, wish: Wish) -> Host:
    """Every fact about this host.

    Args:
        root: the host's.
        wish: what is going to be asked of `airgap serve`.

    Raises:
        AirgapError: this user may not look into the root, so that nothing could be said.
    """
    require_sight(root)
    engine, guard = _Probe("engine", wish.device, wish.compute_type), _Probe("guard")
    trust, place, installed = _trust(root), _place(root), _libraries()
    return Host(
        wish=wish,
        trust=trust,
        place=place,
        machine=_machine(engine.answer()),
        libraries=installed,
        surroundings=Surroundings(
            variables={name: os.environ[name] for name in VARIABLES if name in os.environ},
            routes=network.default_routes(
                network.read("/proc/net/route"), network.read("/proc/net/ipv6_route")
            ),
            resolvers=network.resolvers(network.read("/etc/resolv.conf")),
            guard=_sentence(guard.answer()),
        ),
    )


def require_sight(root: Path) -> None:
    """A root that is not there yet is no obstacle; one that is hidden would look like that.

    Raises:
        AirgapError: this user may not look into it.
    """
    try:
        root.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise AirgapError(
            f"this user cannot look into '{root}': {error.strerror}",
            hint="run this as its owner, or give another --root",
        ) from error


# --- trust ------------------------------------------------------------------------------------


def _trust(root: Path) -> Trust:
    now = clock()
    store: int | Trouble
    concerns: tuple[trust_check.Concern, ...] = ()
    record, newest = None, None
    try:
        accepted = AcceptedFile(root).load()
        newest = from_time(accepted.newest) if accepted.newest else None
    except AirgapError as error:
        record = Trouble.of(error)
    try:
        policy = TrustStore.of_host(root).load()
        store = len(policy.signers)
        concerns = tuple(trust_check.concerns(policy, max(now, newest or now)))
    except AirgapError as error:
        store = Trouble.of(error)
    return Trust(store, concerns, newest, record, now, _audit(root))


def _audit(root: Path) -> str | Trouble | None:
    log = AuditLog.of(root)
    try:
        size = log.path.lstat().st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        return Trouble(f"cannot look at the audit log '{log.path}': {error.strerror}", None)
    try:
        if size > _QUICK_LOG:
            return _last_line(log)
        verdict = log.verify()
        verdict.require_sound(str(log.path))
    except AirgapError as error:
        return Trouble.of(error)
    return f"{verdict.events} event(s), unbroken"


def _last_line(log: AuditLog) -> str | Trouble:
    """Of a long log what the next event needs alone: a last line that can be chained to."""
    ((line, raw),) = log.lines(1)
    if line is None and raw.endswith(b"\n"):
        return Trouble(
            f"the last line of the audit log '{log.path}' is damaged: nothing can be added to it",
            "airgap audit verify",
            refused=True,
        )
    return "its last line alone was looked at, for it is long; all of it: airgap audit verify"


# --- the root -----------------------------------------------------------------------------------


def _place(root: Path) -> Place:
    there = _nearest(root)
    system = _file_system(there)
    temporary = places.temporary()
    scratch = _file_system(temporary) if os.access(temporary, os.W_OK | os.X_OK) else None
    below = [root / name for name in ("store", "store/sha256", "mounts", "state")]
    ours = [root, TrustStore.of_host(root).folder, *below]
    spool = places.spool(root)
    spooled = _status(spool)
    return Place(
        root=root,
        free=system.f_bavail * system.f_frsize if system else None,
        free_files=system.f_favail if system and system.f_files else None,
        writable=os.access(there, os.W_OK | os.X_OK),
        open_to_others=tuple(one for one in ours if _open_to_others(one)),
        spool=spool,
        spool_owner=spooled.st_uid if spooled else None,
        spool_makeable=os.access(_nearest(spool.parent), os.W_OK | os.X_OK),
        user=os.geteuid(),
        temporary=temporary,
        temporary_free=scratch.f_bavail * scratch.f_frsize if scratch else None,
    )


def _nearest(path: Path) -> Path:
    """The folder itself, or the nearest above it that is there."""
    return next((one for one in (path, *path.parents) if os.path.lexists(one)), Path("/"))


def _file_system(path: Path) -> os.statvfs_result | None:
    try:
        return os.statvfs(path)
    except OSError:
        return None


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def _open_to_others(path: Path) -> bool:
    found = _status(path)
    return found is not None and bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


# --- what is installed --------------------------------------------------------------------------


def _libraries() -> Libraries:
    versions = {}
    for name in libraries.DISTRIBUTIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return Libraries(versions, _torch_cuda(), _torchaudio_wants_cuda())


def _torch_cuda() -> str | None:
    """The CUDA that torch was built for, out of the file that says so: importing takes seconds."""
    folder = _folder("torch")
    content = network.read(str(folder / "version.py")) if folder else ""
    found = re.search(r"^(?:cuda|hip)\b[^=]*= *'([^']+)'", content, re.MULTILINE)
    return found[1] if found else None


def _torchaudio_wants_cuda() -> bool:
    folder = _folder("torchaudio")
    parts = sorted((folder / "lib").glob("*.so")) if folder else []
    return any(mark in part.read_bytes() for part in parts for mark in _LINKED)


def _folder(package: str) -> Path | None:
    found = find_spec(package)
    return Path(found.origin).parent if found and found.origin else None


# --- processor, memory, GPU ---------------------------------------------------------------------


def _machine(answer: dict[str, Any] | Trouble) -> Machine:
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", network.read("/proc/cpuinfo"), re.MULTILINE)
    total, available = memory.total_and_available()
    engine: str | Trouble | None = answer if isinstance(answer, Trouble) else None
    cuda = Cuda(0, None, None, (), cublas=False, wheels=())
    if not isinstance(answer, Trouble):
        engine = _sentence(answer["engine"]) if answer["engine"] else None
        cuda = _cuda(answer["cuda"])
    return Machine(
        architecture=platform.machine(),
        features=frozenset(flags[1].split()) if flags else frozenset(),
        cores=len(os.sched_getaffinity(0)),
        memory=total,
        available=available,
        engine=engine,
        cuda=cuda,
    )


def _cuda(told: dict[str, Any]) -> Cuda:
    return Cuda(
        boards=told["boards"],
        driver=_pair(told["driver"]) if told["driver"] else None,
        error=told["error"],
        gpus=tuple(
            Gpu(one["name"], _pair(one["capability"]), one["memory"]) for one in told["gpus"]
        ),
        cublas=told["cublas"],
        wheels=tuple(told["wheels"]),
    )


def _pair(values: list[int]) -> tuple[int, int]:
    major, minor = values
    return major, minor


# --- processes of their own ---------------------------------------------------------------------


class _Probe:
    """One question to a process of its own, which runs while other facts are gathered."""

    def __init__(self, *question: str) -> None:
        self._question = question[0]
        # -P: nothing that lies in the current folder is taken for a library.
        self._child = subprocess.Popen(  # noqa: S603 - this interpreter, and our own module
            [sys.executable, "-P", "-m", "runtime.doctor.probe", *question],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def answer(self) -> dict[str, Any] | Trouble:
        """What it said; where it died or hangs, that is what was found."""
        try:
            out, err = self._child.communicate(timeout=_LONGEST)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.communicate()
            return Trouble(f"asking about the {self._question} hangs", "nvidia-smi; dmesg")
        if self._child.returncode != 0:
            return Trouble(f"asking about the {self._question} {self._death(err)}", None)
        told: dict[str, Any] = json.loads(out.splitlines()[-1])  # a library may have spoken before
        return told

    def _death(self, err: bytes) -> str:
        code = self._child.returncode
        if code < 0:
            return f"ended with {signal.Signals(-code).name}"
        last = err.decode(errors="replace").strip().rpartition("\n")[2]
        return f"failed: {last[:200]}"


def _sentence(told: dict[str, Any] | Trouble) -> str | Trouble:
    """What a probe says works; or why it does not."""
    if isinstance(told, Trouble):
        return told
    if (message := told.get("message")) is not None:
        return Trouble(message, told["hint"])
    return str(told["sentence"])
