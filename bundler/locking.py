"""Profile -> Lock: what the hub has now, as commits, sizes and digests.

Large files have their SHA-256 on the hub. Small ones have only git's blob id there, so they are
downloaded, checked against it, hashed, and kept in the download cache for the build.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from airgap.console import console, human_size, quietly
from airgap.digest import CHUNK, git_blob_id, is_sha256
from airgap.errors import AirgapError, UsageError
from airgap.limits import MIB
from airgap.paths import collisions, path_defect
from airgap.sink import Sink
from bundler.catalog import Entry, entry_for
from bundler.changes import Change
from bundler.images import lock_image
from bundler.lock import Lock, LockedFile, LockedModel
from bundler.profile import Profile, WantedModel
from bundler.sources import Access
from bundler.sources.huggingface import Repository, RepositoryFile
from bundler.sources.reading import COMMIT
from bundler.wheelhouse.pinning import pin

SMALL: Final = 32 * MIB
"""A file without a SHA-256 on the hub; it stores everything above 10 MB the other way."""

FIRST_VERSION: Final = "1.0.0"


@dataclass(frozen=True)
class Locked:
    """The lock as it is to be now, and how it differs from the previous one."""

    lock: Lock
    changes: tuple[Change, ...]


def lock_profile(
    profile: Profile,
    previous: Lock | None,
    access: Access,
    *,
    version: str | None = None,
    sequence: int | None = None,
    runtime_only: bool = False,
) -> Locked:
    """Resolve every model of a profile, and what the isolated host installs to run them.

    Version and sequence grow by one where anything differs from `previous`; else `previous`
    itself is the answer, so that its file stays as it is.

    Args:
        profile: what is wanted.
        previous: the lock that there is; its sources are kept where the digests stay.
        access: the hub, and the download cache for small files.
        version: the version to give, instead of the next one.
        sequence: the sequence to give, instead of the next one.
        runtime_only: leave the models as they are locked, and ask no hub.

    Raises:
        UsageError: the models are to be left, and are not locked.
        AirgapError: the hub does not answer, lacks a file that the engine needs, or sends
            others than it lists.
    """
    former = {model.id: model for model in previous.models} if previous else {}
    models = _kept(profile, former) if runtime_only else _resolved(profile, former, access)
    runtime = (
        pin(profile.runtime, previous.runtime if previous else None, access)
        if profile.runtime
        else None
    )
    if previous is None:
        lock = Lock(
            name=profile.name,
            version=version or FIRST_VERSION,
            sequence=sequence or 1,
            created=_now(),
            profile_sha256=profile.sha256,
            models=models,
            runtime=runtime,
        )
        return Locked(lock, tuple(changes(None, lock)))
    lock = replace(
        previous,
        name=profile.name,
        profile_sha256=profile.sha256,
        models=models,
        runtime=runtime,
    )
    lock = replace(lock, version=version or lock.version, sequence=sequence or lock.sequence)
    if lock == previous:
        return Locked(previous, ())
    lock = replace(
        lock,
        version=version or next_version(previous.version),
        sequence=sequence or previous.sequence + 1,
        created=_now(),
    )
    return Locked(lock, tuple(changes(previous, lock)))


def next_version(version: str) -> str:
    """`version` with its last number raised by one: 1.0.9 -> 1.0.10, 2026b -> 2027b."""
    last = re.search(r"(\d+)(\D*)$", version)
    if last is None:
        return f"{version}.1"
    return f"{version[: last.start()]}{int(last[1]) + 1}{last[2]}"


def changes(old: Lock | None, new: Lock) -> Iterator[Change]:
    """What differs, in the order of the new lock: models, commits, files, sources."""
    before = {model.id: model for model in old.artifacts} if old else {}
    for model in new.artifacts:
        yield from _model_changes(before.pop(model.id, None), model)
    for model in before.values():
        yield Change(model.id, model.origin, None)
    yield from _target_changes(old, new)
    if old and old.profile_sha256 != new.profile_sha256:
        yield Change("profile", old.profile_sha256, new.profile_sha256)


def _target_changes(old: Lock | None, new: Lock) -> Iterator[Change]:
    """Targets that come and go, and how many wheels each installs."""
    before, now = (
        {one.target.name: f"{len(one.wheels)} wheels" for one in lock.runtime.targets}
        if lock and lock.runtime
        else {}
        for lock in (old, new)
    )
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            yield Change(f"runtime {name}", before.get(name), now.get(name))


def _resolved(
    profile: Profile, former: dict[str, LockedModel], access: Access
) -> tuple[LockedModel, ...]:
    """The models as they are now, and the images."""
    models = (_resolve(profile, wanted, former, access) for wanted in profile.models)
    return (*models, *(lock_image(wanted, access) for wanted in profile.images))


def _kept(profile: Profile, former: dict[str, LockedModel]) -> tuple[LockedModel, ...]:
    """The models as they are locked, which must be those of the profile."""
    names = [entry_for(one.role, one.name, profile.diarization).name for one in profile.models]
    names += [one.name for one in profile.images]
    if lacking := [name for name in names if name not in former]:
        raise UsageError(
            f"--runtime-only leaves the models as they are locked, and {', '.join(lacking)} is not",
            hint=f"airgap lock {profile.name}",
        )
    return tuple(former[name] for name in names)


def _model_changes(old: LockedModel | None, new: LockedModel) -> Iterator[Change]:
    if old is None:
        count = "1 file" if len(new.files) == 1 else f"{len(new.files)} files"
        yield Change(new.id, None, f"{new.origin}, {count}, {human_size(new.size)}")
        return
    for attribute in ("role", "engine", "repository", "commit", "licence", "gated", "terms"):
        was, now = getattr(old, attribute), getattr(new, attribute)
        if was != now:
            yield Change(f"{new.id} {attribute}", str(was), str(now))
    before = {file.path: file for file in old.files}
    for file in new.files:
        was = before.pop(file.path, None)
        if was != file:
            told = _digest(was) if was else None
            yield Change(f"{new.id}/{file.path}", told, _digest(file))
    for file in before.values():
        yield Change(f"{new.id}/{file.path}", _digest(file), None)
    for source in old.sources:
        if source not in new.sources:
            yield Change(f"{new.id} source", source.name, None)


def _digest(file: LockedFile) -> str:
    size = human_size(file.size) if file.size is not None else "size unknown"
    return f"{size} sha256 {file.sha256 or 'unknown'}"


def _now() -> str:
    """The time of a change: SOURCE_DATE_EPOCH (reproducible-builds.org), else the clock."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        moment = datetime.now(UTC)
    elif re.fullmatch(r"[0-9]{1,11}", epoch):
        moment = datetime.fromtimestamp(int(epoch), UTC)
    else:
        raise UsageError(f"SOURCE_DATE_EPOCH: expected seconds since 1970, found '{epoch}'")
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _resolve(
    profile: Profile, wanted: WantedModel, former: dict[str, LockedModel], access: Access
) -> LockedModel:
    """One model of the profile as it is now."""
    entry = entry_for(wanted.role, wanted.name, profile.diarization)
    old = former.get(entry.name)
    if entry.repository is None:
        model = _from_catalog(entry)
    else:
        console.say(f"Resolving {entry.name} ({entry.repository})")
        state = access.hub.repository(entry.repository, wanted.revision or "main")
        model = _from_hub(entry, state, old, access)
    if old and old.repository == model.repository and _same_bytes(old, model):
        model = replace(model, sources=old.sources)
    return model


