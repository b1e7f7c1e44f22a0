"""The head of a request, read strictly: whatever two programs could read differently is refused.

RFC 9112. A request has no body here, so none is read, and one that announces a body is refused:
there is nothing to smuggle a second request in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote_to_bytes

from airgap.errors import AirgapError
from runtime.mirror import limits

END: Final = b"\r\n\r\n"

_LINE: Final = re.compile(rb"([A-Z]{1,16}) ([!-~]+) HTTP/([0-9])\.([0-9])")
_TARGET: Final = re.compile(rb"/(?:[^%]|%[0-9A-Fa-f]{2})*")
_HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)")

_ONCE: Final = frozenset({"host", "content-length", "authorization", "range", "if-range"})
"""Headers of which two would leave open which one counts."""

_MOST_FIELDS: Final = 32
"""Fields of a query; clients send two."""


class RequestError(AirgapError):
    """A request that is not answered. Meant for the client, and for nobody's terminal.

    Attributes:
        status: of HTTP; the connection is closed after it.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Request:
    """A request.

    Attributes:
        method: GET or HEAD.
        path: decoded once. It names nothing but a key of a table, so that `..`, NUL or a second
            round of `%` in it leads nowhere.
        query: its fields, the last of each name.
        headers: by name in lower case; values of one name joined by commas.
        keep_alive: whether another request may follow.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    keep_alive: bool


def parse(head: bytes) -> Request:
    """Read a head, without the empty line that ends it.

    Raises:
        RequestError: 400, 405, 413, 431, 501 or 505.
    """
    first, *lines = head.split(b"\r\n")
    found = _LINE.fullmatch(first)
    if found is None:
        raise RequestError(400, "expected `GET /PATH HTTP/1.1`")
    method, target, major, minor = found.groups()
    if major != b"1":
        raise RequestError(505, "expected HTTP/1.1")
    headers = _headers(lines)
    if minor != b"0" and "host" not in headers:
        raise RequestError(400, "expected a Host header")
    _refuse_body(headers)
    if method not in {b"GET", b"HEAD"}:
        raise RequestError(405, "this hub is read-only: expected GET or HEAD")
    path, query = _split(target)
    said = {word.strip().lower() for word in headers.get("connection", "").split(",")}
    return Request(
        method=method.decode(),
        path=path,
        query=query,
        headers=headers,
        keep_alive=minor != b"0" and "close" not in said,
    )


def _headers(lines: list[bytes]) -> dict[str, str]:
    if len(lines) > limits.HEADER_LINES:
        raise RequestError(431, f"expected at most {limits.HEADER_LINES} headers")
    headers: dict[str, str] = {}
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None:  # also a folded line, a bare CR or LF, a space before the colon
            raise RequestError(400, "expected headers of the form `Name: value`")
        # Not stripped by the expression: spaces by the thousand would be tried in every split.
        name, value = found[1].decode().lower(), found[2].strip(b" \t").decode("latin-1")
        if name in headers and name in _ONCE:
            raise RequestError(400, f"expected one {name} header")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _refuse_body(headers: Mapping[str, str]) -> None:
    """Refuse every body, and so every way of disagreeing about its length (RFC 9112, 6.3)."""
    if "transfer-encoding" in headers:
        raise RequestError(501, "expected no Transfer-Encoding")
    if headers.get("content-length", "0") != "0":
        raise RequestError(413, "expected no body")


def _split(target: bytes) -> tuple[str, dict[str, str]]:
    """Path and query. The absolute form is for proxies, and this is none."""
    if _TARGET.fullmatch(target) is None:
        raise RequestError(400, "expected a path that begins with / and is well encoded")
    path, _mark, query = target.partition(b"?")
    try:
        decoded = unquote_to_bytes(path).decode("utf-8")
        fields = dict(parse_qsl(query.decode(), max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise RequestError(400, "expected a path in UTF-8, and a short query") from error
    return decoded, fields
