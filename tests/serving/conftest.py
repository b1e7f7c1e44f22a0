"""Fixtures of the serving side: one engine, loaded once; the real server on a real mount."""

import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.engine.audio import Samples, read_recording
from runtime.engine.hardware import Hardware, find_hardware
from runtime.engine.whisper import WhisperEngine


@pytest.fixture(scope="session")
def cpu() -> Hardware:
    return find_hardware("cpu")


@pytest.fixture(scope="session")
def tiny_engine(whisper_tiny_en: Path, cpu: Hardware) -> WhisperEngine:
    return WhisperEngine.from_folder("tiny.en", whisper_tiny_en, cpu)


@pytest.fixture(scope="session")
def speech(jfk: Path) -> Samples:
    return read_recording(jfk).samples


@pytest.fixture(scope="session")
def tone() -> Samples:
    """Two seconds of 440 Hz, which every codec keeps."""
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)).astype(np.float32)


@dataclass(frozen=True)
class Site:
    """A machine with a bundle mounted."""

    place: Any

    def serve(
        self,
        *options: str | Path,
        program: Sequence[str] = ("-m", "airgap"),
        verb: str = "serve",
        **environment: str,
    ) -> "Server":
        """Start the real command on a free port, and wait until it listens.

        `program` is what Python runs instead, to inject a fault into that process.
        """
        log = self.place.folder / f"{verb}-{secrets.token_hex(4)}.log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, *program, verb, "--port", "0", *map(str, options)],
                cwd=self.place.folder,
                env={**self.place.environment(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        server = Server(process, log)
        server.wait_for(lambda: server.said("listening"))
        return server


@dataclass(frozen=True)
class Server:
    """A running `airgap serve`, or `airgap mirror`."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Its log so far; a line that is still being written is left out."""
        whole = self.log.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def said(self, event: str) -> list[dict[str, Any]]:
        """The lines of an event."""
        return [line for line in self.lines if line["event"] == event]

    @property
    def url(self) -> str:
        """Where it listens."""
        return str(self.said("listening")[0]["message"].rpartition(" ")[2])

    def wait_for(self, condition: Callable[[], Any], seconds: float = 300) -> None:
        """Wait until something is so; fail with the log where the server ends before."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def wait_until_ready(self) -> "Server":
        """Wait for the first inference."""
        self.wait_for(lambda: self.said("ready"))
        return self

    def stop(self) -> int:
        """End it, if it has not ended; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@pytest.fixture(scope="session")
def site(demo_site: Any, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The demo bundle, trusted and mounted by the real command. Do not change its mount."""
    return _mounted(demo_site, tmp_path_factory.mktemp("site"))


@pytest.fixture
def own_site(demo_site: Any, tmp_path: Path) -> Site:
    """The same, for a test to change."""
    return _mounted(demo_site, tmp_path)


@pytest.fixture(scope="session")
def multilingual_site(base_site: Any, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Whisper base, mounted likewise. Do not change its mount."""
    return _mounted(base_site, tmp_path_factory.mktemp("multilingual"))


def _mounted(builder: Any, folder: Path) -> Site:
    place = replace(builder.place, folder=folder)
    shutil.copytree(builder.place.keys, place.keys)
    place.trust("alice", builder.fingerprint)
    mounted = place.airgap("mount", builder.bundle)
    assert mounted.code == 0, mounted.err
    return Site(place)


@pytest.fixture(scope="session")
def speaking_server(speaking_site: Any) -> Iterator[Server]:
    """A server of a bundle with diarization, by a script; for tests that leave it as it is."""
    running = serve_speaking(speaking_site)
    yield running
    assert running.stop() == 0, running.log.read_text()


@pytest.fixture
def serve_speaking_with(speaking_site: Any) -> Iterator[Callable[..., Server]]:
    """Starts such servers with options and faults, and ends them."""
    started: list[Server] = []

    def start(*options: str | Path, **environment: str) -> Server:
        started.append(serve_speaking(speaking_site, *options, **environment))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def serve_speaking(speaking: Any, *options: str | Path, **environment: str) -> Server:
    chosen = ("--bundle", "speaking", *options)
    return (
        Site(speaking.place)
        .serve(*chosen, program=speaking.program, **environment)
        .wait_until_ready()
    )


@pytest.fixture
def serve(own_site: Site) -> Iterator[Callable[..., Server]]:
    """Starts servers on a machine of the test's own, and ends them."""
    started: list[Server] = []

    def start(*options: str | Path, **environment: str) -> Server:
        started.append(own_site.serve(*options, **environment))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def server(site: Site) -> Iterator[Server]:
    """One server for tests that leave it as it is."""
    running = site.serve().wait_until_ready()
    yield running
    assert running.stop() == 0, running.log.read_text()


@pytest.fixture
def start_mirror(own_site: Site) -> Iterator[Callable[..., Server]]:
    """Starts mirrors of a machine of the test's own, and ends them."""
    started: list[Server] = []

    def start(*options: str | Path, **given: Any) -> Server:
        started.append(own_site.serve(*options, verb="mirror", **given).wait_until_ready())
        return started[-1]

    yield start
    for mirror in started:
        mirror.stop()


@pytest.fixture(scope="session")
def mirror(site: Site) -> Iterator[Server]:
    """One mirror for tests that leave it as it is."""
    running = site.serve(verb="mirror").wait_until_ready()
    yield running
    assert running.stop() == 0, running.log.read_text()


@dataclass(frozen=True)
class Wire:
    """A plain connection to a server, for what no client would send."""

    port: int

    def say(self, request: bytes, *more: bytes) -> bytes:
        """Send, and read until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as wire:
            for piece in (request, *more):
                wire.sendall(piece)
            wire.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: wire.recv(1 << 16), b""))

    def get(
        self, path: str, *headers: str, method: str = "GET"
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case and body of one request, on a connection of its own."""
        lines = [f"{method} {path} HTTP/1.1", "Host: mirror", "Connection: close", *headers, "", ""]
        head, _end, body = self.say("\r\n".join(lines).encode()).partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        named = (line.split(": ", 1) for line in rest)
        return int(first.split()[1]), {name.lower(): value for name, value in named}, body


@pytest.fixture(scope="session")
def wire(mirror: Server) -> Wire:
    """A plain connection to `mirror`."""
    return wire_to(mirror)


def wire_to(server: Server) -> Wire:
    """A plain connection to any server."""
    return Wire(int(server.url.rpartition(":")[2]))


@pytest.fixture(scope="session", name="wire_to")
def wire_to_fixture() -> Callable[[Server], Wire]:
    return wire_to


@pytest.fixture(scope="session")
def long_speech(speech: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kennedy's sentence three times: more than an engine hears at once."""
    path = tmp_path_factory.mktemp("speech") / "thrice.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((np.tile(speech, 3) * 32767).astype("<i2").tobytes())
    return path


@pytest.fixture(scope="module")
def browser(foreign: Callable[[str], str], jfk: Path) -> Iterator[Any]:
    """Chromium without a screen, whose microphone hears Kennedy; `ward.test` is this host.

    Ended with its module: while it runs, this thread has a running event loop.
    """
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - half a second

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=foreign("chromium"),
            args=[
                "--host-resolver-rules=MAP ward.test 127.0.0.1",
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-audio-capture={jfk}",
            ],
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def axe() -> Callable[[Any], list[str]]:
    """What axe-core finds wrong with a page, each with the element."""
    source = Path(str(resources.files("axe_playwright_python") / "axe.min.js")).read_text()

    def found(tab: Any) -> list[str]:
        tab.evaluate(source)
        result = tab.evaluate("axe.run({ resultTypes: ['violations'] })")
        return [
            f"{one['id']}: {node['html']} {node['failureSummary']}"
            for one in result["violations"]
            for node in one["nodes"]
        ]

    return found
