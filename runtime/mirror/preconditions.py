"""Which bytes of a file are asked for, and whether they are still wanted: RFC 9110, 13 and 14."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from runtime.mirror.request import Request

OK: Final = 200
PARTIAL: Final = 206
NOT_MODIFIED: Final = 304
FAILED: Final = 412
BEYOND: Final = 416

_ONE_RANGE: Final = re.compile(
    r"bytes=[ \t]*(?:([0-9]{1,19})-([0-9]{0,19})|-([0-9]{1,19}))[ \t]*", re.IGNORECASE
)


@dataclass(frozen=True)
class Chosen:
    """What to answer: a status, and the bytes from `start` up to `stop`, without it."""

    status: int
    start: int = 0
    stop: int = 0


def choose(request: Request, etag: str, size: int) -> Chosen:
    """Decide by the headers of a request.

    Args:
        request: a GET, or a HEAD, for which a range means nothing.
        etag: strong, in its quotes.
        size: of the whole, in bytes.
    """
    headers = request.headers
    if "if-match" in headers and not _listed(headers["if-match"], etag, weakly=False):
        return Chosen(FAILED)
    if "if-none-match" in headers and _listed(headers["if-none-match"], etag, weakly=True):
        return Chosen(NOT_MODIFIED)
    if request.method != "GET" or not _still_the_same(headers, etag):
        return Chosen(OK, 0, size)
    return _ranged(headers.get("range", ""), size)


def _ranged(asked: str, size: int) -> Chosen:
    """One range is answered. Several, another unit, or none that is well formed: the whole.

    A server may ignore any range (RFC 9110, 14.2), and none of the hub's clients sends several.
    """
    found = _ONE_RANGE.fullmatch(asked)
    if found is None:
        return Chosen(OK, 0, size)
    first, last, suffix = found.groups()
    if suffix is not None:
        start, stop = max(size - int(suffix), 0), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return Chosen(OK, 0, size)
    if start >= size:  # also `-0`, and any range of an empty file
        return Chosen(BEYOND)
    return Chosen(PARTIAL, start, stop)


def _still_the_same(headers: Mapping[str, str], etag: str) -> bool:
    """Whether a range may be answered: a date in If-Range is never the tag, nor is a weak tag."""
    return headers.get("if-range", etag) == etag


def _listed(tags: str, etag: str, *, weakly: bool) -> bool:
    """Whether a tag is in a list of them. Ours hold no comma."""
    listed = [tag.strip() for tag in tags.split(",")]
    if weakly:
        listed = [tag.removeprefix("W/") for tag in listed]
    return "*" in listed or etag in listed
