"""ELF: for which machine a program or library is, and which libraries it is linked to.

Source: https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO, Final

from airgap.limits import MIB

MAGIC: Final = b"\x7fELF"

_MACHINES: Final = {62: "x86_64", 183: "aarch64"}
_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT: Final = struct.Struct("<IIQQQQQQ")
_ENTRY: Final = struct.Struct("<qQ")
_LOAD, _DYNAMIC = 1, 2
_END, _NEEDED, _STRTAB, _STRSZ = 0, 1, 5, 10
_SEGMENTS: Final = 512
_TABLE: Final = 64 * MIB
"""Bytes of a table of names, or of the dynamic section; torch's largest has 20 MB."""


class ElfError(Exception):
    """It begins like an ELF file and is none that Linux on these machines would load."""


@dataclass(frozen=True)
class Elf:
    """What an ELF file says of itself.

    Attributes:
        machine: `x86_64`, `aarch64`, or the number of another one.
        needed: the libraries that the loader looks for first (DT_NEEDED).
    """

    machine: str
    needed: tuple[str, ...]


def read_elf(stream: IO[bytes]) -> Elf:
    """Read the header and the dynamic section of a seekable stream. Raises ElfError."""
    try:
        return _read(stream)
    except (struct.error, OSError, OverflowError, ValueError) as error:
        raise ElfError(f"its ELF structure is broken: {error}") from error


def _read(stream: IO[bytes]) -> Elf:
    stream.seek(0)
    header = _HEADER.unpack(stream.read(_HEADER.size))
    ident, machine, table, size, count = header[0], header[2], header[5], header[9], header[10]
    if ident[:4] != MAGIC or ident[4:6] != b"\2\1":
        raise ElfError("it is not a 64-bit little-endian ELF file")
    if count > _SEGMENTS or (count and size != _SEGMENT.size):
        raise ElfError(f"it has {count} segments of {size} bytes each")
    stream.seek(table)
    segments = [_SEGMENT.unpack(stream.read(_SEGMENT.size)) for _ in range(count)]
    named = _MACHINES.get(machine, str(machine))
    return Elf(named, _needed(stream, segments))


def _needed(stream: IO[bytes], segments: list[tuple[int, ...]]) -> tuple[str, ...]:
    dynamic = next((one for one in segments if one[0] == _DYNAMIC), None)
    if dynamic is None:
        return ()
    entries = list(_entries(_at(stream, dynamic[2], dynamic[5])))
    names = {tag: value for tag, value in entries if tag in {_STRTAB, _STRSZ}}
    offsets = [value for tag, value in entries if tag == _NEEDED]
    if not offsets:
        return ()
    place = _file_offset(segments, names.get(_STRTAB, -1))
    table = _at(stream, place, names.get(_STRSZ, 0))
    return tuple(_name(table, offset) for offset in offsets)


def _at(stream: IO[bytes], offset: int, size: int) -> bytes:
    if size > _TABLE:
        raise ElfError(f"one of its tables has {size} bytes")
    stream.seek(offset)
    content = stream.read(size)
    if len(content) != size:
        raise ElfError("one of its tables lies behind its end")
    return content


def _entries(section: bytes) -> list[tuple[int, int]]:
    entries = []
    for tag, value in _ENTRY.iter_unpack(section[: len(section) // _ENTRY.size * _ENTRY.size]):
        if tag == _END:
            break
        entries.append((tag, value))
    return entries


def _file_offset(segments: list[tuple[int, ...]], address: int) -> int:
    """Where in the file lies what will be at an address."""
    for kind, _flags, offset, virtual, _physical, stored, *_ in segments:
        if kind == _LOAD and virtual <= address < virtual + stored:
            return offset + address - virtual
    raise ElfError("its table of names is in no segment")


def _name(table: bytes, offset: int) -> str:
    end = table.find(b"\0", offset)
    if not 0 <= offset < len(table) or end < 0:
        raise ElfError("a name of a library lies outside its table")
    return table[offset:end].decode("utf-8", "replace")
