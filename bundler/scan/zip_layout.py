"""Zip archives byte by byte: members from the first byte on, then one directory, then its end.

Readers find the directory in different ways: Python's zipfile takes the end record that stands
before the locator, torch's reader the one that the locator names, others read member by member from
the front. They see one archive only where every byte of it belongs to one thing.

The records are those of APPNOTE.TXT 6.3.10, sections 4.3.7 to 4.3.16 and 4.5.3.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final

from airgap.limits import KIB, MIB

DIRECTORY: Final = 64 * MIB
"""Bytes of a directory; torch's wheel, with fourteen thousand members, has two."""

LOCAL: Final = struct.Struct("<4s5H3I2H")
"""A member's own header: mark, version, flags, method, time, date, checksum, compressed size,
size, and how long its name and its extra fields are."""

DESCRIPTOR_FLAG: Final = 0x8
"""Checksum and sizes follow the member, because its writer did not know them before."""

_ENTRY: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_LOCATOR: Final = struct.Struct("<4sIQI")
_END64: Final = struct.Struct("<4sQ2H2I4Q")
_EXTRA: Final = struct.Struct("<2H")
_COMMENT: Final = 64 * KIB
_MOST16, _MOST32 = 0xFFFF, 0xFFFFFFFF
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075


class _Unaccounted(Exception):  # noqa: N818 - never leaves this module
    """Bytes that belong to nothing, or to two things; the message says which."""


@dataclass(frozen=True)
class _Directory:
    """Where an end record says that the directory lies, in bytes."""

    entries: int
    size: int
    start: int


def ends_as_zip(stream: IO[bytes]) -> bool:
    """Whether a stream's last bytes are those of a zip archive, whatever lies before them."""
    try:
        _end(stream)
    except _Unaccounted:
        return False
    return True


def layout_defect(stream: IO[bytes], members: list[zipfile.ZipInfo]) -> str | None:
    """The first byte, or record, that readers could take for different things.

    Args:
        stream: the archive, seekable.
        members: as Python's zipfile reads them.
    """
    try:
        directory = _directory(stream)
        _check_entries(stream, directory, len(members))
        _check_members(stream, directory, members)
    except _Unaccounted as defect:
        return str(defect)
    return None


def _end(stream: IO[bytes]) -> tuple[int, _Directory]:
    """The last record: where it is, and what it says. It must reach to the very end."""
    length = stream.seek(0, 2)
    start = max(length - _END.size - _COMMENT, 0)
    stream.seek(start)
    tail = stream.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        raise _Unaccounted("it has no record at its end")
    _, disk, first, here, entries, size, offset, comment = _END.unpack_from(tail, at)
    if at + _END.size + comment != len(tail):
        raise _Unaccounted("something lies behind its end record")
    if disk or first or here != entries:
        raise _Unaccounted("it claims to be one of several parts")
    return start + at, _Directory(entries, size, offset)


def _directory(stream: IO[bytes]) -> _Directory:
    """The one directory: it ends where the end records begin, and they agree on it."""
    end, directory = _end(stream)
    locator = _read_at(stream, end - _LOCATOR.size, _LOCATOR.size)
    if locator.startswith(b"PK\6\7"):
        end, directory = _end64(stream, end - _LOCATOR.size, locator, directory)
    if directory.start + directory.size != end:
        raise _Unaccounted(
            f"its directory is said to lie in bytes {directory.start} to "
            f"{directory.start + directory.size}, and ends at {end}"
        )
    return directory


def _end64(
    stream: IO[bytes], end: int, locator: bytes, small: _Directory
) -> tuple[int, _Directory]:
    """The end record for large archives, which must lie right before its locator."""
    _, disk, at, disks = _LOCATOR.unpack(locator)
    if disk or disks != 1 or at != end - _END64.size:
        raise _Unaccounted(
            f"its locator names an end record at byte {at}, and one ends at byte {end}"
        )
    record = _read_at(stream, at, _END64.size)
    if not record.startswith(b"PK\6\6"):
        raise _Unaccounted(f"there is no end record at byte {at}, which its locator names")
    _, length, _, _, disk, first, here, entries, size, start = _END64.unpack(record)
    if length != _END64.size - 12 or disk or first or here != entries:
        raise _Unaccounted("its end record for large archives is not as writers leave it")
    if not (
        small.entries in {entries, _MOST16}
        and small.size in {size, _MOST32}
        and small.start in {start, _MOST32}
    ):
        raise _Unaccounted("its two end records name two directories")
    return at, _Directory(entries, size, start)


