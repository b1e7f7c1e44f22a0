"""The mirror at work: who is let in, what signals do, and what another mount does to it.

SIGTERM and SIGINT: nobody new is let in, answers are finished, then it ends; a second one ends
it at once. SIGHUP: the certificate and what is mounted are read again.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final

from airgap.accepted import clock
from airgap.console import human_size
from airgap.errors import AirgapError, UsageError
from airgap.parallel import in_order
from runtime import generation, standing
from runtime.folders import Folder
from runtime.generation import CURRENT, MOUNTS
from runtime.mirror import catalogue as catalogues
from runtime.mirror import connection, limits
from runtime.mirror.answering import Gate
from runtime.mirror.catalogue import Catalogue
from runtime.mirror.connection import Connection
from runtime.mirror.intact import Intact
from runtime.server import logs
from runtime.server.keys import Keys
from runtime.server.tls import Certificate

_STOPS: Final = (signal.SIGTERM, signal.SIGINT)


def compared(root: Path, bundles: tuple[str, ...], intact: Intact) -> Catalogue:
    """What is mounted, after every file of it was compared with its signed manifest.

    Args:
        root: the host's.
        bundles: their names; none for all that are mounted.
        intact: remembers what was compared.

    Raises:
        UsageError: nothing is mounted, or none of it is on the hub.
        DamagedError: a file is not what was signed.
        OutdatedError, UntrustedError: the host's policy stops what expired or was revoked.
    """
    with ExitStack() as open_until_read:
        names = bundles or tuple(generation.mounted(root)) or (None,)
        mounts = [open_until_read.enter_context(generation.current(root, name)) for name in names]
        for mounted in mounts:
            for warning in standing.warnings(mounted, root, clock()):
                logs.warn("standing", warning)
        found = catalogues.of_mounts(mounts)
    size = sum(file.size for file in found.files)
    logs.say("comparing", f"comparing {human_size(size)} with what was signed")
    for _compared in in_order(partial(intact.check, file) for file in found.files):
        pass
    intact.forget_all_but({file.sha256 for file in found.files})
    return found


class Running:
    """A mirror from its first connection to its last.

    Attributes:
        gate, intact: shared by all connections.
        catalogue: what is served now; exchanged whole.
        stopping: whether nobody new is let in.
    """

    def __init__(
        self,
        root: Folder,
        bundles: tuple[str, ...],
        listener: socket.socket,
        certificate: Certificate | None,
        keys: Keys,
    ) -> None:
        self._root, self._bundles = root.path, bundles
        self._listener, self._certificate = listener, certificate
        self.gate = Gate(keys)
        self.intact = Intact(root)
        self._tried = self._targets()  # before: what is mounted meanwhile is another
        self.catalogue = compared(self._root, bundles, self.intact)
        self.stopping = False
        self._signals: list[int] = []
        self._open: dict[Connection, threading.Thread] = {}
        self._exchange: threading.Thread | None = None

    def run(self) -> None:
        """Serve until told to stop."""
        self._tell("ready")
        with _waking(self._signals) as waking, selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(waking, selectors.EVENT_READ)
            self._listener.setblocking(False)
            looked = time.monotonic()
            while not self._told_to_stop():
                ready = [key.fileobj for key, _mask in selector.select(limits.POLL_SECONDS)]
                if self._listener in ready:
                    self._let_in()
                if waking in ready:
                    waking.recv(limits.KIB)
                if time.monotonic() - looked >= limits.POLL_SECONDS:
                    self._look()
                    looked = time.monotonic()
            self._drain()
        logs.say("stopped", "stopped")

    def _told_to_stop(self) -> bool:
        """Do what signals have asked for; whether one of them was to stop."""
        while self._signals:
            if self._signals.pop(0) != signal.SIGHUP:
                return True
            self._reload()
        return False

    def _let_in(self) -> None:
        """Give one who waits a thread, within the limits."""
        try:
            raw, (address, *_rest) = self._listener.accept()
        except BlockingIOError:  # gone again
            return
        except OSError as error:  # no descriptor is left
            logs.warn("accept", f"a client was not let in: {error.strerror}")
            time.sleep(limits.BACKLOG_SECONDS)
            return
        self._open = {one: thread for one, thread in self._open.items() if thread.is_alive()}
        held = Counter(one.address for one in self._open)
        if held.total() >= limits.CONNECTIONS or held[address] >= limits.PER_ADDRESS:
            self._turn_away(raw)
            return
        context = self._certificate.context if self._certificate else None
        one = Connection(self, raw, address, context)
        thread = threading.Thread(target=one.run, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the host has no thread left
            logs.warn("accept", f"a client was not let in: {error}")
            self._turn_away(raw)
            return
        self._open[one] = thread

    def _turn_away(self, raw: socket.socket) -> None:
        """Say so where that needs no waiting: not through TLS, which would."""
        with raw, suppress(OSError):
            raw.setblocking(False)
            if self._certificate is None:
                raw.send(connection.full())

    def _reload(self) -> None:
        if self._certificate is not None:
            try:
                self._certificate.reload()
                logs.say("certificate", "the certificate was read again")
            except UsageError as error:
                logs.warn("certificate", f"the old certificate stays: {error.message}")
        self._tried = {}
        self._look()

    def _look(self) -> None:
        """Exchange the catalogue where another generation is mounted; a failure is tried once."""
        if self._exchange is not None and self._exchange.is_alive():
            return
        targets = self._targets()
        if targets != self._tried:
            self._tried = targets
            self._exchange = threading.Thread(target=self._exchanged, daemon=True)
            self._exchange.start()

    def _targets(self) -> dict[str, str]:
        """Where `current` of every bundle that is served, or could be, points."""
        targets = {}
        for name in self._bundles or generation.mounted(self._root):
            link = self._root / MOUNTS / name / CURRENT
            with suppress(OSError):  # unmounted: what is served stays
                targets[name] = os.readlink(link)  # noqa: PTH115 - compared as text
        return targets

    def _exchanged(self) -> None:
        """Compare what is mounted now, beside what is served, and serve it; or stay."""
        try:
            found = compared(self._root, self._bundles, self.intact)
        except AirgapError as error:
            logs.warn("reload", f"staying with what is served: {error.message}")
            return
        if found.generations != self.catalogue.generations:
            self.catalogue = found
            self._tell("exchanged")

    def _tell(self, event: str) -> None:
        found = self.catalogue
        logs.say(
            event,
            f"serving {', '.join(sorted(found.revisions))}",
            generations=dict(found.generations),
            files=len(found.files),
            bytes=sum(file.size for file in found.files),
            left_out=list(found.left_out),
        )

    def _drain(self) -> None:
        """Let in nobody, finish what is being answered, and break off what takes too long."""
        self.stopping = True
        self._listener.close()
        deadline = time.monotonic() + limits.DRAIN_SECONDS
        while self._answering() and time.monotonic() < deadline and not self._signals:
            time.sleep(limits.BACKLOG_SECONDS)
        left = self._answering()
        if left:
            logs.warn("stopping", f"{left} answers are broken off")
        for one in self._open:
            one.end(socket.SHUT_RDWR)

    def _answering(self) -> int:
        """Clients that are being answered; the others are told to go."""
        self._open = {one: thread for one, thread in self._open.items() if thread.is_alive()}
        for one in self._open:
            if one.idle:
                one.end(socket.SHUT_RD)
        return len(self._open)


@contextmanager
def _waking(signals: list[int]) -> Iterator[socket.socket]:
    """Collect signals, and make a socket readable at each."""
    waking, written = socket.socketpair()
    for end in (waking, written):
        end.setblocking(False)

    def note(number: int, _frame: FrameType | None) -> None:
        signals.append(number)

    with waking, written:
        before = {number: signal.signal(number, note) for number in (*_STOPS, signal.SIGHUP)}
        old = signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
        try:
            yield waking
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in before.items():
                signal.signal(number, handler)
