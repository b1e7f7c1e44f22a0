"""One exchange with a registry after the other, with its credentials, as its challenge asks.

Requests and answers are those of the OCI distribution-spec 1.1. oras finds the credentials where
docker, podman and skopeo leave them, and trades them for tokens; its own transfers hold a blob in
memory and check no digest, so bytes go through `blobs` and `airgap.transfer`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

from airgap.authorities import CA_HINT, authorities
from airgap.errors import AirgapError, UsageError
from airgap.http_answer import RETRIED, StatusError
from airgap.transfer import PassingError, Patience
from runtime.site.address import OciAddress, is_loopback

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

LOGIN_HINT: Final = (
    "docker login, or skopeo login --authfile ~/.docker/config.json; REGISTRY_AUTH_FILE names "
    "another file"
)
_UNKNOWN, _WHO, _FORBIDDEN = 404, 401, 403


class Registry:
    """The registry of an address.

    Attributes:
        host: for a person.
    """

    def __init__(self, address: OciAddress, patience: Patience, *, plain_http: bool | None) -> None:
        """Nothing is sent yet.

        Args:
            address: names the registry.
            patience: for a connection, and between two reads.
            plain_http: speak without TLS; None does so on this machine's own addresses alone.
        """
        import requests  # noqa: PLC0415 - 150 ms, and needed by nobody else of this side

        plain = is_loopback(address.registry) if plain_http is None else plain_http
        self.host = address.registry
        self._base = f"{'http' if plain else 'https'}://{address.registry}"
        self._path = f"/v2/{address.repository}"
        self._timeout = (patience.connect, patience.silence)
        self._session = requests.Session()
        self._session.verify = authorities()
        self._authorization: str | None = None
        self._backend: Any = None

    def close(self) -> None:
        """End its connections."""
        self._session.close()

    def url(self, below: str) -> str:
        """The address of what lies below the repository: `/blobs/…`, `/manifests/…`."""
        return self._base + self._path + below

    def led_to(self, location: str) -> str:
        """The address that a Location means, which may be another host's.

        Raises:
            AirgapError: it is less protected than the registry itself.
        """
        url = urljoin(self._base, location)
        if self._base.startswith("https:") and not url.startswith("https:"):
            raise AirgapError(
                f"the registry {self.host} sends its upload to an address without TLS",
                hint="its operator must tell it its own https address",
            )
        return url

    @contextmanager
    def asked(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Iterator[Response]:
        """An answer, its body still to be read; what goes wrong while that is read is worded too.

        Args:
            method: of HTTP.
            url: of the repository, or where the registry led to.
            headers: beside the credentials.
            content: a body.

        Raises:
            PassingError: it cannot be reached, or is busy.
            AirgapError: it wants credentials that are not there, or shows a wrong certificate.
        """
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        with self._worded():
            response = self._send(method, url, sent, content)
            if response.status_code == _WHO and self._is_ours(url):
                response.close()
                self._authorization = self._credentials(response)
                response = self._send(method, url, sent, content)
            with response:
                if response.status_code in RETRIED:
                    raise PassingError(f"the registry {self.host} answered {response.status_code}")
                yield response

    def refusal(self, response: Response, what: str) -> AirgapError:
        """What an answer means that is not the one hoped for. The body's own text is not shown."""
        status = response.status_code
        if status == _UNKNOWN:
            return StatusError(
                f"the registry {self.host} has no '{what}'",
                status,
                hint="check the repository, and the tag or digest",
            )
        hint = LOGIN_HINT if status in {_WHO, _FORBIDDEN} else None
        return StatusError(
            f"the registry {self.host} answered {status} for '{what}'", status, hint=hint
        )

    def _is_ours(self, url: str) -> bool:
        return urlsplit(url)[:2] == urlsplit(self._base)[:2]

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> Response:
        value = self._authorization if self._is_ours(url) else None

        def authorized(request: PreparedRequest) -> PreparedRequest:
            if value:  # requests drops it where it is led to another host
                request.headers["Authorization"] = value
            return request

        return self._session.request(
            method,
            url,
            headers=dict(headers),
            data=content,
            stream=True,
            timeout=self._timeout,
            auth=authorized,  # given, so that ~/.netrc is not asked
        )

    def _credentials(self, challenge: Response) -> str:
        """The value of Authorization that a challenge asks for (RFC 9110, 11.6.1).

        Raises:
            AirgapError: there are none, or they would go over the wire in clear.
        """
        import oras.auth.utils  # noqa: PLC0415 - 100 ms, where a registry asks for credentials

        asked = challenge.headers.get("WWW-Authenticate", "")
        kind = "basic" if asked.lower().startswith("basic") else "token"
        realm = oras.auth.utils.parse_auth_header(asked).realm or ""
        if not realm:
            raise AirgapError(f"the registry {self.host} wants credentials of an unknown kind")
        if kind == "token" and self._base.startswith("https:") and realm.startswith("http:"):
            raise AirgapError(
                f"the registry {self.host} wants its credentials sent to an address without TLS",
                hint="its operator must name an https realm",
            )
        self._backend = self._backend or self._found(kind)
        headers, changed = {}, False
        if kind == "token" or getattr(self._backend, "_basic_auth", None):
            headers, changed = self._backend.authenticate_request(challenge, {}, refresh=True)
        if not changed:
            raise AirgapError(f"the registry {self.host} wants credentials", hint=LOGIN_HINT)
        value: str = headers["Authorization"]
        return value

    def _found(self, kind: str) -> Any:
        """What oras keeps credentials in, loaded from where other tools left them."""
        import oras.auth  # noqa: PLC0415 - see above
        import oras.container  # noqa: PLC0415
        import oras.logger  # noqa: PLC0415

        oras.logger.setup_logger(quiet=True)  # our errors say it
        backend = oras.auth.get_auth_backend(
            kind,
            session=self._session,
            insecure=self._base.startswith("http:"),
            tls_verify=authorities(),
        )
        place = oras.container.Container("repository", registry=self.host)
        files = [name for name in _credential_files() if os.path.exists(name)]  # noqa: PTH110 - names
        try:
            backend.load_configs(place, configs=files)
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise UsageError(
                f"a file with credentials cannot be read ({', '.join(files) or '~/.docker'}): "
                f"{type(error).__name__}",
                hint=LOGIN_HINT,
            ) from error
        return backend

    @contextmanager
    def _worded(self) -> Iterator[None]:
        """Turn what requests and urllib3 raise into our words, without the addresses in them."""
        import requests  # noqa: PLC0415 - see above
        import urllib3  # noqa: PLC0415 - see above

        try:
            yield
        except requests.exceptions.SSLError as error:
            raise AirgapError(
                f"the registry {self.host} shows a certificate that is not trusted, or speaks no "
                "TLS",
                hint=f"{CA_HINT}; a registry without TLS: --plain-http",
            ) from error
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
            raise PassingError(
                f"the registry {self.host} cannot be reached", hint="check the address and network"
            ) from error
        except (urllib3.exceptions.HTTPError, requests.exceptions.ChunkedEncodingError) as error:
            raise PassingError(
                f"the registry {self.host} broke off: {type(error).__name__}"
            ) from error
        except requests.exceptions.RequestException as error:
            raise AirgapError(f"the registry {self.host}: {type(error).__name__}") from error


def _credential_files() -> Iterator[str]:
    """Where docker, podman and skopeo keep credentials, if not in ~/.docker."""
    if folder := os.environ.get("DOCKER_CONFIG"):
        yield f"{folder}/config.json"
    if file := os.environ.get("REGISTRY_AUTH_FILE"):
        yield file
