"""A carried Python: an archive that a shell unpacks with tar, and then runs."""

from __future__ import annotations

import posixpath
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, Final

from airgap.limits import MIB
from bundler.scan.elf import Elf, ElfError, read_elf
from bundler.scan.findings import Finding, Judged, danger
from bundler.scan.tars import bounded_members

TOP: Final = "python"
PROGRAM: Final = f"{TOP}/bin/python3"
"""What must be there, as itself or by links inside the archive."""

MEMBERS: Final = 50_000
UNPACKED: Final = 4 * 1024 * MIB
"""Bytes; python-build-standalone's have a twentieth."""

_LINKS: Final = 8
_SPECIAL: Final = 0o7000 | 0o0002
"""Bits of a mode that no file of a Python has: set-user-id and the like; writable by all."""

_FIX: Final = "do not use it; take the archive that its publisher lists, by its digest"


def judge_interpreter(stream: IO[bytes], place: str) -> Judged:
    """Judge a `.tar.gz` whose name is that of the target that it is for.

    Args:
        stream: seekable.
        place: its path in the bundle, `…/cp312-manylinux_2_28_x86_64.tar.gz`.
    """
    machine = "aarch64" if place.endswith("_aarch64.tar.gz") else "x86_64"
    try:
        with tarfile.open(fileobj=stream, mode="r:gz") as archive:
            members = bounded_members(archive, MEMBERS, UNPACKED)
            findings = [*_structure(members, place), *_program(archive, members, place, machine)]
    except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError, OverflowError) as error:
        story = f"its archive is broken: {str(error)[:120]}"
        findings = [danger(place, "python.broken", story, _FIX)]
    return Judged(place, "python", tuple(sorted(set(findings))))


def _structure(members: list[tarfile.TarInfo], place: str) -> Iterator[Finding]:
    """Names and links that lead out, what is neither file nor folder, modes that give rights."""
    seen: set[str] = set()
    links = {posixpath.normpath(one.name) for one in members if one.issym()}
    for member in members:
        at = f"{place}!{member.name}"
        name = posixpath.normpath(member.name)
        if not _is_inside(member.name) or ".." in member.name.split("/"):
            yield danger(at, "python.traversal", f"it is not below '{TOP}/'", _FIX)
        if name in seen and not member.isdir():
            yield danger(at, "python.twice", "it is in the archive twice", _FIX)
        if any(parent in links for parent in _parents(name)):
            yield danger(at, "python.traversal", "it lies behind a link", _FIX)
        seen.add(name)
        target = _target(member)
        if target is not None and not (_is_inside(target) and _is_plain(member.linkname)):
            yield danger(at, "python.link", f"it is a link to '{member.linkname}'", _FIX)
        if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
            yield danger(at, "python.device", "it is neither a file, a folder nor a link", _FIX)
        if not member.issym() and member.mode & _SPECIAL:
            yield danger(at, "python.mode", f"its mode is {member.mode:o}", _FIX)


def _is_inside(path: str) -> bool:
    plain = posixpath.normpath(path)
    return plain == TOP or plain.startswith(f"{TOP}/")


def _is_plain(link: str) -> bool:
    """Whether a link climbs at its beginning alone: behind another link, `..` leads elsewhere."""
    parts = link.split("/")
    return ".." not in parts[next((n for n, one in enumerate(parts) if one != ".."), 0) :]


def _parents(path: str) -> list[str]:
    return [str(parent) for parent in PurePosixPath(path).parents]


def _target(member: tarfile.TarInfo) -> str | None:
    """Where a link leads, as a path in the archive; None for what is no link."""
    if member.issym() and not member.linkname.startswith("/"):
        return posixpath.join(posixpath.dirname(member.name), member.linkname)
    return member.linkname if member.issym() or member.islnk() else None


def _program(
    archive: tarfile.TarFile, members: list[tarfile.TarInfo], place: str, machine: str
) -> Iterator[Finding]:
    """Whether `python/bin/python3` is a program for the machine."""
    by_name = {posixpath.normpath(one.name): one for one in members}
    member = by_name.get(PROGRAM)
    for _ in range(_LINKS):
        if member is None or not (member.issym() or member.islnk()):
            break
        member = by_name.get(posixpath.normpath(_target(member) or ""))
    if member is None or not member.isreg():
        yield danger(place, "python.program", f"it has no '{PROGRAM}'", _FIX)
        return
    content = archive.extractfile(member)
    try:
        found: Elf | None = read_elf(content) if content else None
    except ElfError as error:
        yield danger(f"{place}!{member.name}", "python.program", str(error), _FIX)
        return
    if found is not None and found.machine != machine:
        story = f"it is for {found.machine}, and not for {machine}"
        yield danger(f"{place}!{member.name}", "python.machine", story, _FIX)
