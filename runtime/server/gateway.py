"""What every request passes, outermost first: its id and its line in the log, its key, its place.

Plain ASGI, so that a request is refused before a byte of its body is read, and a place is held
until the last byte of its answer is sent.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from contextlib import suppress
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airgap.errors import AirgapError
from runtime.server import errors, limits, logs, page
from runtime.server.errors import ApiError
from runtime.server.keys import Keys
from runtime.server.limits import Limits
from runtime.server.metrics import Metrics
from runtime.server.places import Places
from runtime.server.service import Service

OPEN: Final = frozenset({"/docs", "/openapi.json", "/health", "/ready"}) | page.PATHS
"""What needs no key: nothing that a client said, and nothing about what is served."""

AUDIO: Final = "/v1/audio/"

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
"""A transcript is not to be kept by a proxy or a browser."""


class Journal:
    """Gives each request an id, and writes one line about it: no text, no file name, no key."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and say how it went."""
        if scope["type"] != "http":
            raise RuntimeError(f"expected http, found {scope['type']}")
        asked = Headers(scope=scope).get("x-request-id", "")
        request_id = asked if _REQUEST_ID.fullmatch(asked) else secrets.token_hex(16)
        notes: dict[str, Any] = {"request_id": request_id}
        scope.setdefault("state", {})["notes"] = notes
        started, status = time.perf_counter(), 499

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            seconds = time.perf_counter() - started
            self._write(scope, notes, status, seconds)

    def _write(self, scope: Scope, notes: dict[str, Any], status: int, seconds: float) -> None:
        # A path that no route has is the client's own text: it goes neither here nor there.
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if route != "none" else "none"
        status = notes.pop("status", status)
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        logs.say(
            "request",
            f"{method} {route} {status}",
            **notes,
            status=status,
            seconds=round(seconds, 4),
        )


class Gate:
    """Asks for a key, where there are keys."""

    def __init__(self, app: ASGIApp, keys: Keys, metrics: Metrics) -> None:
        self._app, self._keys, self._metrics = app, keys, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its caller's name, or refuse it."""
        notes = scope["state"]["notes"]
        try:
            notes["caller"] = self._caller(scope)
        except ApiError as error:
            self._metrics.refusals.labels(error.code).inc()
            await error.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _caller(self, scope: Scope) -> str:
        """Who calls: the name of the key, else the address. Raises ApiError 401."""
        self._refresh()
        address: str = scope["client"][0] if scope.get("client") else "unknown"
        if not self._keys.required or scope["path"] in OPEN:
            return address
        scheme, _space, key = Headers(scope=scope).get("authorization", "").partition(" ")
        name = self._keys.caller(key.strip()) if scheme.lower() == "bearer" else None
        if name is None:
            raise errors.bad_key()
        return name

    def _refresh(self) -> None:
        try:
            if self._keys.refresh():
                logs.say("keys", "the file of API keys was read")
        except AirgapError as error:
            logs.warn("keys", f"the keys stay as they were: {error.message}")


class Intake:
    """Takes a recording in: when there is a model and a place, in time, and no larger than it may.

    Nothing is read, and so nothing is held, for a request that is refused.
    """

    def __init__(
        self, app: ASGIApp, service: Service, places: Places, bounds: Limits, metrics: Metrics
    ) -> None:
        self._app, self._service, self._places = app, service, places
        self._bounds, self._metrics = bounds, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its body bounded, or refuse it."""
        if not (scope["path"].startswith(AUDIO) and scope["method"] == "POST"):
            await self._app(scope, receive, send)
            return
        body = BoundedBody(receive, self._bounds)
        try:
            self._service.ready()
            body.check_declared(Headers(scope=scope))
            with self._places.one(scope["state"]["notes"]["caller"]):
                await self._app(scope, body.receive, self._counting(send))
        except ApiError as error:
            self._metrics.refusals.labels(error.code).inc()
            if "expect" not in Headers(scope=scope):  # who asks first has sent nothing yet
                await body.discard()
            await error.response()(scope, receive, send)

    def _counting(self, send: Send) -> Send:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in {408, 413}:
                self._metrics.refusals.labels(f"status_{message['status']}").inc()
            await send(message)

        return counted


class BoundedBody:
    """The body of a request, with an end and a deadline."""

    def __init__(self, receive: Receive, bounds: Limits) -> None:
        self._receive = receive
        self._most = bounds.upload_bytes + limits.FORM_OVERHEAD
        self._upload_bytes = bounds.upload_bytes
        self._left = self._most
        self._deadline = time.monotonic() + bounds.upload_seconds
        self._complete = False

    def check_declared(self, headers: Headers) -> None:
        """Refuse by its length, where it declares one. Raises ApiError 413."""
        declared = headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and int(declared) > self._most:
            raise errors.too_large(self._upload_bytes)

    async def receive(self) -> Message:
        """The next piece; after the last, that the client went. Raises ApiError 408 or 413."""
        if self._complete:
            return await self._receive()
        patience = min(limits.IDLE_SECONDS, self._deadline - time.monotonic())
        try:
            message = await asyncio.wait_for(self._receive(), max(patience, 0))
        except TimeoutError as error:
            raise errors.too_slow() from error
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            await self.discard()
            raise errors.too_large(self._upload_bytes)
        self._complete = not message.get("more_body", False)
        return message

    async def discard(self) -> None:
        """Read on for a moment and keep nothing.

        A connection that is closed with bytes unread is reset, and the answer lost with it.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(limits.LINGER_SECONDS):
                while (await self._receive()).get("more_body", False):
                    pass
