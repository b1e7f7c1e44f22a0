"""Frames and their table: what a bundle's payload is cut into, and what each piece must hash to.

Every frame is an ordinary zstd frame (RFC 8878) of at most 4 MiB of payload, independent of all
others; the table, a skippable frame that zstd passes over, gives for each its stored size, its
plain size and the hash of its stored bytes.
"""

from __future__ import annotations

import hashlib
import struct
import threading
from dataclasses import dataclass
from typing import Final

import zstandard

from airgap import limits
from airgap.digest import HASHES
from airgap.errors import DamagedError

TABLE_MAGIC: Final = (0x184D2A51).to_bytes(4, "little")
FRAME_MAGIC: Final = (0xFD2FB528).to_bytes(4, "little")
_STORED: Final = b"\xa0"
"""The frame's descriptor: content size in four bytes, which is the window's too; nothing else."""

LEVEL: Final = 1
"""Of frames that are compressed: what a bundle has of text is kilobytes."""

WORTH: Final = 8
"""A frame is compressed where that saves an eighth of it, as ZFS does with a block: weights in half
precision would save 8 %, and cost every reader more than hashing does."""

_SAMPLES: Final = 4
_SAMPLE: Final = 32 * limits.KIB
"""Pieces of a frame, spread over it, and bytes of each: they tell whether the rest would shrink."""

_BLOCK: Final = 128 * limits.KIB
"""The largest block of a zstd frame (RFC 8878, 3.1.1.2.4)."""

_HEADER: Final = struct.Struct("<8s16sQ")
_SIZES: Final = struct.Struct("<II")
_NAME: Final = b"AIRGAPT1"

_codecs = threading.local()


@dataclass(frozen=True)
class Slot:
    """One frame's line in the table: sizes in bytes, and the hash of the stored bytes."""

    stored: int
    plain: int
    digest: bytes


@dataclass(frozen=True)
class Table:
    """Every frame of a bundle, the manifest's first.

    `Table.parse(table.to_bytes(), table.hash, len(table.slots)) == table`.
    """

    hash: str
    slots: tuple[Slot, ...]

    @property
    def stored_total(self) -> int:
        """Bytes of all frames as they lie in the file."""
        return sum(slot.stored for slot in self.slots)

    @property
    def plain_total(self) -> int:
        """Bytes of the tar."""
        return sum(slot.plain for slot in self.slots)

    def to_bytes(self) -> bytes:
        """The table's content, without the header of its skippable frame."""
        lines = (_SIZES.pack(slot.stored, slot.plain) + slot.digest for slot in self.slots)
        return _HEADER.pack(_NAME, self.hash.encode(), len(self.slots)) + b"".join(lines)

    @classmethod
    def parse(cls, content: bytes, algorithm: str, frames: int) -> Table:
        """Parse a table whose digest has been checked.

        Args:
            content: exactly `table_size(algorithm, frames)` bytes.
            algorithm: the hash that the statement names.
            frames: how many the statement names.

        Raises:
            DamagedError: it contradicts the statement, or gives a frame a size out of bounds.
        """
        if _HEADER.unpack_from(content) != (_NAME, algorithm.encode().ljust(16, b"\0"), frames):
            raise _contradiction("its header is another")
        length = HASHES[algorithm]
        slots = []
        for at in range(_HEADER.size, len(content), _SIZES.size + length):
            stored, plain = _SIZES.unpack_from(content, at)
            start = at + _SIZES.size
            slots.append(Slot(stored, plain, content[start : start + length]))
        table = cls(algorithm, tuple(slots))
        if defect := table.defect():
            raise _contradiction(defect)
        return table

    def defect(self) -> str | None:
        """What is wrong with the sizes, or None: frames are full but the first and the last."""
        largest = limits.FRAME_PLAIN
        for index, slot in enumerate(self.slots):
            most = limits.WINDOW if index == 0 else largest
            full = 0 < index < len(self.slots) - 1
            if not 0 < slot.plain <= most or (full and slot.plain != largest):
                return f"frame {index} holds {slot.plain} bytes"
            if not 0 < slot.stored <= most + limits.FRAME_STORED - largest:
                return f"frame {index} takes {slot.stored} bytes"
        return None


