"""A request -> an answer, from the catalogue alone: no file is named by what a client says."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from airgap.errors import AirgapError
from runtime.mirror import preconditions
from runtime.mirror.catalogue import Catalogue
from runtime.mirror.intact import Signed
from runtime.mirror.request import Request
from runtime.mirror.snapshot import Content, Document
from runtime.server import logs
from runtime.server.keys import Keys

HEALTH: Final = "/health"
"""Needs no key, and says nothing about what is served."""

Headers = Mapping[str, str]


@dataclass(frozen=True)
class Part:
    """A range of a file, to be sent: bytes from `start` up to `stop`, without it."""

    signed: Signed
    start: int
    stop: int


@dataclass(frozen=True)
class Answer:
    """What a client is told.

    Attributes:
        status: of HTTP.
        headers: beside those that every answer has.
        body: the bytes, or the part of a file that they are.
        route: the path, where it is one of ours; a client's own text goes into no log.
    """

    status: int
    headers: Headers
    body: bytes | Part = b""
    route: str = "none"

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return self.body.stop - self.body.start if isinstance(self.body, Part) else len(self.body)


class Gate:
    """Asks for a key, where this host has API keys: the same as those of `airgap serve`."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._refreshing = threading.Lock()

    def caller(self, request: Request, address: str) -> str | None:
        """Who asks: the name of the key, else the address; None for nobody who may."""
        with self._refreshing:
            try:
                self._keys.refresh()
            except AirgapError as error:
                logs.warn("keys", f"the keys stay as they were: {error.message}")
        if not self._keys.required or request.path == HEALTH:
            return address
        scheme, _space, key = request.headers.get("authorization", "").partition(" ")
        return self._keys.caller(key.strip()) if scheme.lower() == "bearer" else None


def answer(catalogue: Catalogue, request: Request) -> Answer:
    """What a request with a key, or where none is needed, is told."""
    if request.path == HEALTH:
        return Answer(HTTPStatus.OK, _kind("text/plain"), b"ok\n", HEALTH)
    recursive = request.query.get("recursive", "").lower() == "true"
    found = catalogue.find(request.path, recursive=recursive)
    if found is None:
        return missing(catalogue.why_not(request.path))
    if isinstance(found, Document):
        return Answer(HTTPStatus.OK, _kind(found.kind), found.body, request.path)
    return _file(found, request)


def _file(content: Content, request: Request) -> Answer:
    """A file, or the part of it that is asked for."""
    size = content.signed.size
    chosen = preconditions.choose(request, content.etag, size)
    headers = {
        "ETag": content.etag,
        "X-Repo-Commit": content.commit,
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
    }
    if content.large:  # the hub redirects to these, and its client looks for them first
        headers |= {"X-Linked-Etag": content.etag, "X-Linked-Size": str(size)}
    if chosen.status == preconditions.BEYOND:
        headers["Content-Range"] = f"bytes */{size}"
    elif chosen.status == preconditions.PARTIAL:
        headers["Content-Range"] = f"bytes {chosen.start}-{chosen.stop - 1}/{size}"
    body: bytes | Part = b""
    if chosen.status in {preconditions.OK, preconditions.PARTIAL}:
        body = Part(content.signed, chosen.start, chosen.stop)
    return Answer(chosen.status, headers, body, request.path)


def missing(why: str) -> Answer:
    """A 404, with the hub's word for it."""
    said = {
        "RepoNotFound": "no mounted bundle carries this repository",
        "RevisionNotFound": "no mounted bundle carries this revision; expected its commit, or main",
        "EntryNotFound": "no mounted bundle carries this file of the repository",
    }
    return failure(HTTPStatus.NOT_FOUND, said[why], {"X-Error-Code": why})


def unauthorized() -> Answer:
    """A 401. Without these very words the hub's client speaks of a repository that is missing."""
    words = "Invalid credentials in Authorization header"
    return failure(HTTPStatus.UNAUTHORIZED, words, {"WWW-Authenticate": "Bearer"})


def failure(status: int, message: str, headers: Headers | None = None) -> Answer:
    """An answer that says why there is none. `message` is ours, and plain ASCII."""
    said = _kind("application/json") | {"X-Error-Message": message} | dict(headers or {})
    return Answer(status, said, json.dumps({"error": message}).encode())


def _kind(name: str) -> dict[str, str]:
    return {"Content-Type": name}
