"""One file from a server into a sink, through whatever happens on the way.

A fault that may pass (a dropped connection, a timeout, a busy server, a stream that has nearly
stopped) is tried again, after a pause that doubles and has some chance in it, from the byte that
was reached. The tries are counted anew whenever real progress was made, so that a long file
survives many faults, and a server that only ever fails is given up soon.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from airgap.errors import AirgapError
from airgap.limits import KIB, MIB
from airgap.sink import Origin, Sink

PROGRESS: Final = MIB
"""Bytes after which a connection counts as a working one."""

RESTARTS: Final = 3
"""How often a server may prove to send other bytes than before, before it is given up."""

LONGEST_PAUSE: Final = 60.0
"""Seconds between two tries at most, whatever a server asks for."""

HEAD: Final = 4 * KIB
"""Bytes of a file that are looked at for a web page: comments and an XML prolog may stand first."""

_PAGE: Final = re.compile(
    # Atomic, or a server could have the ways to divide comments counted for ever.
    rb"(?>\s|\xef\xbb\xbf|<\?.*?\?>|<!--.*?-->)*+<(?:!doctype\s+html|html)\b",
    re.IGNORECASE | re.DOTALL,
)

_CHANCE: Final = secrets.SystemRandom()


class PassingError(AirgapError):
    """A fault that may pass: worth another try.

    Attributes:
        after: seconds that the server asks to wait; None where it does not say.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, after: float | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.after = after


@dataclass(frozen=True)
class Patience:
    """How long to wait for servers. Times in seconds.

    Attributes:
        tries: how often to try without progress in between.
        pause: before the second try; it doubles.
        connect: to connect.
        silence: between two reads.
        window, least: the fewest bytes that must come within a window; below, it has stopped.
    """

    tries: int = 5
    pause: float = 1.0
    connect: float = 10.0
    silence: float = 60.0
    window: float = 60.0
    least: int = 64 * 1024

    def before(self, attempt: int) -> float:
        """The pause before the try after `attempt` failed ones, half of it by chance."""
        longest: float = min(self.pause * 2 ** (attempt - 1), LONGEST_PAUSE)
        return longest * _CHANCE.uniform(0.5, 1.0)


@dataclass(frozen=True)
class Answer:
    """What a server began to send.

    Attributes:
        start: the byte that it begins with: the one asked for, or 0.
        size: of the whole file in bytes, as the server says; None where it does not.
        etag: its strong validator of this state; None without one.
        kind: its media type as the server says, without parameters; empty where it does not.
        chunks: the bytes from `start` on; raises PassingError where they break off.
    """

    start: int
    size: int | None
    etag: str | None
    kind: str
    chunks: Iterator[bytes]


Opener = Callable[[int, str | None], AbstractContextManager[Answer]]
"""Asks for a file from a byte on, of the state that an ETag names where there is one."""


def transfer(name: str, opened: Opener, sink: Sink, patience: Patience) -> None:
    """Pour a file into `sink`, from the sink's position to its end.

    Args:
        name: tells this file of this server from others; holds no secret.
        opened: asks the server.
        sink: takes the bytes.
        patience: how often and how long to try.

    Raises:
        WrongBytesError: the server sends more than there may be.
        OwnSideError: the builder's disk failed, or the work was stopped.
        AirgapError: the server refused, has another file, or failed once too often.
    """
    failed, begun = 0, sink.restarts
    while True:
        before = sink.position
        try:
            _pour(name, opened, sink, patience)
        except PassingError as error:
            failed = 1 if sink.position - before >= PROGRESS else failed + 1
            if failed >= patience.tries or sink.restarts - begun > RESTARTS:
                raise AirgapError(
                    f"{error.message} (tried {failed} times)", hint=error.hint
                ) from error
            pause = patience.before(failed) if error.after is None else error.after
            sink.stop.wait(min(pause, LONGEST_PAUSE))
            sink.check_going()
        else:
            return


def _pour(name: str, opened: Opener, sink: Sink, patience: Patience) -> None:
    """One connection's worth."""
    known = sink.origin
    etag = known.etag if known and known.name == name else None
    with opened(sink.position, etag) as answer:
        _check_size(answer, sink)
        chunks = _lively(answer.chunks, patience)
        if answer.start == 0:
            chunks = _from_the_beginning(chunks, answer, sink)
        elif answer.start != sink.position:
            raise AirgapError(f"asked for byte {sink.position}, it sends from byte {answer.start}")
        sink.origin = Origin(name, answer.etag)
        for chunk in chunks:
            sink.write(chunk)
    whole = answer.size if answer.size is not None else sink.size
    if whole is not None and sink.position < whole:
        raise PassingError(f"it broke off at byte {sink.position} of {whole}")


def _from_the_beginning(chunks: Iterator[bytes], answer: Answer, sink: Sink) -> Iterator[bytes]:
    """What is new in a file that a server sends whole, though part of it may be here."""
    if not sink.is_page:
        chunks = _no_page(chunks, answer, sink)
    return _behind_what_is_here(chunks, sink) if sink.position else chunks


def _no_page(chunks: Iterator[bytes], answer: Answer, sink: Sink) -> Iterator[bytes]:
    """The same, once the first bytes, in however small pieces they came, are none of a web page."""
    head = b""
    try:
        for chunk in chunks:
            head += chunk
            if len(head) >= HEAD:
                break
    finally:  # what came before a fault is kept, and then the fault goes on
        _refuse_page(head, answer, sink)
        yield head
    yield from chunks


def _behind_what_is_here(chunks: Iterator[bytes], sink: Sink) -> Iterator[bytes]:
    """Hash and drop as many bytes as are here, compare, and hand on the rest.

    A server that cannot resume may break off sooner than the last one did: what is here is given
    up only where the server proves to have other bytes.
    """
    seen, wanted = hashlib.sha256(), sink.position
    for chunk in chunks:
        if known := chunk[:wanted]:
            seen.update(known)
            wanted -= len(known)
            if not wanted and seen.hexdigest() != sink.digest:
                sink.restart()
                raise PassingError("it sends other bytes than those that are here: beginning anew")
        if rest := chunk[len(known) :]:
            yield rest


def _check_size(answer: Answer, sink: Sink) -> None:
    """Refuse the wrong file before it is downloaded."""
    if None not in (answer.size, sink.size) and answer.size != sink.size:
        raise AirgapError(f"expected {sink.size} bytes, it has {answer.size}")


def _refuse_page(head: bytes, answer: Answer, sink: Sink) -> None:
    """A login or error page sent in place of the file, with status 200."""
    # Some servers call everything a page that they do not know: such a file has its size, or NULs.
    unlikely = answer.size is not None and answer.size == sink.size
    is_called_page = answer.kind == "text/html" and not unlikely and b"\0" not in head[:HEAD]
    if is_called_page or _PAGE.match(head[:HEAD]):
        expected = "the file" if sink.size is None else f"{sink.size} bytes"
        raise AirgapError(
            f"expected {expected}, found a web page",
            hint="a proxy or a login stands in between: open the address in a browser",
        )


def _lively(chunks: Iterator[bytes], patience: Patience) -> Iterator[bytes]:
    """The same chunks; a stream that has nearly stopped is dropped, others may be quicker."""
    since, came = time.monotonic(), 0
    for chunk in chunks:
        yield chunk
        came += len(chunk)
        if came >= patience.least:
            since, came = time.monotonic(), 0
        elif time.monotonic() - since > patience.window:
            raise PassingError(f"it sent {came} bytes in {patience.window:.0f} seconds")
