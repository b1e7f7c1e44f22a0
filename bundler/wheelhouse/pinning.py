"""Profile -> the lock's key `runtime`: every wheel that a target needs, with size and licence."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

from airgap.console import console, quietly
from airgap.digest import CHUNK
from airgap.errors import AirgapError, UsageError
from airgap.limits import MIB
from airgap.sink import Sink
from bundler.locked_model import LockedFile
from bundler.sources import Access, Source
from bundler.sources.ranged import RangedFile
from bundler.sources.wheels import Wheels
from bundler.wheelhouse.locked import LockedInterpreter, LockedRuntime, LockedTarget, Release
from bundler.wheelhouse.metadata import read_metadata
from bundler.wheelhouse.names import WheelName, project_of, release_of_sdist
from bundler.wheelhouse.own import FILE, own_wheel
from bundler.wheelhouse.resolving import Found, Wish, resolve
from bundler.wheelhouse.sdists import BuiltWheel, build_sdist
from bundler.wheelhouse.targets import Target
from bundler.wheelhouse.wanted import WantedInterpreter, WantedRuntime

ARCHIVE: Final = 1024 * MIB
"""A carried Python; python-build-standalone's have a tenth."""

PARALLEL: Final = 6
"""Wheels that are asked about at once."""


def pin(wanted: WantedRuntime, former: LockedRuntime | None, access: Access) -> LockedRuntime:
    """Resolve a profile's runtime.

    What the former lock knows of a wheel with the same digest is not asked again, and the sources
    that somebody gave it there stay.

    Args:
        wanted: the profile's.
        former: that of the lock that there is.
        access: the package index; carried Pythons are kept in the download cache.

    Raises:
        AirgapError: there is no set of wheels, the index does not answer, an sdist does not
            build, or a Python is not what its publisher says.
        UnsafeError: what an sdist builds to may not travel.
        UsageError: what shall be taken as source is not asked for by anything.
    """
    sources = _sources(wanted, former)
    built: dict[str, BuiltWheel] = {}
    with tempfile.TemporaryDirectory(prefix="airgap-wheel.") as name:
        wheel = Path(name) / FILE
        wheel.write_bytes(own_wheel().content)
        wish = Wish(
            wheel, wanted.extras, access.index.url, wanted.indexes, no_binary=wanted.no_binary
        )
        while True:
            chosen = dict(_resolved(wish, wanted.targets))
            _check_wanted(wanted, chosen)
            new = _unbuilt(chosen, built)
            built |= {one.sha256: _built(one, former, sources, access) for one in new}
            if not any(built[one.sha256].metadata.requires for one in new):
                break
            # What an sdist requires is known once it is built, and may change what is chosen.
            wish = replace(wish, known=_required(built.values()))
    return LockedRuntime(
        extras=wanted.extras,
        sources=sources,
        targets=tuple(
            LockedTarget(target, tuple(sorted(_file(one, built) for one in found)))
            for target, found in chosen.items()
        ),
        releases=_releases(chosen, built, former, access),
        interpreters=tuple(_interpreter(one, access) for one in wanted.interpreters),
    )


def _resolved(wish: Wish, targets: Sequence[Target]) -> Iterator[tuple[Target, tuple[Found, ...]]]:
    for target, found in resolve(wish, targets):
        console.say(f"Resolved {target.name}: {len(found)} wheels")
        yield target, found


def _check_wanted(wanted: WantedRuntime, chosen: Mapping[Target, Sequence[Found]]) -> None:
    """Raise UsageError for a consent that nothing needs: it is mistyped, or out of date."""
    sources = {project_of(one.file) for found in chosen.values() for one in found if one.is_source}
    if unused := sorted(set(wanted.no_binary) - sources):
        raise UsageError(
            f"'no_binary' names {', '.join(unused)}, and nothing asks for it",
            hint="take it out of the profile's 'runtime'",
        )


def _unbuilt(
    chosen: Mapping[Target, Sequence[Found]], built: Mapping[str, BuiltWheel]
) -> list[Found]:
    """The sdists of which there is no wheel yet, each once."""
    return sorted(
        {
            one
            for found in chosen.values()
            for one in found
            if one.is_source and one.sha256 not in built
        },
        key=lambda one: one.file,
    )


