"""Verified bundle -> in service: its runtime beside the old one, tried, then one rename.

Whatever fails, what was served before is served still. Models and programs switch by the one
rename of `current`, because a generation has a link to its runtime. From then until its service
has shown that it stays up, a generation is on probation: killed there, the next change goes back.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from airgap.accepted import AcceptedFile
from airgap.console import Advance, console, quietly
from airgap.errors import AirgapError
from airgap.manifest import Manifest
from airgap.verify import VerifiedBundle
from runtime import environments, generation, probation, trial, wheelhouse
from runtime import mount as mounting
from runtime.environments import Runtime
from runtime.folders import Folder
from runtime.generation import Generation
from runtime.mount import Prepared
from runtime.service import Service

_OF_A_RUNTIME: Final = ("libraries.", "hardware.engine", "gpu.cu", "bundle.promise")
"""Checks of the doctor's that speak of what is installed: the new runtime is tried itself."""


@dataclass(frozen=True)
class Updated:
    """What is served now.

    Attributes:
        number: of the generation.
        previous: of the one that was served before; None for the first.
        runtime: None where the bundle carries none.
        heard: what the new runtime made of the recording.
    """

    number: int
    previous: int | None
    runtime: Runtime | None
    heard: str


def update(
    root: Folder,
    verified: VerifiedBundle,
    accepted: AcceptedFile,
    now: datetime,
    *,
    sample: Path | None,
    service: Service | None,
    advance: Advance = quietly,
) -> Updated:
    """Bring a bundle and the runtime that it carries into service.

    Args:
        root: locked by this process.
        verified: the bundle.
        accepted: where this host remembers what it mounted; raised last.
        now: the clock, for the record.
        sample: a recording to try it with; None takes the bundle's own.
        service: what to restart; None leaves that to others.
        advance: told the stored bytes that are done.

    Raises:
        UsageError: it carries no runtime for this host, or nothing to try it with.
        AirgapError: a step failed; what was served before is served again.
        DamagedError: the bundle is not what was signed.
    """
    manifest = verified.bundle.manifest
    if sample is None:
        trial.sample(manifest)  # not found missing after everything was installed
    with mounting.prepared(root, verified, now, advance) as new:
        runtime = _installed(root, generation.read(new.tree, 0))
        console.say("trying the new runtime on a recording")
        heard = _tried(runtime, new, root.path, sample)
        number = new.switch() if service is None else _proved(service, new)
    accepted.raise_to(verified.bundle.statement, now)
    return Updated(number, new.previous, runtime, heard)


def settle(root: Folder, service: Service | None) -> None:
    """Have what is known to serve in service, where an update was killed before it knew.

    Args:
        root: locked by this process.
        service: what is to be restarted then.

    Raises:
        UsageError: the service does not run.
        AirgapError: it does not start by what served before.
    """
    left = probation.settle(root)
    if service is None:
        return
    if left:
        service.restart()
    service.require_active()


def require_fit(root: Path, manifest: Manifest) -> None:
    """Raise AirgapError where the doctor says that this host would not run the bundle."""
    from runtime.doctor import checks, host, offered  # noqa: PLC0415 - it asks the engine
    from runtime.doctor.facts import Wish  # noqa: PLC0415

    facts = host.examine(root, Wish())
    carries = wheelhouse.is_carried(manifest)
    failed = [
        f"{one.finding.found} (fix: {one.finding.fix})"
        for one in checks.diagnose(facts, [offered.of_manifest(facts, root, manifest)])
        if one.finding.state == "fail" and not (carries and one.check.startswith(_OF_A_RUNTIME))
    ]
    if failed:
        raise AirgapError(
            f"'{manifest.title}' would not run here: {'; '.join(failed)}",
            hint="airgap doctor, with the bundle",
        )


def _installed(root: Folder, one: Generation) -> Runtime | None:
    if not wheelhouse.is_carried(one.manifest):
        return None
    console.say("installing its runtime beside the old one")
    runtime = environments.install(root, one)
    environments.link(one.folder, runtime)
    return runtime


def _tried(runtime: Runtime | None, new: Prepared, root: Path, sample: Path | None) -> str:
    """What the runtime hears; this environment's own, where the bundle carries none."""
    with_ = runtime or environments.own()
    return trial.by_runtime(with_, new.tree.path, root, sample)


def _proved(service: Service, new: Prepared) -> int:
    """Switch and restart; where that fails, go back and restart what was served before."""
    probation.begin(new.tree, new.previous)
    number = new.switch()
    try:
        service.restart()
    except AirgapError:
        console.warn(f"generation {number} does not serve; going back")
        probation.go_back(new.name, new.previous or 0)
        with suppress(AirgapError):  # the first failure is the one to tell
            service.restart()
        probation.forget(new.name, number)
        raise
    probation.end(new.tree)
    return number
