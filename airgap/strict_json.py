"""JSON as we write it and as we are willing to read it.

Read: UTF-8 without a mark, no duplicate keys, no floats, NaN or infinities, integers that
every reader agrees on, bounded nesting. Written: sorted keys, one form for one value.
`Fields` takes an object apart key by key, and collects what is wrong with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from airgap import limits

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class JsonError(Exception):
    """The bytes are no JSON that we read; the message says why. Callers make it theirs."""


def compact(value: Any) -> bytes:
    """The canonical form of envelope and statement: sorted, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def readable(value: Any) -> bytes:
    """The canonical form that a person reads: sorted, two spaces, UTF-8, one final newline."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    # Half of a surrogate pair can be escaped in JSON and has no UTF-8: so it reads as another.
    return text.encode(errors="surrogatepass") + b"\n"


def parse(data: bytes) -> Any:
    """Parse bytes whose length the caller has bounded. Raises JsonError."""
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
    except UnicodeDecodeError as error:
        raise JsonError(f"it is not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise JsonError(f"{error.msg} at line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise JsonError("it is nested too deeply") from error
    if _depth(value) > limits.JSON_DEPTH:
        raise JsonError(f"it is nested more than {limits.JSON_DEPTH} deep")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise JsonError("an object names a key twice")
    return result


def _integer(digits: str) -> int:
    if len(digits) > len(str(-limits.INTEGER)) or abs(int(digits)) > limits.INTEGER:
        raise JsonError("an integer is out of range")
    return int(digits)


def _no_float(text: str) -> Any:
    raise JsonError(f"the number {text[:20]} is not an integer")


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if depth > limits.JSON_DEPTH:
            break
    return depth


class Fields:
    """One JSON object, taken apart key by key; every defect is collected, none raised.

    A value of the wrong type becomes the type's zero, so that reading goes on and finds the
    rest; the caller looks at `defects` before it uses anything, after `close` has named the
    keys that nobody asked for.
    """

    def __init__(self, value: Any, where: str, defects: list[str]) -> None:
        self.where, self.defects = where, defects
        self._values: dict[str, Any] = value if isinstance(value, dict) else {}
        self._asked: set[str] = set()
        if not isinstance(value, dict):
            self.reject("", "an object", value)

    def reject(self, key: str, expected: str, found: Any) -> None:
        """Note that `key` holds something else than `expected`."""
        place = f"{self.where}.{key}" if key and self.where else key or self.where or "it"
        self.defects.append(f"{place}: expected {expected}, found {_shown(found)}")

    def raw(self, key: str) -> Any:
        """Whatever stands under `key`; None, with a defect, where it is missing."""
        self._asked.add(key)
        if key not in self._values:
            self.defects.append(f"{self.where or 'it'}: '{key}' is missing")
        return self._values.get(key)

    def text(self, key: str, check: Callable[[str], bool] | None = None, expected: str = "") -> str:
        """A string, one that `check` accepts where it is given."""
        value = self.raw(key)
        if not isinstance(value, str) or (check is not None and not check(value)):
            self.reject(key, expected or "a string", value)
            return ""
        return value

    def optional_text(
        self, key: str, check: Callable[[str], bool] | None = None, expected: str = "a string"
    ) -> str | None:
        """Null, or a string as `text` takes it."""
        if self._values.get(key) is None and key in self._values:
            self._asked.add(key)
            return None
        return self.text(key, check, f"{expected} or null")

    def integer(self, key: str, least: int = 0, most: int = limits.INTEGER) -> int:
        """An integer within bounds, both included."""
        value = self.raw(key)
        if type(value) is not int or not least <= value <= most:
            self.reject(key, f"an integer from {least} to {most}", value)
            return least
        return value

    def optional_integer(self, key: str) -> int | None:
        """Null, or an integer that is not negative."""
        if self._values.get(key) is None and key in self._values:
            self._asked.add(key)
            return None
        return self.integer(key)

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.raw(key)
        if not isinstance(value, bool):
            self.reject(key, "true or false", value)
        return value is True

    def inner(self, key: str) -> Fields:
        """An object."""
        return Fields(self.raw(key), f"{self.where}.{key}".lstrip("."), self.defects)

    def optional_inner(self, key: str) -> Fields | None:
        """Null, or an object."""
        if self._values.get(key) is None and key in self._values:
            self._asked.add(key)
            return None
        return self.inner(key)

    def items(self, key: str, most: int) -> list[Any]:
        """A list of at most so many values."""
        value = self.raw(key)
        if not isinstance(value, list) or len(value) > most:
            self.reject(key, f"a list of at most {most}", value)
            return []
        return value

    def objects(self, key: str, most: int) -> list[Fields]:
        """A list of objects."""
        place = f"{self.where}.{key}".lstrip(".")
        values = self.items(key, most)
        return [Fields(value, f"{place}[{i}]", self.defects) for i, value in enumerate(values)]

    def texts(self, key: str, most: int) -> tuple[str, ...]:
        """A list of strings."""
        values = self.items(key, most)
        if not all(isinstance(value, str) for value in values):
            self.reject(key, "strings", values)
            return ()
        return tuple(values)

    def keys(self) -> list[str]:
        """The keys that are there, asked for or not; of an object whose keys are data."""
        self._asked.update(self._values)
        return list(self._values)

    def close(self) -> None:
        """Note every key that nobody asked for."""
        unknown = sorted(self._values.keys() - self._asked)
        self.defects.extend(f"{self.where or 'it'}: '{key}' is not known here" for key in unknown)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004 - fits a line


def is_name(text: str) -> bool:
    """Whether `text` may name a bundle, a version, a signer: `[a-z0-9][a-z0-9._-]{0,63}`."""
    return _NAME.fullmatch(text) is not None


def is_time(text: str) -> bool:
    """Whether `text` is a time as we write it: RFC 3339, UTC, whole seconds, a real date."""
    if _TIME.fullmatch(text) is None:
        return False
    try:
        return 1980 <= from_time(text).year <= 2107  # noqa: PLR2004 - the dates that zip and FAT have
    except ValueError:
        return False


def to_time(moment: datetime) -> str:
    """A moment as we write it: `2026-01-31T12:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_time(text: str) -> datetime:
    """The moment that `to_time` wrote."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
