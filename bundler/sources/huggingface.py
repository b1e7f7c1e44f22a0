"""The Hugging Face hub as a source, through huggingface_hub, which knows tokens and endpoints.

HF_ENDPOINT names another hub. HF_TOKEN (or a login) is read by huggingface_hub, which makes the
headers. Bytes come by our own requests for the hub's `resolve` addresses: huggingface_hub checks
nothing that it downloads, and does not resume between runs.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from airgap.authorities import CA_HINT
from airgap.errors import AirgapError, UsageError
from airgap.http_answer import StatusError
from airgap.sink import Sink
from bundler.sources import Access
from bundler.sources.web import Web, without_secrets
from bundler.terms import Terms

HUB: Final = "https://huggingface.co"
STORAGE: Final = "*.hf.co"
"""The hub answers with a redirect to its storage for every large file."""


@dataclass(frozen=True)
class RepositoryFile:
    """A file as the hub lists it. Small files have no SHA-256 there, large ones no git blob id."""

    path: str
    size: int | None
    sha256: str | None
    git_blob: str | None


@dataclass(frozen=True)
class Repository:
    """One state of a repository.

    Attributes:
        commit: 40 hex digits.
        licence: as the model card names it; None where it does not.
        terms: what must be accepted before files can be had; None where nothing must.
    """

    name: str
    commit: str
    licence: str | None
    terms: Terms | None
    files: tuple[RepositoryFile, ...]


class Hub:
    """A hub over HTTP. Its library is imported at the first use, not before."""

    def __init__(self, endpoint: str = HUB) -> None:
        self.endpoint = endpoint.rstrip("/")

    @classmethod
    def from_environment(cls) -> Hub:
        """The hub that HF_ENDPOINT names, else huggingface.co."""
        return cls(os.environ.get("HF_ENDPOINT") or HUB)

    def hosts(self) -> tuple[str, ...]:
        """The hub's host and, for huggingface.co, that of its storage."""
        host = urlsplit(self.endpoint).hostname or self.endpoint
        return (host, STORAGE) if self.endpoint == HUB else (host,)

    def repository(self, name: str, revision: str) -> Repository:
        """Resolve a branch, tag or commit of the repository ORG/NAME.

        Raises:
            AirgapError: it is not there, is not ours to see, or the hub does not answer.
        """
        with self._translated(name):
            info = self._api().model_info(name, revision=revision, files_metadata=True)
            card = info.card_data.to_dict() if info.card_data else {}
            return Repository(
                name=name,
                commit=str(info.sha),
                licence=_licence(card),
                terms=Terms.of(f"{self.endpoint}/{name}", info.gated or False, card),
                files=tuple(
                    RepositoryFile(
                        path=file.rfilename,
                        size=file.lfs.size if file.lfs else file.size,
                        sha256=file.lfs.sha256 if file.lfs else None,
                        # A large file's blob id is that of its pointer, not of its bytes.
                        git_blob=None if file.lfs else file.blob_id,
                    )
                    for file in info.siblings or ()
                ),
            )

    def copy(self, name: str, revision: str, path: str, web: Web, sink: Sink) -> None:
        """Pour a file of one state of a repository into `sink`. Raises AirgapError."""
        library, words = _library("huggingface_hub"), _library("huggingface_hub.utils")
        if _library("huggingface_hub.constants").HF_HUB_OFFLINE:
            raise _offline()
        url = library.hf_hub_url(name, path, revision=revision, endpoint=self.endpoint)
        try:
            web.pour(url, sink, words.build_hf_headers(library_name="airgap"))
        except StatusError as error:
            # The library knows what the hub means by its statuses: gated, gone, private.
            with self._translated(name):
                self._api().get_hf_file_metadata(url=url)
            raise AirgapError(f"{error.message} for '{name}'") from error

    def _api(self) -> Any:
        return _library("huggingface_hub").HfApi(endpoint=self.endpoint, library_name="airgap")

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        """Turn what the library and its HTTP client raise into our words."""
        errors = _library("huggingface_hub.errors")
        foreign = (_transport_error(), OSError, ValueError, TypeError, LookupError)
        page = f"{self.endpoint}/{name}"
        try:
            yield
        except errors.GatedRepoError as error:
            raise AirgapError(
                f"'{name}' is gated: the hub gives it to accounts that accepted its terms",
                hint=f"accept the terms at {page} and set HF_TOKEN to a token of that account",
            ) from error
        except errors.OfflineModeIsEnabled as error:
            raise _offline() from error
        except errors.RevisionNotFoundError as error:
            raise AirgapError(f"'{name}' has no such revision", hint=f"see {page}") from error
        except errors.RepositoryNotFoundError as error:
            raise AirgapError(
                f"'{name}' is not on the hub, or is private",
                hint=f"see whether {page} is there; for a private one set HF_TOKEN",
            ) from error
        except errors.EntryNotFoundError as error:
            raise AirgapError(f"'{name}' has no such file at this commit") from error
        except errors.HfHubHTTPError as error:
            status = error.response.status_code if error.response is not None else "no status"
            raise AirgapError(
                f"the hub answered {status} for '{name}'",
                hint="for 401 and 403 see what HF_TOKEN may read; for others try again later",
            ) from error
        except foreign as error:
            raise AirgapError(
                f"the hub at {without_secrets(self.endpoint)} failed: {_brief(error)}",
                hint=CA_HINT
                if "CERTIFICATE_VERIFY_FAILED" in str(error)
                else "check the network, and HF_ENDPOINT where this site has a hub of its own",
            ) from error