def table_size(algorithm: str, frames: int) -> int:
    """Bytes of a table's content for so many frames."""
    return _HEADER.size + frames * (_SIZES.size + HASHES[algorithm])


def digest(stored: bytes | bytearray | memoryview, algorithm: str) -> bytes:
    """The hash of a frame's stored bytes."""
    return hashlib.new(algorithm, stored).digest()


def compress(plain: bytes | bytearray | memoryview) -> bytes:
    """One frame with its content size, without checksum or dictionary.

    Whether it is compressed or stored is a function of its bytes, and of zstd's version, alone.
    """
    view = memoryview(plain)
    if len(view) > _SAMPLES * _SAMPLE and not _shrinks(view):
        return _stored(view)
    stored: bytes = _compressor().compress(view)
    return stored


def _shrinks(plain: memoryview) -> bool:
    """Whether samples of a frame shrink by an eighth."""
    stride = (len(plain) - _SAMPLE) // (_SAMPLES - 1)
    sample = b"".join(plain[at : at + _SAMPLE] for at in range(0, stride * _SAMPLES, stride))
    return len(_compressor().compress(sample)) <= len(sample) * (WORTH - 1) // WORTH


def _stored(plain: memoryview) -> bytes:
    """A frame of raw blocks (RFC 8878, 3.1.1): its bytes, and 3 more for each 128 KiB."""
    blocks = range(0, len(plain), _BLOCK)
    pieces: list[bytes | memoryview] = [FRAME_MAGIC, _STORED, len(plain).to_bytes(4, "little")]
    for at in blocks:
        piece = plain[at : at + _BLOCK]
        pieces += [(len(piece) << 3 | (at == blocks[-1])).to_bytes(3, "little"), piece]
    return b"".join(pieces)


def _compressor() -> zstandard.ZstdCompressor:
    if not hasattr(_codecs, "compressor"):
        _codecs.compressor = zstandard.ZstdCompressor(
            level=LEVEL, write_content_size=True, write_checksum=False, write_dict_id=False
        )
    compressor: zstandard.ZstdCompressor = _codecs.compressor
    return compressor


def decompress(stored: bytes | memoryview, plain_size: int, where: str) -> bytes:
    """The plain bytes of a frame whose stored bytes have matched their hash.

    Args:
        stored: one frame, whole, in memory that nobody else can write.
        plain_size: what the table says comes out.
        where: names the frame in errors.

    Raises:
        DamagedError: it is not one frame, asks for another size, a dictionary or a large
            window, or something follows it (some libraries would read on, some stop).
    """
    try:
        if stored[: len(FRAME_MAGIC)] != FRAME_MAGIC:
            raise _defective(where, "it is no zstd frame")
        asked = zstandard.get_frame_parameters(stored)
        if asked.content_size != plain_size:
            raise _defective(where, f"it declares another size than the table's {plain_size}")
        if asked.window_size > limits.WINDOW or asked.dict_id:
            raise _defective(where, "it asks for a large window or a dictionary")
        if not hasattr(_codecs, "decompressor"):
            _codecs.decompressor = zstandard.ZstdDecompressor(max_window_size=limits.WINDOW)
        plain: bytes = _codecs.decompressor.decompress(stored, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise _defective(where, str(error)) from error
    if len(plain) != plain_size:
        raise _defective(where, f"it holds {len(plain)} bytes, expected {plain_size}")
    return plain


def skippable(magic: bytes, content: bytes) -> bytes:
    """A zstd skippable frame around `content` (RFC 8878, 3.1.2)."""
    return magic + len(content).to_bytes(4, "little") + content


def _contradiction(why: str) -> DamagedError:
    return DamagedError(
        f"the table of frames contradicts what was signed: {why}",
        rule="table.form",
        hint="ask the builder of the bundle; a copy cannot have caused this",
    )


def _defective(where: str, why: str) -> DamagedError:
    return DamagedError(
        f"{where} has the signed hash and is not in the bundle's format: {why}",
        rule="frame.form",
        hint="ask the builder of the bundle; a copy cannot have caused this",
    )
