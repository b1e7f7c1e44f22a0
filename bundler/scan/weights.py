"""Weights without code: their headers must account for every byte of the file.

A reader written in C believes a header: one that lies has overflowed buffers before (CTranslate2
before 4.8.1). So sizes are added up here, where adding is safe.
"""

from __future__ import annotations

import ast
import json
import math
import struct
from typing import IO, Any, Final

from airgap.limits import KIB, MIB
from bundler.scan.findings import Finding, danger

SAFETENSORS_HEADER: Final = 100 * MIB
"""What the format's own reader accepts."""

NUMPY_HEADER: Final = 64 * KIB
NUMPY_MAGIC: Final = b"\x93NUMPY"

CT2_VERSIONS: Final = range(2, 8)
"""Versions of CTranslate2's binary format; 6 is what it writes today."""

CT2_VARIABLES: Final = 100_000
CT2_RANK: Final = 8

_CT2_WIDTHS: Final = {0: 4, 1: 1, 2: 2, 3: 4, 4: 2, 5: 2}
"""Bytes of a number by its type: float32, int8, int16, int32, float16, bfloat16."""

_SAFE_WIDTHS: Final = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL"), 1),
}

_AGAIN: Final = "download it again; if it stays so, the publisher's file is broken"


class _Lies(Exception):  # noqa: N818 - never leaves this module
    """A header contradicts the file; the message says where."""


def judge_safetensors(stream: IO[bytes], size: int, place: str) -> list[Finding]:
    """Judge the header of a safetensors file."""
    return _judged(_check_safetensors, stream, size, place, "safetensors.header")


def judge_ctranslate2(stream: IO[bytes], size: int, place: str) -> list[Finding]:
    """Judge the header and the sizes of a model of CTranslate2's."""
    return _judged(_check_ctranslate2, stream, size, place, "ctranslate2.header")


def judge_numpy(stream: IO[bytes], size: int, place: str) -> list[Finding]:
    """Judge one array: of numbers, and as long as it says."""
    return _judged(_check_numpy, stream, size, place, "numpy.header")


def _judged(check: Any, stream: IO[bytes], size: int, place: str, rule: str) -> list[Finding]:
    try:
        check(stream, size)
    except _Lies as error:
        return [danger(place, rule, str(error), _AGAIN)]
    return []


def _check_safetensors(stream: IO[bytes], size: int) -> None:
    (length,) = struct.unpack("<Q", _exactly(stream, 8))
    if length > min(SAFETENSORS_HEADER, size - 8):
        raise _Lies(f"its header claims {length} bytes of {size}")
    try:
        header = json.loads(_exactly(stream, length))
        spans = sorted(_span(name, one) for name, one in header.items() if name != "__metadata__")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _Lies("its header is not one of safetensors") from error
    end = 0
    for start, stop in spans:
        if start != end:
            raise _Lies(f"its tensors overlap or leave a gap at byte {min(start, end)}")
        end = stop
    if end != size - 8 - length:
        raise _Lies(f"its tensors end at byte {end}, its data at byte {size - 8 - length}")


def _span(name: str, tensor: Any) -> tuple[int, int]:
    start, stop = tensor["data_offsets"]
    width = _SAFE_WIDTHS.get(tensor["dtype"])
    shape = tensor["shape"]
    if not all(type(one) is int and one >= 0 for one in (start, stop, *shape)):
        raise _Lies(f"tensor '{name}' has a size that is no number")
    if width is None or stop - start != width * math.prod(shape):
        raise _Lies(f"tensor '{name}' does not have the bytes that its shape needs")
    return start, stop


def _check_ctranslate2(stream: IO[bytes], size: int) -> None:
    version, name, _revision = _number(stream, "<I"), _text(stream), _number(stream, "<I")
    if version not in CT2_VERSIONS or not name.isascii() or not name:
        raise _Lies(f"it is not a model of CTranslate2's: version {version}")
    count = _number(stream, "<I")
    if count > CT2_VARIABLES:
        raise _Lies(f"it claims {count} variables")
    names = set()
    for _ in range(count):
        names.add(variable := _text(stream))
        rank = _number(stream, "<B")
        if rank > CT2_RANK:
            raise _Lies(f"variable '{variable}' claims {rank} dimensions")
        shape = [_number(stream, "<I") for _ in range(rank)]
        kind, length = _number(stream, "<B"), _number(stream, "<I")
        if length != _CT2_WIDTHS.get(kind, 0) * math.prod(shape):
            raise _Lies(f"variable '{variable}' does not have the bytes that its shape needs")
        if length > size - stream.tell():
            raise _Lies(f"variable '{variable}' ends behind the file: it is cut short")
        stream.seek(length, 1)
    for _ in range(_number(stream, "<I")):
        alias, original = _text(stream), _text(stream)
        if original not in names:
            raise _Lies(f"'{alias}' stands for '{original}', which is not there")
    if stream.tell() != size:
        raise _Lies(f"its variables end at byte {stream.tell()}, the file at byte {size}")


def _check_numpy(stream: IO[bytes], size: int) -> None:
    magic = _exactly(stream, 8)
    length = _number(stream, "<H" if magic[6] == 1 else "<I")
    if not magic.startswith(NUMPY_MAGIC) or length > NUMPY_HEADER:
        raise _Lies("it is not an array of NumPy's")
    try:
        header = ast.literal_eval(_exactly(stream, length).decode("latin1").strip())
        kind, shape = header["descr"], header["shape"]
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError) as error:
        raise _Lies("its header is not one of NumPy's") from error
    if not isinstance(kind, str) or "O" in kind:
        raise _Lies(f"it holds objects ({kind}), which NumPy would unpickle")
    digits = "".join(one for one in kind if one.isdigit())
    width = int(digits or 1) * (4 if "U" in kind else 1)
    if math.prod(shape) * width != size - stream.tell():
        raise _Lies("it does not have the bytes that its shape needs")


def _exactly(stream: IO[bytes], length: int) -> bytes:
    content = stream.read(length)
    if len(content) != length:
        raise _Lies("it is cut short")
    return content


def _number(stream: IO[bytes], form: str) -> int:
    (value,) = struct.unpack(form, _exactly(stream, struct.calcsize(form)))
    return int(value)


def _text(stream: IO[bytes]) -> str:
    return _exactly(stream, _number(stream, "<H")).rstrip(b"\0").decode("latin1")