def _offline() -> UsageError:
    return UsageError("HF_HUB_OFFLINE is set", hint="unset HF_HUB_OFFLINE")


def _library(module: str) -> Any:
    """A module of huggingface_hub, imported when it is needed: that takes half a second."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            "the hub is read by huggingface_hub, which is not installed",
            hint="pip install 'airgap-bundler[bundler]'",
        ) from error


def _transport_error() -> type[Exception]:
    """What the HTTP client under huggingface_hub raises: requests, httpx or httpx2, by version."""
    session = _library("huggingface_hub").get_session()
    client = sys.modules[type(session).__module__.partition(".")[0]]
    name = "RequestException" if hasattr(client, "RequestException") else "HTTPError"
    error: type[Exception] = getattr(client, name)
    return error


def _brief(error: Exception) -> str:
    """The first line of a foreign error, bounded: some carry a whole page."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


_LICENCES: Final = {
    "mit": "MIT",
    "apache-2.0": "Apache-2.0",
    "bsd-3-clause": "BSD-3-Clause",
    "openrail": "OpenRAIL",
}


def _licence(card: dict[str, Any]) -> str | None:
    """The licence of a model card, in SPDX's spelling where the hub's differs only by case."""
    named = card.get("license")
    if named == "other":
        named = card.get("license_name")
    if not isinstance(named, str) or not named:
        return None
    return named.upper() if named.startswith("cc") else _LICENCES.get(named, named)


@dataclass(frozen=True)
class HuggingFace:
    """A repository on the hub.

    Attributes:
        repository: ORG/NAME.
        revision: the commit to read, where it is another than the model's own: a mirror.
    """

    repository: str
    revision: str | None = None

    @property
    def name(self) -> str:
        """For a person."""
        return f"huggingface {self.repository}"

    def hosts(self, access: Access) -> tuple[str, ...]:
        """The hub's."""
        return access.hub.hosts()

    def copy(self, path: str, commit: str | None, access: Access, sink: Sink) -> None:
        """Pour the file at the pinned commit. Raises AirgapError."""
        revision = self.revision or commit
        if revision is None:
            raise AirgapError("the lock names no commit to read")
        access.hub.copy(self.repository, revision, path, access.web, sink)

    def as_lock(self) -> dict[str, Any]:
        """`huggingface: ORG/NAME`, and `revision` for a mirror."""
        revision = {"revision": self.revision} if self.revision else {}
        return {"huggingface": self.repository, **revision}
