"""What a server began to send: status and headers of HTTP -> Answer. Whatever library asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from airgap.errors import AirgapError
from airgap.transfer import Answer, PassingError

RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that say: later, perhaps."""

RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
"""Content-Range of a partial answer: its first byte, and the size of the whole."""

PARTIAL: Final = 206
_OK, _BEYOND = 200, 416


class StatusError(AirgapError):
    """A server answered with a status that no other try will change.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, message: str, status: int, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


def answer(
    status: int, headers: Mapping[str, str], host: str, start: int, chunks: Iterator[bytes]
) -> Answer:
    """What came to a request for a file from the byte `start` on.

    Args:
        status: of HTTP.
        headers: whose names are found in any case.
        host: for messages.
        start: the first byte that was asked for.
        chunks: the body, decoded.

    Raises:
        PassingError: it may be worth another try.
        StatusError: no other try will help.
        AirgapError: it has no such byte, or says of which bytes this is in no way that is known.
    """
    if status in RETRIED:
        raise PassingError(f"{host} answered {status}", after=_asked_to_wait(headers))
    if status == _BEYOND:
        raise AirgapError(f"{host} has no byte {start} of it: a shorter file than was expected")
    if status not in {_OK, PARTIAL}:
        raise StatusError(f"{host} answered {status}", status)
    at, size = _range(headers, start) if status == PARTIAL else (0, _length(headers))
    etag = headers.get("ETag", "")
    strong = etag if etag.startswith('"') else None  # W/ names no bytes: RFC 9110, 13.1.5
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return Answer(at, size, strong, kind, chunks)


def _range(headers: Mapping[str, str], start: int) -> tuple[int, int | None]:
    """Where a partial answer begins, and the size of the whole."""
    said = headers.get("Content-Range", "")
    if (found := RANGE.fullmatch(said)) is None:
        raise AirgapError(f"asked for byte {start}, it sends the range '{said[:60]}'")
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _length(headers: Mapping[str, str]) -> int | None:
    """The declared length; that of a compressed answer is not the file's."""
    if headers.get("Content-Encoding", "identity") != "identity":
        return None
    said = headers.get("Content-Length", "")
    return int(said) if said.isascii() and said.isdigit() else None


def _asked_to_wait(headers: Mapping[str, str]) -> float | None:
    said = headers.get("Retry-After", "")
    return float(said) if said.isascii() and said.isdigit() else None
