"""One client: reads heads of requests, and writes answers, by sendfile where the socket is plain.

Each has a thread. A file that is not in memory is then waited for by the one who asked for it.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import Final, Protocol

from airgap.errors import AirgapError
from runtime.mirror import answering, limits, request
from runtime.mirror.answering import Answer, Gate, Part
from runtime.mirror.catalogue import Catalogue
from runtime.mirror.intact import Intact, OpenFile
from runtime.mirror.request import Request, RequestError
from runtime.server import logs

_COPIED: Final = 256 * limits.KIB
"""Bytes of a file in memory at a time, where TLS must see them."""

_AT_ONCE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: close with a reset, so that a broken answer does not look like a whole one."""

_CLIENT_CLOSED: Final = 499
"""What the log says where a client went, or was broken off, before its answer was whole."""


class House(Protocol):
    """What connections share."""

    gate: Gate
    intact: Intact

    @property
    def catalogue(self) -> Catalogue:
        """What is served now."""

    @property
    def stopping(self) -> bool:
        """Whether this answer is the last of its connection."""


class BrokenOffError(Exception):
    """The rest of an answer cannot be sent; why, for the log."""


class Connection:
    """A client's connection.

    Attributes:
        address: the client's.
        idle: whether it waits for a request.
    """

    def __init__(
        self, house: House, raw: socket.socket, address: str, context: ssl.SSLContext | None
    ) -> None:
        self.address = address
        self.idle = True
        self._house, self._socket, self._context = house, raw, context
        self._unread = b""

    def run(self) -> None:
        """Answer until the client goes, breaks a rule, or has waited too long."""
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._begin_tls()
            while self._one():
                pass
        except OSError:  # it went; ssl.SSLError is one as well
            pass
        finally:
            self._socket.close()

    def end(self, how: int) -> None:
        """Let it wait for no further request (SHUT_RD), or for nothing at all (SHUT_RDWR)."""
        with suppress(OSError):
            # Not by way of SSLSocket, which forgets its keys under the thread that uses them.
            socket.socket.shutdown(self._socket, how)

    def _begin_tls(self) -> None:
        if self._context is not None:
            self._socket.settimeout(limits.HEADER_SECONDS)
            self._socket = self._context.wrap_socket(self._socket, server_side=True)

    def _one(self) -> bool:
        """Answer one request; whether another may follow."""
        try:
            head = self._read_head()
            if head is None:
                return False
            asked = request.parse(head)
        except RequestError as error:
            self._refuse(error)
            return False
        started = time.perf_counter()
        caller = self._house.gate.caller(asked, self.address)
        if caller is None:
            answer = answering.unauthorized()
        else:
            answer = answering.answer(self._house.catalogue, asked)
        last = not asked.keep_alive or self._house.stopping
        status, sent, why = self._sent(asked, answer, last=last)
        logs.say(
            "request",
            f"{asked.method} {answer.route} {status}",
            caller=caller or self.address,
            status=status,
            bytes=sent,
            seconds=round(time.perf_counter() - started, 4),
            **({"why": why} if why else {}),
        )
        return not (last or why)

    def _read_head(self) -> bytes | None:
        """The next head; None where the client has nothing more to ask.

        Raises:
            RequestError: it does not end in time, or within its bound.
        """
        self.idle = not self._unread
        deadline = time.monotonic() + (
            limits.KEEP_ALIVE_SECONDS if self.idle else limits.HEADER_SECONDS
        )
        most = limits.HEAD_BYTES + len(request.END)
        while (end := self._unread.find(request.END, 0, most)) < 0:
            if len(self._unread) >= most:
                raise RequestError(431, f"expected a head of at most {limits.HEAD_BYTES} bytes")
            received = self._received(deadline)
            if not received:
                return None
            if self.idle:
                self.idle, deadline = False, time.monotonic() + limits.HEADER_SECONDS
            self._unread += received
        head, self._unread = self._unread[:end], self._unread[end + len(request.END) :]
        return head

    def _received(self, deadline: float) -> bytes:
        """What comes next; nothing where the client is done, or idle for too long."""
        self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            return self._socket.recv(limits.HEAD_BYTES)
        except TimeoutError as error:
            if self.idle:
                return b""
            raise RequestError(408, "expected the headers sooner") from error

    def _refuse(self, error: RequestError) -> None:
        """Say why, and close; what else is in the pipe is not looked at."""
        allow = {"Allow": "GET, HEAD"} if error.status == HTTPStatus.METHOD_NOT_ALLOWED else {}
        answer = answering.failure(error.status, error.message, allow)
        self._socket.settimeout(limits.HEADER_SECONDS)
        self._socket.sendall(_head(answer, last=True) + _bytes(answer))
        logs.say("request", f"none none {error.status}", caller=self.address, status=error.status)
        self._linger()

    def _linger(self) -> None:
        """Read on for a moment: closed with bytes unread, a connection is reset, answer and all."""
        deadline = time.monotonic() + limits.LINGER_SECONDS
        with suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left)
                if not self._socket.recv(limits.HEAD_BYTES):
                    return

    def _sent(self, asked: Request, answer: Answer, *, last: bool) -> tuple[int, int, str]:
        """Send an answer: its status for the log, bytes of its body, and why it was broken off."""
        self._socket.settimeout(limits.PIECE_SECONDS)
        if not isinstance(answer.body, Part):
            body = b"" if asked.method == "HEAD" else answer.body
            self._socket.sendall(_head(answer, last=last) + body)
            return answer.status, len(body), ""
        try:
            with self._house.intact.open(answer.body.signed) as file:
                if asked.method == "HEAD":
                    self._socket.sendall(_head(answer, last=last))
                    return answer.status, 0, ""
                return self._sent_part(file, answer, answer.body, last=last)
        except AirgapError as error:  # before the first byte: `open` compares
            logs.warn("damaged", error.message)
            said = "this file is not served: the log of the mirror says why"
            return self._sent(asked, answering.failure(500, said), last=last)

    def _sent_part(
        self, file: OpenFile, answer: Answer, part: Part, *, last: bool
    ) -> tuple[int, int, str]:
        """Send a part of a file. Its end goes out only if the file has not changed until then."""
        head = _head(answer, last=last)
        middle = max(part.stop - limits.TAIL, part.start)
        try:
            if middle > part.start:
                self._socket.sendall(head)
                head = b""
                self._send_file(file.descriptor, part.start, middle)
            tail = _tail(file, middle, part.stop)
            self._socket.settimeout(limits.PIECE_SECONDS)
            self._socket.sendall(head + tail)
        except BrokenOffError as error:
            self._reset()
            return _CLIENT_CLOSED, 0, str(error)
        except OSError:
            return _CLIENT_CLOSED, 0, "the client went"
        return answer.status, answer.length, ""

    def _send_file(self, descriptor: int, start: int, stop: int) -> None:
        """Send bytes of a file. Raises BrokenOffError or OSError."""
        for first, end in _pieces(start, stop):
            if self._context is None:
                self._sendfile(descriptor, first, end)
            else:
                self._copy(descriptor, first, end)

    def _sendfile(self, descriptor: int, start: int, stop: int) -> None:
        """From the page cache to the socket, past this process."""
        deadline = time.monotonic() + limits.PIECE_SECONDS
        out = self._socket.fileno()
        writable = select.poll()
        writable.register(out, select.POLLOUT)
        while start < stop:
            try:
                sent = os.sendfile(out, descriptor, start, stop - start)
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0 or not writable.poll(left * 1000):
                    raise BrokenOffError("the client takes it too slowly") from None
                continue
            if sent == 0:
                raise BrokenOffError("the file became shorter")
            start += sent

    def _copy(self, descriptor: int, start: int, stop: int) -> None:
        """Through this process, which encrypts."""
        deadline = time.monotonic() + limits.PIECE_SECONDS
        while start < stop:
            piece = os.pread(descriptor, min(_COPIED, stop - start), start)
            if not piece:
                raise BrokenOffError("the file became shorter")
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                self._socket.sendall(piece)
            except TimeoutError as error:
                raise BrokenOffError("the client takes it too slowly") from error
            start += len(piece)

    def _reset(self) -> None:
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)


def _tail(file: OpenFile, start: int, stop: int) -> bytes:
    """The last bytes of an answer. Raises BrokenOffError where the file has changed until now."""
    tail = os.pread(file.descriptor, stop - start, start)
    if not file.unchanged or len(tail) != stop - start:
        raise BrokenOffError("the file changed while it was sent")
    return tail


def full() -> bytes:
    """What one client too many is told."""
    answer = answering.failure(503, "too many connections", {"Retry-After": "5"})
    return _head(answer, last=True) + _bytes(answer)


def _head(answer: Answer, *, last: bool) -> bytes:
    """Status line and headers."""
    headers = {
        **answer.headers,
        "X-Content-Type-Options": "nosniff",
        "Connection": "close" if last else "keep-alive",
    }
    if answer.status != HTTPStatus.NOT_MODIFIED:
        headers["Content-Length"] = str(answer.length)
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _bytes(answer: Answer) -> bytes:
    return answer.body if isinstance(answer.body, bytes) else b""


def _pieces(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The range, a deadline's worth at a time."""
    for first in range(start, stop, limits.PIECE):
        yield first, min(first + limits.PIECE, stop)
