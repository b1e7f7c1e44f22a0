"""Files over HTTP and HTTPS, from a byte on, as a site's proxies and authorities allow.

Every source that speaks HTTP pours its bytes through here, whatever library resolves its names.
HTTPS_PROXY and NO_PROXY are honoured by requests, and ~/.netrc where nothing else authorises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airgap.authorities import CA_HINT, authorities
from airgap.digest import CHUNK
from airgap.errors import AirgapError
from airgap.http_answer import PARTIAL, RANGE, StatusError, answer
from airgap.sink import Sink
from airgap.transfer import Answer, PassingError, Patience, transfer

if TYPE_CHECKING:
    from requests import Response


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
                status, host = response.status_code, host_of(response.url)
                yield answer(status, response.headers, host, start, _chunks(response))

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
            found = RANGE.fullmatch(said)
            if response.status_code != PARTIAL or found is None or found[2] == "*":
                raise StatusError(f"{host} sends no parts of a file", response.status_code)
            if int(found[1]) != (max(0, int(found[2]) - length) if start is None else start):
                raise AirgapError(f"asked {host} for bytes {span}, it sends '{said[:60]}'")
            return response.raw.read(length), int(found[2])

    @contextmanager
    def _get(self, url: str, headers: Mapping[str, str]) -> Iterator[Response]:
        from bundler.sources.netrc import Session  # noqa: PLC0415 - requests is heavy

        timeout = (self.patience.connect, self.patience.silence)
        with (
            _translated(host_of(url)),
            Session() as session,
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
