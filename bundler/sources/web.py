"""Files over HTTP and HTTPS, from a byte on, as a site's proxies and authorities allow.

Every source that speaks HTTP pours its bytes through here, whatever library resolves its names.
HTTPS_PROXY, NO_PROXY and ~/.netrc are honoured by requests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from airgap.digest import CHUNK
from airgap.errors import AirgapError
from bundler.sink import Sink
from bundler.sources.authorities import CA_HINT, authorities
from bundler.transfer import Answer, PassingError, Patience, transfer

if TYPE_CHECKING:
    from requests import Response

RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that say: later, perhaps."""

_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_OK, _PARTIAL, _BEYOND = 200, 206, 416


class StatusError(AirgapError):
    """A server answered with a status that no other try will change.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, message: str, status: int, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


@dataclass(frozen=True)
class Web:
    """How this builder reads addresses."""

    patience: Patience = field(default_factory=Patience)

    def pour(
        self, url: str | Callable[[], str], sink: Sink, headers: Mapping[str, str] | None = None
    ) -> None:
        """Pour the file at an address into `sink`, resuming and trying again.

        Args:
            url: `http` or `https`; or what makes one for each try, where they grow old.
            sink: takes the bytes.
            headers: further ones, such as a token's.

        Raises:
            StatusError: the server says no.
            AirgapError: it cannot be reached, or failed once too often.
        """

        def make() -> str:
            return url if isinstance(url, str) else url()

        @contextmanager
        def opened(start: int, etag: str | None) -> Iterator[Answer]:
            wanted = {**(headers or {}), "Accept-Encoding": "identity"}
            if start:
                wanted["Range"] = f"bytes={start}-"
                if etag:
                    wanted["If-Range"] = etag
            with self._get(make(), wanted) as response:
                yield _answer(response, start)

        transfer(without_secrets(make()), opened, sink, self.patience)

    def part(self, url: str, start: int | None, length: int) -> tuple[bytes, int]:
        """A part of the file at an address, and the size of the whole.

        Args:
            url: `http` or `https`.
            start: its first byte; None asks for the last `length` bytes.
            length: of the part, at most; in bytes.

        Raises:
            AirgapError: the server cannot be reached, says no, or sends no parts.
        """
        span = f"-{length}" if start is None else f"{start}-{start + length - 1}"
        wanted = {"Accept-Encoding": "identity", "Range": f"bytes={span}"}
        with self._get(url, wanted) as response:
            host, said = host_of(response.url), response.headers.get("Content-Range", "")
            found = _RANGE.fullmatch(said)
            if response.status_code != _PARTIAL or found is None or found[2] == "*":
                raise StatusError(f"{host} sends no parts of a file", response.status_code)
            if int(found[1]) != (max(0, int(found[2]) - length) if start is None else start):
                raise AirgapError(f"asked {host} for bytes {span}, it sends '{said[:60]}'")
            return response.raw.read(length), int(found[2])

    @contextmanager
    def _get(self, url: str, headers: Mapping[str, str]) -> Iterator[Response]:
        import requests  # noqa: PLC0415 - heavy, and of the connected side

        timeout = (self.patience.connect, self.patience.silence)
        with (
            _translated(host_of(url)),
            requests.Session() as session,
            session.get(
                url, headers=headers, stream=True, timeout=timeout, verify=authorities()
            ) as response,
        ):
            yield response


def without_secrets(url: str) -> str:
    """The address without a user's name and password, and without a query, which may be signed."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def host_of(url: str) -> str:
    """The host, and the port where there is one, for a person."""
    return urlsplit(url).netloc.rpartition("@")[2] or url


def _answer(response: Response, start: int) -> Answer:
    status, host = response.status_code, host_of(response.url)
    if status in RETRIED:
        raise PassingError(f"{host} answered {status}", after=_asked_to_wait(response))
    if status == _BEYOND:
        raise AirgapError(f"{host} has no byte {start} of it: a shorter file than was locked")
    if status not in {_OK, _PARTIAL}:
        raise StatusError(f"{host} answered {status}", status)
    at, size = _range(response, start) if status == _PARTIAL else (0, _length(response))
    etag = response.headers.get("ETag", "")
    strong = etag if etag.startswith('"') else None  # W/ names no bytes: RFC 9110, 13.1.5
    return Answer(at, size, strong, _chunks(response))


def _range(response: Response, start: int) -> tuple[int, int | None]:
    """Where a partial answer begins, and the size of the whole."""
    said = response.headers.get("Content-Range", "")
    if (found := _RANGE.fullmatch(said)) is None:
        raise AirgapError(f"asked for byte {start}, it sends the range '{said[:60]}'")
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _length(response: Response) -> int | None:
    """The declared length; that of a compressed answer is not the file's."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        return None
    said = response.headers.get("Content-Length", "")
    return int(said) if said.isascii() and said.isdigit() else None


def _asked_to_wait(response: Response) -> float | None:
    said = response.headers.get("Retry-After", "")
    return float(said) if said.isascii() and said.isdigit() else None


def _chunks(response: Response) -> Iterator[bytes]:
    """The bytes as they come: no wait for a full chunk, which a trickle would never fill."""
    while chunk := response.raw.read1(CHUNK, decode_content=True):
        yield chunk


@contextmanager
def _translated(host: str) -> Iterator[None]:
    """Turn what requests and urllib3 raise into our words."""
    import requests  # noqa: PLC0415 - heavy, and of the connected side
    import urllib3  # noqa: PLC0415 - heavy, and of the connected side

    try:
        yield
    except requests.exceptions.SSLError as error:
        raise AirgapError(
            f"{host} shows a certificate that is not trusted", hint=CA_HINT
        ) from error
    except requests.exceptions.ProxyError as error:
        raise PassingError(
            f"the proxy did not lead to {host}", hint="check HTTPS_PROXY and NO_PROXY"
        ) from error
    except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
        raise PassingError(
            f"{host} cannot be reached: {_brief(error)}", hint="check the network, and HTTPS_PROXY"
        ) from error
    except (urllib3.exceptions.HTTPError, requests.exceptions.ChunkedEncodingError) as error:
        raise PassingError(f"{host} broke off: {type(error).__name__}") from error
    except requests.exceptions.RequestException as error:
        raise AirgapError(f"{host}: {type(error).__name__}") from error


def _brief(error: Exception) -> str:
    """The innermost reason, without addresses, which may hold secrets."""
    text = str(error)
    for reason in ("Connection refused", "timed out", "Name or service not known", "reset by peer"):
        if reason in text:
            return reason
    return type(error).__name__