def _same_bytes(old: LockedModel, new: LockedModel) -> bool:
    """Whether a source of the old files is one of the new: all of them were there before."""
    before = {(file.path, file.sha256) for file in old.files}
    return all((file.path, file.sha256) in before for file in new.files)


def _from_catalog(entry: Entry) -> LockedModel:
    return LockedModel(
        id=entry.name,
        role=entry.role,
        engine=entry.engine,
        repository=None,
        commit=None,
        licence=entry.licence,
        gated=False,
        sources=entry.sources(None),
        files=tuple(LockedFile(file.path, file.size, file.sha256) for file in entry.files),
    )


def _from_hub(
    entry: Entry, state: Repository, old: LockedModel | None, access: Access
) -> LockedModel:
    chosen = entry.chosen(file.path for file in state.files)
    wanted = sorted((file for file in state.files if file.path in chosen), key=lambda f: f.path)
    _check_list(state, wanted)
    if lacking := entry.lacks(file.path for file in wanted):
        found = ", ".join(sorted(file.path for file in state.files)) or "nothing"
        raise AirgapError(
            f"'{state.name}' at {state.commit[:8]} cannot be loaded by {entry.engine} offline: "
            f"it has no {', no '.join(lacking)} (found: {found})",
            hint="name another repository or revision in the profile",
        )
    known: dict[tuple[str, str | None], LockedFile] = {
        (f.path, f.git_blob): f for f in (old.files if old else ()) if f.git_blob and f.sha256
    }
    return LockedModel(
        id=entry.name,
        role=entry.role,
        engine=entry.engine,
        repository=state.name,
        commit=state.commit,
        licence=state.licence or entry.licence,
        gated=state.terms is not None,
        terms=state.terms,
        sources=entry.sources(state.commit),
        files=tuple(
            known.get((file.path, file.git_blob)) or _locked_file(state, file, access)
            for file in wanted
        ),
    )


