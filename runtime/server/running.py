"""The server at work: one loop, one listener, and what signals and a new mount do to it.

SIGTERM and SIGINT: nothing new is taken, what was taken is finished, then it ends; a second one
ends it at once. SIGHUP: certificate and models are read again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from airgap.errors import AirgapError, UsageError
from runtime.generation import CURRENT, GENERATIONS, MOUNTS
from runtime.server import application, limits, logs
from runtime.server.application import House
from runtime.server.tls import Certificate

POLL_SECONDS: Final = 2.0
"""How often is looked whether another generation is mounted. One readlink."""

_STOP_SECONDS: Final = 5.0
"""For threads to end the step that they are at, when nothing is waited for."""

_KILLED: Final = 128 + signal.SIGTERM


@dataclass(frozen=True)
class Manners:
    """How the server comes and goes.

    Attributes:
        drain_seconds: for what was taken in to be finished, after SIGTERM.
        proxy: address of the reverse proxy whose X-Forwarded-For is believed; None for none.
    """

    drain_seconds: float = 300.0
    proxy: str | None = None


class PatientProtocol(H11Protocol):
    """HTTP/1.1 with a deadline for headers, which uvicorn has not: some clients never end them."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        """Stop the clock when headers are complete; start it when more begin."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_clock()
        elif self._deadline is None:
            self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def _expect_headers(self) -> None:
        self._deadline = self.loop.call_later(limits.HEADER_SECONDS, self.transport.abort)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Server(uvicorn.Server):
    """uvicorn, with the signals left to us."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class Running:
    """A server from its first connection to its last."""

    def __init__(
        self,
        house: House,
        listener: socket.socket,
        certificate: Certificate | None,
        manners: Manners,
    ) -> None:
        self._house, self._listener = house, listener
        self._certificate, self._manners = certificate, manners
        self._server = _Server(self._config())
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failure: AirgapError | None = None

    def run(self) -> None:
        """Serve until told to stop.

        Raises:
            AirgapError: the model could not be loaded.
        """
        asyncio.run(self._serve())
        if not self._house.scheduler.close(_STOP_SECONDS):
            # A thread inside the engine cannot be stopped, and must not see Python go.
            os._exit(_KILLED)
        if self._failure is not None:
            raise self._failure

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._start(self._reload()))
        self._start(self._load())
        self._start(self._watch())
        await self._server.serve(sockets=[self._listener])
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        logs.say("stopped", "stopped")

    async def _load(self) -> None:
        try:
            await self._house.service.start()
        except AirgapError as error:
            self._failure = error
            self._server.should_exit = True

    def _stop(self) -> None:
        """Drain; asked a second time, stop."""
        if self._house.service.state is not self._house.service.state.DRAINING:
            self._house.service.drain()
            inside = self._house.places.taken
            logs.say("draining", f"{inside} requests to finish; a second signal stops at once")
            self._start(self._drain())
            return
        self._break_off()

    async def _drain(self) -> None:
        """Answer 503 until what was taken in is finished, then stop listening."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._manners.drain_seconds):
                await self._house.places.emptied()
        if self._house.places.taken:
            self._break_off()
        self._server.should_exit = True

    def _break_off(self) -> None:
        """End now; whoever still waits is told so, in the second that uvicorn leaves for it."""
        logs.warn("stopping", f"{self._house.places.taken} requests are broken off")
        self._house.scheduler.abandon()
        self._server.should_exit = True

    async def _reload(self) -> None:
        """Read the certificate again, and what is mounted."""
        if self._certificate is not None:
            try:
                self._certificate.reload()
                logs.say("certificate", "the certificate was read again")
            except UsageError as error:
                logs.warn("certificate", f"the old certificate stays: {error.message}")
        if not await self._house.service.exchange():
            logs.say("reload", "the same models are served as before")

    async def _watch(self) -> None:
        """Exchange the models when another generation is mounted; what failed is not retried."""
        tried: str | None = None
        while True:
            await asyncio.sleep(POLL_SECONDS)
            loaded = self._house.service.loaded
            if loaded is None:
                continue
            link = self._house.service.source.root / MOUNTS / loaded.bundle / CURRENT
            try:
                target = os.readlink(link)  # noqa: PTH115 - compared as text
            except OSError:  # unmounted: what is served stays
                continue
            if target not in {tried, f"{GENERATIONS}/{loaded.number:06}"}:
                tried = target
                await self._house.service.exchange()

    def _start(self, work: Any) -> None:
        """Run beside the rest; an error that nobody expected ends the server."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._settled)

    def _settled(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = AirgapError(f"{type(error).__name__}: {error}")
            logs.warn("bug", f"{type(error).__name__}: {error}")
            self._server.should_exit = True

    def _config(self) -> uvicorn.Config:
        certificate = self._certificate
        return uvicorn.Config(
            application.build(self._house),
            loop="asyncio",
            http=PatientProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=self._manners.proxy is not None,
            forwarded_allow_ips=self._manners.proxy,
            limit_concurrency=limits.CONNECTIONS,
            timeout_keep_alive=limits.KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=1,
            ssl_context_factory=(
                (lambda _config, _default: certificate.context) if certificate else None
            ),
        )
