"""Zip archives: torch's checkpoints, NumPy's `.npz`, and whatever else comes as one.

Python's reader and torch's differ on broken archives: one stops at a wrong checksum, at a name that
differs between directory and member, at a flag that claims encryption, and the other loads what
lies there (CVE-2025-1944, -1945, -10156). So an archive that is not as a writer leaves it, to the
last byte (`zip_layout`), is a danger, whatever is inside.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import IO, Final

from airgap.limits import MIB
from airgap.paths import path_defect
from bundler.scan.findings import Finding, danger
from bundler.scan.zip_layout import DESCRIPTOR_FLAG, LOCAL, layout_defect

MEMBERS: Final = 100_000

UNPACKED: Final = 64 * 1024 * MIB
"""Bytes that an archive's members may come to, as `tars.UNPACKED`."""

_UTF8_FLAG, _ENCRYPTED_FLAG = 0x800, 0x1
_STORAGE: Final = re.compile(r"([^/]+)/data/\d+")
_BROKEN: Final = "download it again; if it stays so, do not use it"

Inner = Callable[[IO[bytes], int, str], list[Finding]]
"""Judges a member: its stream, its size in bytes, its place."""


def judge_zip(stream: IO[bytes], place: str, inner: Inner) -> list[Finding]:
    """Judge an archive and its members."""
    try:
        with zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            if too_much := _too_much(members, place):
                return [too_much]
            findings = list(structure(members, stream, place))
            storages = _storages(members)
            for member in members:
                if not member.is_dir() and member.filename not in storages:
                    findings += _member(archive, member, place, inner)
    # What zipfile raises for archives that are cut, encrypted, or compressed in unknown ways.
    except (zipfile.BadZipFile, zlib.error, RuntimeError, OSError, EOFError, ValueError) as error:
        return [danger(place, "zip.broken", f"its archive is broken: {str(error)[:120]}", _BROKEN)]
    return findings


def _member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, place: str, inner: Inner
) -> list[Finding]:
    at = f"{place}!{member.filename}"
    if "/code/" in f"/{member.filename}" and member.filename.endswith((".py", ".debug_pkl")):
        return [danger(at, "zip.torchscript", "it is a program (TorchScript), not only weights")]
    with archive.open(member) as stream:
        return inner(stream, member.file_size, at)


def _storages(members: list[zipfile.ZipInfo]) -> set[str]:
    """Members that torch reads as raw numbers alone: `TOP/data/0` beside `TOP/data.pkl`."""
    names = {member.filename for member in members}
    return {
        name
        for name in names
        if (found := _STORAGE.fullmatch(name)) and f"{found[1]}/data.pkl" in names
    }


def _too_much(members: list[zipfile.ZipInfo], place: str) -> Finding | None:
    """More than anybody would read; the reader stops at the sizes that the directory says."""
    size = sum(one.file_size for one in members)
    if len(members) <= MEMBERS and size <= UNPACKED:
        return None
    return danger(place, "zip.broken", f"it has {len(members)} members of {size} bytes", _BROKEN)


def structure(members: list[zipfile.ZipInfo], stream: IO[bytes], place: str) -> Iterator[Finding]:
    """What no writer leaves behind."""
    if not members:
        yield danger(place, "zip.broken", "it has no members", _BROKEN)
        return
    for name, count in sorted(Counter(member.filename for member in members).items()):
        if count > 1:
            story = f"'{name}' is in it {count} times, and loaders differ on which they read"
            yield danger(place, "zip.twice", story, _BROKEN)
    for member in members:
        if defect := _defect(member, stream):
            yield danger(f"{place}!{member.filename}", "zip.broken", defect, _BROKEN)
    if min(one.header_offset for one in members) > 0:
        yield danger(place, "zip.prefix", "something else lies before its first member", _BROKEN)
    if defect := layout_defect(stream, members):
        yield danger(place, "zip.layout", defect, _BROKEN)


def _defect(member: zipfile.ZipInfo, stream: IO[bytes]) -> str | None:
    """How a member's own header differs from the directory's."""
    stream.seek(member.header_offset)
    header = stream.read(LOCAL.size)
    if len(header) != LOCAL.size or not header.startswith(b"PK\3\4"):
        return "it has no header where the directory says"
    _, _, flags, method, _, _, crc, _, _, length, _ = LOCAL.unpack(header)
    name = stream.read(length).decode("utf-8" if flags & _UTF8_FLAG else "cp437", "replace")
    encrypted = (flags | member.flag_bits) & _ENCRYPTED_FLAG
    checksum = flags & DESCRIPTOR_FLAG or crc == member.CRC
    path = path_defect(member.filename.rstrip("/"))
    defects = {
        f"its own header calls it '{name}'": name != member.orig_filename,
        "its name holds a NUL, where some readers end it": "\0" in name,
        "it claims to be encrypted": encrypted,
        "its own header names another compression": method != member.compress_type,
        "its own header has another checksum": not checksum,
        f"its name {path}": path,
    }
    return next((story for story, holds in defects.items() if holds), None)