def _check_list(state: Repository, wanted: list[RepositoryFile]) -> None:
    """What a hub lists is not ours: no path may escape, and a digest must be one."""
    defects = [f"'{f.path}' {defect}" for f in wanted if (defect := path_defect(f.path))]
    defects += collisions(file.path for file in wanted)
    defects += [
        f"'{file.path}' has the sha256 '{file.sha256}'"
        for file in wanted
        if file.sha256 is not None and not is_sha256(file.sha256)
    ]
    if not COMMIT.fits(state.commit):
        defects.append(f"the commit '{state.commit}' is not of 40 hex digits")
    if defects:
        found = "; ".join(sorted(defects))
        raise AirgapError(f"the hub lists what cannot be in '{state.name}': {found}")


def _locked_file(state: Repository, file: RepositoryFile, access: Access) -> LockedFile:
    if file.sha256 is not None:
        return LockedFile(file.path, file.size, file.sha256)
    return _hashed(state, file, access)


def _hashed(state: Repository, file: RepositoryFile, access: Access) -> LockedFile:
    """Download a small file, check it against the hub's blob id, and keep it for the build."""
    with tempfile.TemporaryFile(buffering=0) as stream:
        stop = access.cache.stop
        sink = Sink(stream, size=file.size, limit=SMALL, advance=quietly, stop=stop)
        with closing(sink):
            access.hub.copy(state.name, state.commit, file.path, access.web, sink)
        stream.seek(0)
        found = git_blob_id(stream)
        if file.git_blob is not None and found != file.git_blob:
            raise AirgapError(
                f"'{file.path}' of '{state.name}' at {state.commit[:8]} is not what the hub lists: "
                f"expected git blob {file.git_blob}, found {found}",
                hint="try again; if it stays, do not trust this hub or what lies between",
            )
        size, sha256 = sink.position, sink.digest
        if not access.cache.holds(sha256, size):

            def fill(kept: Sink) -> None:
                stream.seek(kept.position)
                while chunk := stream.read(CHUNK):
                    kept.write(chunk)

            access.cache.keep(sha256, size, size, quietly, fill)
    return LockedFile(file.path, size, sha256, file.git_blob)
