"""Lock -> download cache: every file, in parallel, from the first source whose bytes match."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from airgap.console import Progress, console, human_size
from airgap.errors import AirgapError
from airgap.sink import OwnSideError, Sink
from bundler.download_cache import DownloadCache, Fill
from bundler.lock import Lock, LockedFile, LockedModel
from bundler.sources import Access, Source

PARALLEL: Final = 6
"""Files at once: enough to fill a line whose latency is high, few enough to be polite."""


@dataclass(frozen=True)
class Fetched:
    """The files of a lock, all of them in the download cache.

    Attributes:
        paths: where each lies, by SHA-256.
        downloaded: bytes that had to come from a source; the rest was there.
        served: which source served each file that was not there, by SHA-256.
    """

    paths: Mapping[str, Path]
    downloaded: int
    served: Mapping[str, str]


@dataclass(frozen=True)
class _Wanted:
    """A file that is not in the cache yet, with the model whose sources are tried."""

    model: LockedModel
    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class _Failure:
    """What each source of one file answered."""

    wanted: _Wanted
    reasons: tuple[tuple[str, AirgapError], ...]

    def __str__(self) -> str:
        lines = [f"  {self.wanted.model.id}: '{self.wanted.path}', sha256 {self.wanted.sha256}"]
        lines += [f"    {source}: {error.message}" for source, error in self.reasons]
        return "\n".join(lines)


def fetch(lock: Lock, access: Access) -> Fetched:
    """Have every file of a lock in the download cache.

    What is already there is not fetched again, and what was begun is gone on with. A file that no
    source serves rightly does not stop the others, so that the next run finds them.

    Raises:
        UsageError: the lock is incomplete.
        AirgapError: some files could not be had: expected and found digests of each, by source.
        OwnSideError: the cache cannot be written, or has no room.
    """
    lock.check_complete()
    with access.cache.used():
        return _fetch(lock, access)


def _fetch(lock: Lock, access: Access) -> Fetched:
    cache = access.cache
    missing = _missing(lock, cache)
    cache.check_room({sha256: wanted.size for sha256, wanted in missing.items()})
    total = sum(wanted.size for wanted in missing.values())
    with console.progress("fetch", total) as progress:
        served, failures = _fetch_all(lock, missing, access, progress)
    if failures:
        raise _unfetched(failures, len(missing), cache)
    paths = {file.sha256: cache.path(file.sha256) for _, file in lock.files() if file.sha256}
    for sha256 in paths:
        cache.touch(sha256)
    return Fetched(paths, total, served)


def _missing(lock: Lock, cache: DownloadCache) -> dict[str, _Wanted]:
    """The files to fetch, each once: models share tokenizers and vocabularies."""
    missing: dict[str, _Wanted] = {}
    for model, file in lock.files():
        wanted = _wanted(model, file)
        if wanted.sha256 not in missing and not cache.holds(wanted.sha256, wanted.size):
            missing[wanted.sha256] = wanted
    return missing


def _wanted(model: LockedModel, file: LockedFile) -> _Wanted:
    if file.sha256 is None or file.size is None:  # `check_complete` has refused this lock
        raise AssertionError(file.path)
    return _Wanted(model, file.path, file.sha256, file.size)


def _fetch_all(
    lock: Lock, missing: Mapping[str, _Wanted], access: Access, progress: Progress
) -> tuple[dict[str, str], list[_Failure]]:
    """Fetch in threads; tell of each model as its last file arrives."""
    told = _Teller(lock, missing, progress)
    served, failures = {}, []
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="fetch") as pool:
        futures: dict[Future[str | _Failure], str] = {
            pool.submit(_fetch_one, wanted, access, told): sha256
            for sha256, wanted in missing.items()
        }
        try:
            for future in as_completed(futures):
                outcome = future.result()
                if isinstance(outcome, _Failure):
                    failures.append(outcome)
                else:
                    served[futures[future]] = outcome
                    told.arrived(futures[future], outcome)
        except BaseException:
            access.cache.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return served, failures


def _fetch_one(wanted: _Wanted, access: Access, told: _Teller) -> str | _Failure:
    """The name of the source that served, or why none did."""
    told.begun(wanted)
    reasons = []
    for source in wanted.model.sources:
        try:
            access.cache.keep(
                wanted.sha256,
                wanted.size,
                wanted.size,
                told.progress.advance,
                _filled_by(source, wanted, access),
            )
        except OwnSideError:
            raise
        except AirgapError as error:
            reasons.append((source.name, error))
        else:
            return source.name
    return _Failure(wanted, tuple(reasons))


def _filled_by(source: Source, wanted: _Wanted, access: Access) -> Fill:
    def fill(sink: Sink) -> None:
        sink.is_page = wanted.path.lower().endswith((".html", ".htm"))
        source.copy(wanted.path, wanted.model.commit, access, sink)

    return fill


@dataclass
class _Part:
    """A model, or the wheels all together: what is told of as one.

    Attributes:
        told: what it is, for a person; the kind stands first.
        awaited: SHA-256 of its files that are still to come.
        served: names of the sources that served some.
    """

    kind: str
    told: str
    awaited: set[str]
    served: set[str] = field(default_factory=set)


class _Teller:
    """Says what became of each model, and of the runtime, once its last file is there.

    Behind the bar it says how many files are there of those that are to come, and which one was
    begun last.
    """

    def __init__(self, lock: Lock, missing: Mapping[str, _Wanted], progress: Progress) -> None:
        self.progress = progress
        self._there, self._wanted, self._last = 0, len(missing), ""
        programs = lock.artifacts[len(lock.models) :]
        self._parts = [_Part("Model", _described(one), _of([one], missing)) for one in lock.models]
        if programs:
            told = _described_runtime(programs)
            self._parts.append(_Part("Runtime", told, _of(programs, missing)))
        for part in self._parts:
            if not part.awaited:
                console.say(f"{part.kind} already in the download cache: {part.told}")

    def begun(self, wanted: _Wanted) -> None:
        self._last = f"{wanted.model.id}/{wanted.path}"
        self._note()

    def _note(self) -> None:
        self.progress.note(f"{self._there}/{self._wanted} files, {self._last}")

    def arrived(self, sha256: str, source: str) -> None:
        self._there += 1
        self._note()
        for part in self._parts:
            if sha256 in part.awaited:
                part.awaited.remove(sha256)
                part.served.add(source)
                if not part.awaited:
                    sources = ", ".join(sorted(part.served))
                    story = f"{part.kind} downloaded successfully: {part.told}"
                    console.say(f"{story} from {sources}")


def _of(artifacts: Sequence[LockedModel], missing: Mapping[str, _Wanted]) -> set[str]:
    """The files of these that are missing, by SHA-256."""
    return {
        sha256
        for one in artifacts
        for file in one.files
        if (sha256 := file.sha256 or "") in missing
    }


def _described_runtime(programs: Sequence[LockedModel]) -> str:
    size = human_size(sum(one.size for one in programs))
    count = sum(len(one.files) for one in programs)
    return f"{count} wheels of {len(programs)} releases ({size})"


def _described(model: LockedModel) -> str:
    files = f"{len(model.files)} files" if len(model.files) != 1 else "1 file"
    return f"{model.id} ({model.origin}, {files}, {human_size(model.size)})"


def _unfetched(failures: Iterable[_Failure], wanted: int, cache: DownloadCache) -> AirgapError:
    """One error for all files that could not be had."""
    ordered = sorted(failures, key=lambda failure: (failure.wanted.model.id, failure.wanted.path))
    lines = "\n".join(str(failure) for failure in ordered)
    hints = {error.hint: None for failure in ordered for _, error in failure.reasons if error.hint}
    return AirgapError(
        f"{len(ordered)} of {wanted} files could not be fetched; what is good stays in "
        f"'{cache.root}':\n{lines}",
        hint="; ".join(hints) or "add another source of these bytes to the lock, or lock again",
    )
