"""Profile -> the lock's key `runtime`: every wheel that a target needs, with size and licence."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Final

from airgap.console import console, quietly
from airgap.digest import CHUNK
from airgap.errors import AirgapError
from airgap.limits import MIB
from airgap.sink import Sink
from bundler.locked_model import LockedFile
from bundler.sources import Access, Source
from bundler.sources.ranged import RangedFile
from bundler.sources.wheels import Wheels
from bundler.wheelhouse.locked import LockedInterpreter, LockedRuntime, LockedTarget, Release
from bundler.wheelhouse.metadata import read_metadata
from bundler.wheelhouse.names import WheelName
from bundler.wheelhouse.own import FILE, own_wheel
from bundler.wheelhouse.resolving import Found, Wish, resolve
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
        AirgapError: there is no set of wheels, the index does not answer, or a Python is not
            what its publisher says.
    """
    found: dict[str, Found] = {}
    targets = []
    with tempfile.TemporaryDirectory(prefix="airgap-wheel.") as name:
        wheel = Path(name) / FILE
        wheel.write_bytes(own_wheel().content)
        wish = Wish(wheel, wanted.extras, access.index.url, wanted.indexes)
        for target, wheels in resolve(wish, wanted.targets):
            console.say(f"Resolved {target.name}: {len(wheels)} wheels")
            found |= {one.file: one for one in wheels}
            targets.append(LockedTarget(target, tuple(one.file for one in wheels)))
    return LockedRuntime(
        extras=wanted.extras,
        sources=_sources(wanted, former),
        targets=tuple(targets),
        releases=_releases([found[file] for file in sorted(found)], former, access),
        interpreters=tuple(_interpreter(one, access) for one in wanted.interpreters),
    )


def _sources(wanted: WantedRuntime, former: LockedRuntime | None) -> tuple[Source, ...]:
    """The indexes that were asked, after whatever a person added to the lock."""
    asked = (Wheels(), *(Wheels(one) for one in sorted({index for _, index in wanted.indexes})))
    added = former.sources if former else ()
    kept = [one for one in added if not isinstance(one, Wheels) and one not in asked]
    return (*kept, *asked)


def _releases(
    found: Sequence[Found], former: LockedRuntime | None, access: Access
) -> tuple[Release, ...]:
    known = _known(former)
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="lock") as pool:
        described = list(pool.map(lambda one: _described(one, known, access), found))
    files: dict[str, list[LockedFile]] = {}
    licences: dict[str, str] = {}
    for file, licence in described:
        release = WheelName.parse(file.path).release
        files.setdefault(release, []).append(file)
        licences.setdefault(release, licence)
    return tuple(Release(name, licences[name], tuple(files[name])) for name in sorted(files))


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
