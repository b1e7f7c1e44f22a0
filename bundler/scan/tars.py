"""Tar archives: NeMo's `.nemo`, and torch's oldest format.

NeMo unpacks them to disk: names that lead out, links and devices write where they should not
(CVE-2024-0129), and of two members of one name the last wins.
"""

from __future__ import annotations

import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import IO, Final

from airgap.digest import CHUNK
from airgap.limits import MIB
from airgap.paths import path_defect
from bundler.scan.findings import SAFETENSORS, Finding, danger
from bundler.scan.zips import Inner

MEMBERS: Final = 10_000

UNPACKED: Final = 64 * 1024 * MIB
"""What an archive's members may come to; the largest checkpoints of speech are below a tenth."""

_FIX: Final = "do not use it; ask its publisher for a clean archive"
_OLD_TORCH: Final = frozenset({"pickle", "storages", "tensors", "sys_info"})


def judge_tar(stream: IO[bytes], place: str, inner: Inner) -> list[Finding]:
    """Judge an archive, plain, and its members.

    Args:
        stream: seekable, and decompressed.
        place: for the findings.
        inner: judges a member.
    """
    findings: list[Finding] = []
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            members = bounded_members(archive, MEMBERS, UNPACKED)
            findings += _structure(members, place)
            for member in members:
                if member.isreg():
                    with archive.extractfile(member) or stream as content:
                        findings += inner(content, member.size, f"{place}!{member.name}")
            end = archive.offset
    except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError, OverflowError) as error:
        story = f"its archive is broken: {str(error)[:120]}"
        return [*findings, danger(place, "tar.broken", story, _FIX)]
    return findings + list(_behind(stream, end, place))


def bounded_members(archive: tarfile.TarFile, most: int, unpacked: int) -> list[tarfile.TarInfo]:
    """All members of an archive. Raises tarfile.ReadError where they, or their bytes, are more."""
    members: list[tarfile.TarInfo] = []
    size = 0
    for member in archive:
        members.append(member)
        size += member.size
        if len(members) > most or size > unpacked:
            raise tarfile.ReadError(f"it has more than {most} members, or {unpacked} bytes")
    return members


def _structure(members: list[tarfile.TarInfo], place: str) -> Iterator[Finding]:
    names = [member.name.removeprefix("./") for member in members if not member.isdir()]
    for name, count in sorted(Counter(names).items()):
        if count > 1:
            story = f"'{name}' is in it {count} times, and the last one would be used"
            yield danger(place, "tar.twice", story, _FIX)
    for member in members:
        at = f"{place}!{member.name}"
        name = member.name.removeprefix("./").rstrip("/")
        if name not in {"", "."} and (defect := path_defect(name)):
            yield danger(at, "tar.traversal", f"its name {defect}", _FIX)
        if member.issym() or member.islnk():
            yield danger(at, "tar.link", f"it is a link to '{member.linkname}'", _FIX)
        elif not (member.isreg() or member.isdir()):
            yield danger(at, "tar.device", "it is neither a file nor a folder", _FIX)
    if _OLD_TORCH & set(names) and "pickle" in names:
        story = "it is of torch's oldest format, which is not judged"
        yield danger(place, "tar.old-torch", story, SAFETENSORS)


def _behind(stream: IO[bytes], end: int, place: str) -> Iterator[Finding]:
    """Whether anything but zeros follows: a reader that goes on would find more members."""
    stream.seek(end)
    while chunk := stream.read(CHUNK):
        if chunk.strip(b"\0"):
            yield danger(place, "tar.behind", "something lies behind its end", _FIX)
            return
