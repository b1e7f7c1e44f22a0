"""What a build would take and carry, from profile and lock alone: no network, nothing written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from airgap import memory
from airgap.console import Console, human_size
from airgap.memory import MB
from bundler.lock import Lock, LockedModel
from bundler.measured import recall
from bundler.profile import Profile
from bundler.sources import Access
from bundler.wheelhouse.installed import installed_size
from bundler.wheelhouse.locked import LockedRuntime
from bundler.wheelhouse.targets import Target
from bundler.wheelhouse.wanted import CARRIED, HOST

OVERHEAD: Final = 1_000
"""A bundle is at most one part in so many larger than its files."""

_SERVER: Final = "server"
"""The extra that no profile must name: a host may do without `airgap serve`."""


@dataclass(frozen=True)
class PlannedModel:
    """A model as `plan` shows it; `size` in bytes.

    Attributes:
        terms: of a gated model, where they are accepted, and the digest of their text.
        load_seconds, load_memory: what loading it took on this builder, the memory in bytes and
            with the engine's libraries; None where it was never loaded here.
    """

    id: str
    role: str
    engine: str | None
    origin: str
    licence: str
    non_commercial: bool
    gated: bool
    terms: str | None
    files: int
    size: int
    load_seconds: float | None = None
    load_memory: int | None = None


@dataclass(frozen=True)
class PlannedTarget:
    """What one target installs.

    Attributes:
        target: `cp311-manylinux_2_28_x86_64`.
        wheels: how many, in how many bytes; 0 where they are not known yet.
    """

    target: str
    wheels: int
    size: int


@dataclass(frozen=True)
class PlannedRuntime:
    """The programs that travel along.

    Attributes:
        extras: of this project.
        targets: for which Pythons and platforms.
        files: wheels and carried Pythons, each once.
        size: their bytes together; this project's own wheel, some hundred kilobytes, comes to it.
        installed: bytes that the bootstrap and the largest target take on the host, an estimate.
        python: `carried`, or `host` where the host must have one of the targets.
        built: sdists that a wheel is built of on the builder.
    """

    extras: tuple[str, ...]
    targets: tuple[PlannedTarget, ...]
    files: int
    size: int
    installed: int
    python: str
    built: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What a build of a lock takes. Sizes in bytes; memory is an estimate, rounded up.

    Attributes:
        hosts: what the builder must reach, if every source is to be tried.
        cache_disk: the builder's download cache, without archives that a source is cut from.
        bundle_disk: the bundle, at most.
        host_disk: the isolated host: the bundle, one copy of its files, and the runtime installed.
        memory: of the isolated host, while the largest model is loaded and verified.
        gpu_memory: of its GPU; None on a CPU.
        missing: what the lock lacks; it cannot be built before.
        runtime: the programs that travel along; None where the host has its own.
        extras: of this project, that the host cannot do without, whoever brings them.
    """

    name: str
    version: str
    sequence: int
    device: str
    diarization: str
    models: tuple[PlannedModel, ...]
    hosts: tuple[str, ...]
    size: int
    cache_disk: int
    bundle_disk: int
    host_disk: int
    memory: int
    gpu_memory: int | None
    missing: tuple[str, ...]
    runtime: PlannedRuntime | None
    extras: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The body of the document `airgap/plan/v1`."""
        return asdict(self)


def make_plan(profile: Profile, lock: Lock, access: Access) -> Plan:
    """Add up what a lock names; `access` is asked for names of hosts and former loads."""
    unique = {(file.sha256 or path): file.bytes_expected for path, file in _named(lock)}
    size = sum(unique.values())
    bundle = size + size // OVERHEAD + MB
    runtime = _runtime(lock.runtime) if lock.runtime else None
    hosts = {
        host for model in lock.artifacts for src in model.sources for host in src.hosts(access)
    }
    return Plan(
        name=lock.name,
        version=lock.version,
        sequence=lock.sequence,
        device=profile.device,
        diarization=profile.diarization,
        models=tuple(_planned(model, access) for model in lock.models),
        hosts=tuple(sorted(hosts)),
        size=size,
        cache_disk=size,
        bundle_disk=bundle,
        host_disk=bundle + size + (runtime.installed if runtime else 0),
        memory=memory.to_load(_loaded(lock)),
        gpu_memory=memory.to_load_on_gpu(_loaded(lock)) if profile.device == "gpu" else None,
        missing=tuple(lock.missing()),
        runtime=runtime,
        extras=profile.extras,
    )


def _named(lock: Lock) -> Iterator[tuple[str, Any]]:
    for model, file in lock.files():
        yield f"{model.id}/{file.path}", file


def _planned(model: LockedModel, access: Access) -> PlannedModel:
    measured = recall(access.cache, [file.sha256 for file in model.files])
    return PlannedModel(
        id=model.id,
        role=model.role,
        engine=model.engine,
        origin=model.origin,
        licence=model.licence,
        non_commercial=model.is_non_commercial,
        gated=model.gated,
        terms=str(model.terms) if model.terms else None,
        files=len(model.files),
        size=model.size,
        load_seconds=measured.seconds if measured else None,
        load_memory=measured.peak if measured else None,
    )


def _runtime(runtime: LockedRuntime) -> PlannedRuntime:
    files = {file.path: file for one in runtime.artifacts for file in one.files}
    return PlannedRuntime(
        extras=runtime.extras,
        targets=tuple(
            PlannedTarget(
                one.target.name,
                len(one.wheels),
                sum(files[wheel].bytes_expected for wheel in one.wheels),
            )
            for one in runtime.targets
        ),
        files=len(files),
        size=sum(file.bytes_expected for file in files.values()),
        installed=installed_size(runtime),
        python=CARRIED if runtime.interpreters else HOST,
        built=tuple(one.recipe.sdist.path for one in runtime.releases if one.recipe),
    )


def _loaded(lock: Lock) -> list[tuple[str | None, int]]:
    """Engine and size of every model."""
    return [(model.engine, model.size) for model in lock.models]


def show_plan(plan: Plan, console: Console) -> None:
    """Print a plan as tables and lines."""
    console.data(f"{plan.name} {plan.version} (sequence {plan.sequence}), for {plan.device}")
    console.data("")
    console.table(
        ("MODEL", "ROLE", "FROM", "FILES", "SIZE", "LICENCE"),
        [
            (m.id, m.role, m.origin, str(m.files), human_size(m.size), _licence(m))
            for m in plan.models
        ],
    )
    console.data("")
    if plan.runtime:
        console.table(
            ("RUNTIME", "WHEELS", "SIZE"),
            [(one.target, str(one.wheels), human_size(one.size)) for one in plan.runtime.targets],
        )
        console.data("")
    console.table(("NEEDS", ""), list(_needs(plan)))
    for defect in plan.missing:
        console.warn(f"the lock is incomplete: {defect}")


def _licence(model: PlannedModel) -> str:
    marks = [model.licence]
    if model.non_commercial:
        marks.append("NON-COMMERCIAL")
    if model.gated:
        at = f" at {model.terms}" if model.terms else ""
        marks.append(f"GATED: accept its terms{at}, set HF_TOKEN")
    return ", ".join(marks)


def _python(plan: Plan) -> str:
    """What the host must have before it has the bundle."""
    if plan.runtime is None:
        extras = ",".join((*plan.extras, _SERVER))
        return f"airgap-bundler[{extras}] installed, with all that it needs: runtime is none"
    if plan.runtime.python == CARRIED:
        return "none: the bundle carries it"
    pythons = sorted({Target.parse(one.target).python for one in plan.runtime.targets})
    return f"{' or '.join(pythons)}, and nothing else"


def _disk(plan: Plan) -> str:
    """What the host keeps: nothing of it is a passing need."""
    if plan.runtime is None:
        return f"{human_size(plan.host_disk)} (bundle and one copy)"
    installed = human_size(plan.runtime.installed)
    about = "at least" if plan.missing else "about"
    return f"{about} {human_size(plan.host_disk)} (bundle, one copy, and {installed} installed)"


def _needs(plan: Plan) -> Iterator[tuple[str, str]]:
    yield "hosts to reach", ", ".join(plan.hosts) or "none"
    yield "to download", f"{'at least' if plan.missing else 'about'} {human_size(plan.size)}"
    if plan.runtime:
        told = f"{human_size(plan.runtime.size)} in {plan.runtime.files} files, each once"
        yield "of that, runtime", told
        if plan.runtime.built:
            yield (
                "built from source",
                f"{', '.join(plan.runtime.built)} (confined, without network)",
            )
    builder = plan.cache_disk + plan.bundle_disk
    yield "builder's disk", f"{human_size(builder)} (download cache and bundle)"
    yield "bundle", f"{human_size(plan.bundle_disk)} at most"
    yield "isolated host's disk", _disk(plan)
    yield "isolated host's RAM", f"about {human_size(plan.memory)} (while loading, verified)"
    yield "isolated host's Python", _python(plan)
    if plan.runtime and _SERVER not in plan.runtime.extras:
        yield "airgap serve", f"not with this runtime: `{_SERVER}` is not among its extras"
    for model in plan.models:
        if model.load_memory is not None:
            took = f"{model.load_seconds} s, {human_size(model.load_memory)} of memory"
            yield f"loading {model.id}", f"{took} (measured on this builder)"
    if plan.gpu_memory is not None:
        yield "isolated host's VRAM", f"about {human_size(plan.gpu_memory)}"
