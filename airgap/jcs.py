"""JSON that others may reformat: one canonical form of its values (RFC 8785, JCS).

A transcript's JSON goes through clients that indent it anew, sort its keys, or write `11` for
`11.0`. What is signed is therefore a digest of this form, which is the same for every spelling
of the same values. Our own documents have integers alone, and `strict_json`.
"""

from __future__ import annotations

import hashlib
import json
import math
from decimal import Decimal
from typing import Any, Final

from airgap import limits
from airgap.strict_json import JsonError

_EXPONENT_FROM: Final = 21
"""Digits before the point from which ECMAScript writes an exponent (ECMA-262, Number::toString)."""

_ZEROS: Final = 6
"""Zeros after the point that it writes out at most, likewise."""


def parse(data: bytes) -> Any:
    """Parse bytes whose length the caller has bounded.

    Raises:
        JsonError: it is no JSON, or JSON that readers take differently: a key twice, NaN or
            infinity, an integer that not every reader holds, half a surrogate pair.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=_finite,
        )
        canonical(value)
    except UnicodeError as error:
        raise JsonError("it holds bytes or escapes that are no Unicode") from error
    except json.JSONDecodeError as error:
        raise JsonError(f"{error.msg} at line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise JsonError("it is nested too deeply") from error
    return value


def canonical(value: Any) -> bytes:
    """The canonical form of a value that `parse` returned, or that `json` would write.

    Raises:
        UnicodeError: a text holds half a surrogate pair, which has no UTF-8.
    """
    return _written(value).encode()


def digest(value: Any) -> str:
    """SHA-256 of the canonical form, hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _written(value: Any) -> str:
    match value:
        case dict():
            members = sorted(value.items(), key=lambda one: one[0].encode("utf-16-be"))
            return f"{{{','.join(f'{_written(key)}:{_written(one)}' for key, one in members)}}}"
        case list() | tuple():
            return f"[{','.join(map(_written, value))}]"
        case float():
            return _number(value)
        case _:
            return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    """A double as ECMAScript writes it; Python has the same shortest digits in another dress."""
    if value == 0:
        return "0"  # the negative one as well
    negative, figures, exponent = Decimal(repr(value)).normalize().as_tuple()
    sign, digits = "-" if negative else "", "".join(map(str, figures))
    point = len(digits) + int(exponent)
    if len(digits) <= point <= _EXPONENT_FROM:
        return f"{sign}{digits}{'0' * (point - len(digits))}"
    if 0 < point <= _EXPONENT_FROM:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -_ZEROS < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    rest = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{rest}e{point - 1:+d}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonError("an object names a key twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > len(str(-limits.INTEGER)) or abs(int(digits)) > limits.INTEGER:
        raise JsonError("an integer is out of range")
    return int(digits)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise JsonError(f"the number {text[:20]} is not finite")
    return value