def _built(
    found: Found, former: LockedRuntime | None, sources: tuple[Source, ...], access: Access
) -> BuiltWheel:
    """The wheel of an sdist; by the tools of the former lock, where that has the same sdist."""
    recipes = [one.recipe for one in (former.releases if former else ()) if one.recipe]
    known = next((one for one in recipes if one.sdist.sha256 == found.sha256), None)
    return build_sdist(found, known, sources, access)


def _required(built: Iterable[BuiltWheel]) -> Mapping[str, Sequence[str]]:
    """What each release that was built requires."""
    return {release_of_sdist(one.recipe.sdist.path): one.metadata.requires for one in built}


def _file(found: Found, built: Mapping[str, BuiltWheel]) -> str:
    return built[found.sha256].file.path if found.sha256 in built else found.file


def _sources(wanted: WantedRuntime, former: LockedRuntime | None) -> tuple[Source, ...]:
    """The indexes that were asked, after whatever a person added to the lock."""
    asked = (Wheels(), *(Wheels(one) for one in sorted({index for _, index in wanted.indexes})))
    added = former.sources if former else ()
    kept = [one for one in added if not isinstance(one, Wheels) and one not in asked]
    return (*kept, *asked)


def _releases(
    chosen: Mapping[Target, Sequence[Found]],
    built: Mapping[str, BuiltWheel],
    former: LockedRuntime | None,
    access: Access,
) -> tuple[Release, ...]:
    known = _known(former)
    wanted = {one.file: one for all_ in chosen.values() for one in all_}
    found = {file: one for file, one in wanted.items() if one.sha256 not in built}
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="lock") as pool:
        described = list(
            pool.map(lambda file: _described(found[file], known, access), sorted(found))
        )
    files: dict[str, list[LockedFile]] = {}
    licences: dict[str, str] = {}
    for file, licence in described:
        release = WheelName.parse(file.path).release
        files.setdefault(release, []).append(file)
        licences.setdefault(release, licence)
    published = [Release(name, licences[name], tuple(files[name])) for name in files]
    ours = [
        Release(
            WheelName.parse(one.file.path).release, one.metadata.licence, (one.file,), one.recipe
        )
        for one in (built[found.sha256] for found in wanted.values() if found.sha256 in built)
    ]
    return tuple(sorted((*published, *ours), key=lambda one: one.name))


def _known(former: LockedRuntime | None) -> Mapping[str, tuple[LockedFile, str]]:
    """What the former lock says of each wheel, by its digest."""
    releases = former.releases if former else ()
    return {
        file.sha256: (file, one.licence) for one in releases for file in one.files if file.sha256
    }


def _described(
    found: Found, known: Mapping[str, tuple[LockedFile, str]], access: Access
) -> tuple[LockedFile, str]:
    """A wheel with its size and licence; of an unknown one only the metadata is downloaded."""
    if found.sha256 in known and known[found.sha256][0].path == found.file:
        return known[found.sha256]
    with RangedFile(access.web, found.url) as ranged:
        metadata = read_metadata(io.BufferedReader(ranged), found.file)
        if found.size not in {None, ranged.size}:
            raise AirgapError(
                f"the index says that '{found.file}' has {found.size} bytes, and sends "
                f"{ranged.size}"
            )
        return LockedFile(found.file, ranged.size, found.sha256), metadata.licence


def _interpreter(wanted: WantedInterpreter, access: Access) -> LockedInterpreter:
    """Download a Python, hash it, and keep it for the build."""
    console.say(f"Hashing {wanted.file} ({wanted.source.name})")
    with tempfile.TemporaryFile(buffering=0) as stream:
        sink = Sink(stream, size=None, limit=ARCHIVE, advance=quietly, stop=access.cache.stop)
        with closing(sink):
            wanted.source.copy(wanted.file, None, access, sink)
        size, sha256 = sink.position, sink.digest
        if wanted.sha256 not in {None, sha256}:
            raise AirgapError(
                f"'{wanted.file}' is not what the profile says: expected sha256 {wanted.sha256}, "
                f"found {sha256}",
                hint="compare with the digest that its publisher gives",
            )

        def fill(kept: Sink) -> None:
            stream.seek(kept.position)
            while chunk := stream.read(CHUNK):
                kept.write(chunk)

        if not access.cache.holds(sha256, size):
            access.cache.keep(sha256, size, size, quietly, fill)
    file = LockedFile(wanted.file, size, sha256)
    return LockedInterpreter(wanted.target, wanted.licence, (wanted.source,), (file,))
