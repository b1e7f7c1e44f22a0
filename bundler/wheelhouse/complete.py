"""Whether what a target installs is all that its wheels ask for, by what the wheels say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from airgap.errors import AirgapError, UsageError
from bundler.lock import Lock
from bundler.wheelhouse.locked import LockedRuntime, LockedTarget
from bundler.wheelhouse.metadata import WheelMetadata, read_metadata
from bundler.wheelhouse.names import WheelName, normalised
from bundler.wheelhouse.own import PROJECT, own_wheel


def check_complete(lock: Lock, cached: Mapping[str, Path]) -> None:
    """Follow every requirement of every target, from this project on.

    Args:
        lock: complete.
        cached: its files, by SHA-256.

    Raises:
        UsageError: something is asked for that is not locked, or is locked in another version.
        AirgapError: a file is no wheel.
    """
    if lock.runtime is None:
        return
    known = _known(lock.runtime, cached)
    own = own_wheel().metadata
    defects = [
        defect
        for target in lock.runtime.targets
        for defect in _lacking(target, lock.runtime.extras, {**_of(target, known), PROJECT: own})
    ]
    if defects:
        lines = "\n".join(f"  {one}" for one in sorted(set(defects)))
        raise UsageError(
            f"the runtime of '{lock.name}' would not install on the isolated host:\n{lines}",
            hint=f"airgap lock {lock.name}",
        )


def _known(runtime: LockedRuntime, cached: Mapping[str, Path]) -> dict[str, WheelMetadata]:
    """What each wheel says, by its name."""
    known = {}
    for release in runtime.releases:
        for file in release.files:
            with cached[file.sha256 or ""].open("rb") as stream:
                known[file.path] = read_metadata(stream, file.path)
    return known


def _of(target: LockedTarget, known: Mapping[str, WheelMetadata]) -> dict[str, WheelMetadata]:
    return {WheelName.parse(file).name: known[file] for file in target.wheels}


def _lacking(
    target: LockedTarget, extras: tuple[str, ...], there: Mapping[str, WheelMetadata]
) -> Iterator[str]:
    """Requirements that nothing meets, each with who asks."""
    asked = [(PROJECT, extra) for extra in ("", *extras)]
    seen = set(asked)
    while asked:
        project, extra = asked.pop()
        for wanted in _requirements(there[project], target, extra):
            name = normalised(wanted.name)
            if defect := _defect(wanted, there.get(name)):
                yield f"{target.target.name}: {project} asks for '{wanted}', {defect}"
                continue
            following = {(name, one) for one in ("", *map(normalised, wanted.extras))} - seen
            seen |= following
            asked += sorted(following)


def _requirements(
    metadata: WheelMetadata, target: LockedTarget, extra: str
) -> Iterator[Requirement]:
    """What a wheel asks for on this target, with an extra or without."""
    environment = target.target.environment()
    for line in metadata.requires:
        try:
            wanted = Requirement(line)
        except InvalidRequirement as error:
            raise AirgapError(f"{metadata.name} asks for '{line}', which cannot be read") from error
        if wanted.marker is None:
            if not extra:
                yield wanted
        elif wanted.marker.evaluate({**environment, "extra": extra}):
            yield wanted


def _defect(wanted: Requirement, found: WheelMetadata | None) -> str | None:
    if found is None:
        return "which is not locked"
    try:
        if wanted.specifier.contains(Version(found.version), prereleases=True):
            return None
    except InvalidVersion:
        pass
    return f"and {found.version} is locked"