def _check_entries(stream: IO[bytes], directory: _Directory, members: int) -> None:
    """The entries fill the directory, and are as many as the record and the reader say."""
    if directory.size > DIRECTORY:
        raise _Unaccounted(f"its directory has {directory.size} bytes")
    content = _read_at(stream, directory.start, directory.size)
    position = count = 0
    while position < len(content):
        if content[position : position + 4] != b"PK\1\2" or len(content) - position < _ENTRY.size:
            raise _Unaccounted(f"byte {directory.start + position} of its directory is no entry")
        lengths = _ENTRY.unpack_from(content, position)[10:13]
        extra = position + _ENTRY.size + lengths[0]
        fields = [kind for kind, _ in _extra_fields(content[extra : extra + lengths[1]])]
        if fields.count(_ZIP64) > 1 or _UNICODE_PATH in fields:
            raise _Unaccounted("an entry of its directory gives a second name, or sizes twice")
        position += _ENTRY.size + sum(lengths)
        count += 1
    if position != directory.size or not count == members == directory.entries:
        raise _Unaccounted(
            f"its directory has {count} entries, and its end record says {directory.entries}"
        )


def _check_members(
    stream: IO[bytes], directory: _Directory, members: list[zipfile.ZipInfo]
) -> None:
    """Each member begins where the one before it ends, and the last ends at the directory."""
    ordered = sorted(members, key=lambda one: one.header_offset)
    ends = [*(one.header_offset for one in ordered[1:]), directory.start]
    for member, end in zip(ordered, ends, strict=True):
        header = _read_at(stream, member.header_offset, LOCAL.size)
        if len(header) != LOCAL.size:
            raise _Unaccounted(f"'{member.filename}' is cut short")
        _, _, flags, _, _, _, _, packed, size, name, extra = LOCAL.unpack(header)
        fields = _read_at(stream, member.header_offset + LOCAL.size + name, extra)
        body = member.header_offset + LOCAL.size + name + extra + member.compress_size
        if not _sizes_agree(member, flags, (size, packed), fields):
            raise _Unaccounted(f"'{member.filename}': its own header has another size")
        if end < body:
            raise _Unaccounted(f"'{member.filename}' reaches into what follows it")
        between = _read_at(stream, body, min(end - body, KIB))
        if between and not (flags & DESCRIPTOR_FLAG and between in _descriptors(member)):
            raise _Unaccounted(f"bytes {body} to {end} belong to no member")


def _sizes_agree(member: zipfile.ZipInfo, flags: int, own: tuple[int, int], fields: bytes) -> bool:
    """Whether a member's own header gives the sizes of the directory, or leaves them for later."""
    wanted = (member.file_size, member.compress_size)
    if own == wanted or (flags & DESCRIPTOR_FLAG and own == (0, 0)):
        return True
    large = [content for kind, content in _extra_fields(fields) if kind == _ZIP64]
    sizes = struct.pack("<2Q", *wanted)
    later = bytes(len(sizes)) if flags & DESCRIPTOR_FLAG else sizes
    return own == (_MOST32, _MOST32) and len(large) == 1 and large[0] in {sizes, later}


def _descriptors(member: zipfile.ZipInfo) -> set[bytes]:
    """What may follow a member: checksum and sizes, of four bytes or of eight, with a mark."""
    sizes = member.compress_size, member.file_size
    forms = ["<I2Q"] + (["<3I"] if max(sizes) <= _MOST32 else [])
    told = [struct.pack(form, member.CRC, *sizes) for form in forms]
    return {*told, *(b"PK\7\x08" + one for one in told)}


def _extra_fields(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each extra field; what is too short to be one ends them."""
    position = 0
    while position + _EXTRA.size <= len(content):
        kind, length = _EXTRA.unpack_from(content, position)
        position += _EXTRA.size
        yield kind, content[position : position + length]
        position += length


def _read_at(stream: IO[bytes], start: int, length: int) -> bytes:
    stream.seek(max(start, 0))
    return stream.read(length)
