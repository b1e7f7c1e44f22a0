"""The one tar dialect: every header, pad and end block is a function of the manifest.

Regular files alone; ustar (POSIX.1-1988) headers with mode 0644, owner 0 and the bundle's time;
a pax record (POSIX.1-2001) only where a path or size does not fit. We write archives from this
and, reading, compare with it: what `tar` shows an officer is what we mount. No header of an
archive is ever acted upon.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from airgap.manifest import File
from airgap.strict_json import from_time

BLOCK = 512
END = bytes(2 * BLOCK)
"""Two zero blocks end an archive."""

MANIFEST = "manifest.json"

_NAME, _PREFIX = 100, 155
_LARGEST_SIZE = 0o77777777777


def padding(size: int) -> bytes:
    """The zeros that fill up a member's last block."""
    return bytes(-size % BLOCK)


def header(path: str, size: int, created: str) -> bytes:
    """What stands before a member's bytes: one block, or three where a pax record is needed.

    Args:
        path: of the member; at most `limits.PATH_BYTES` of UTF-8.
        size: of its content, in bytes.
        created: the bundle's time, as `strict_json.to_time` writes it.
    """
    moment = int(from_time(created).timestamp())
    fits = _split(path)
    records = b""
    if fits is None:
        records += _record("path", path)
    if size > _LARGEST_SIZE:
        records += _record("size", str(size))
    name, prefix = fits or (path.encode("ascii", "replace")[:_NAME], b"")
    block = _block(name, prefix, 0 if size > _LARGEST_SIZE else size, moment, b"0")
    if not records:
        return block
    extended = _block(b"././@PaxHeader", b"", len(records), moment, b"x")
    return extended + records + padding(len(records)) + block


def manifest_member(content: bytes, created: str) -> bytes:
    """The archive's first member, whole: what frame 0 holds."""
    return header(MANIFEST, len(content), created) + content + padding(len(content))


def members(files: Iterable[File], created: str) -> Iterator[tuple[bytes, File]]:
    """The header of every member of the payload, and its file with the offset it has there."""
    position = 0
    for file in files:
        start = header(file.path, file.size, created)
        position += len(start)
        yield start, replace(file, offset=position)
        position += file.size + len(padding(file.size))


def payload_size(files: Iterable[File], created: str) -> int:
    """Bytes of the tar after the manifest's member."""
    return len(END) + sum(
        len(start) + file.size + len(padding(file.size)) for start, file in members(files, created)
    )


def _split(path: str) -> tuple[bytes, bytes] | None:
    """Name and prefix of a ustar header: the longest name that fits, or None where none does."""
    if not path.isascii():
        return None
    encoded = path.encode()
    if len(encoded) <= _NAME:
        return encoded, b""
    for at in range(max(len(encoded) - _NAME - 1, 1), min(len(encoded), _PREFIX + 1)):
        if encoded[at : at + 1] == b"/":
            return encoded[at + 1 :], encoded[:at]
    return None


def _record(key: str, value: str) -> bytes:
    """A pax record: its own length in decimal, a space, key=value, a newline."""
    body = f" {key}={value}\n".encode()
    length = len(body) + len(str(len(body)))
    if len(str(length)) + len(body) != length:
        length += 1
    return str(length).encode() + body


def _block(name: bytes, prefix: bytes, size: int, moment: int, kind: bytes) -> bytes:
    """One ustar header block with its checksum."""
    block = b"".join(
        (
            name.ljust(_NAME, b"\0"),
            b"0000644\0",
            b"0000000\0",
            b"0000000\0",
            b"%011o\0" % size,
            b"%011o\0" % moment,
            b" " * 8,
            kind,
            bytes(100),
            b"ustar\x0000",
            bytes(32 + 32),
            b"0000000\x000000000\0",
            prefix.ljust(_PREFIX, b"\0"),
        )
    ).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
