"""The site's own stores, on loopback: moto's S3, Debian's registry, and a line that can be cut.

Everything is spoken to by the real command through the real clients; the line stands between and
does to the bytes what a test tells it to.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from airgap import papers, signed_papers, volumes
from airgap.archive import open_bundle, read_head
from airgap.files import write_whole
from airgap.statement import Statement
from airgap.transfer import Patience
from runtime.site import blobs, reaching, upload

MIB = 1 << 20
BUCKET = "whisper-models"
REVIEW = b"<!doctype html><title>What is inside</title>\n"


@dataclass
class Line:
    """A reverse proxy to a store: counts what passes, and spoils it on request.

    Attributes:
        seen: method, path and Range of each request.
        sent: bytes of bodies that came back through it.
        spoil: told method, path and body of each answer; gives another body, or None to cut the
            line in its middle: before its head, where an answer has no body. Headers stay.
        lied: headers that every answer to a manifest gets instead; None leaves one out.
        refuse: told method and path; a status to answer with instead of asking the store.
        drop: told method and body of each request; gives the body that the store gets.
        token: what a Bearer must be; None asks for none. `/token` gives it to `user`.
        user: the value of Authorization that gets a token.
    """

    port: int
    upstream: tuple[str, int]
    seen: list[tuple[str, str, str | None]] = field(default_factory=list)
    sent: int = 0
    spoil: Callable[[str, str, bytes], bytes | None] = lambda _method, _path, body: body
    lied: dict[str, str | None] = field(default_factory=dict)
    refuse: Callable[[str, str], int | None] = lambda _method, _path: None
    drop: Callable[[str, bytes | None], bytes | None] = lambda _method, body: body
    token: str | None = None
    user: str = ""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def asked(self, method: str, part: str = "") -> list[tuple[str, str, str | None]]:
        return [one for one in self.seen if one[0] == method and part in one[1]]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: else each answer waits for an acknowledgement
    line: Line

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        pass

    def _pass_on(self) -> None:
        line, method = self.line, self.command
        line.seen.append((method, self.path, self.headers.get("Range")))
        body = line.drop(method, self._body())
        if line.token is not None and self._asks_for_token():
            return
        if status := line.refuse(method, self.path):
            self._answer(status, [("Content-Length", "0")], b"")
            return
        connection = HTTPConnection(*line.upstream, timeout=30)
        dropped = {"Expect", "Authorization"} if line.token else {"Expect"}
        headers = {name: value for name, value in self.headers.items() if name not in dropped}
        if body is not None:
            headers["Content-Length"] = str(len(body))
        connection.request(method, self.path, body, headers)
        reply = connection.getresponse()
        content = reply.read()
        given = line.spoil(method, self.path, content)
        lied = line.lied if "/manifests/" in self.path else {}
        told = [(name, lied.get(name, value)) for name, value in reply.getheaders()]
        hops = {"transfer-encoding", "connection", "content-length"}
        kept = [(name, value) for name, value in told if value and name.lower() not in hops]
        length = str(len(content if given is None else given))
        if method == "HEAD":
            length = reply.getheader("Content-Length", "0")
        kept.append(("Content-Length", length))
        connection.close()
        if given is None:
            if content or method == "HEAD":
                self._answer(reply.status, kept, content[: len(content) // 2])
                self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self._answer(reply.status, kept, b"" if method == "HEAD" else given)

    def _asks_for_token(self) -> bool:
        """Speak Docker's token authentication for the store; whether the request was answered."""
        line, given = self.line, self.headers.get("Authorization", "")
        if self.path.startswith("/token"):
            good = given == line.user
            content = json.dumps({"token": line.token}).encode() if good else b"{}"
            length = ("Content-Length", str(len(content)))
            self._answer(200 if good else 401, [length], content)
            return True
        if given == f"Bearer {line.token}":
            return False
        challenge = f'Bearer realm="http://{line.host}/token",service="site",scope="push,pull"'
        self._answer(401, [("WWW-Authenticate", challenge), ("Content-Length", "0")], b"")
        return True

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length")
        if self.headers.get("Expect") == "100-continue":
            self.send_response_only(100)
            self.end_headers()
            self.wfile.flush()
        return self.rfile.read(int(length)) if length else None

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.line.sent += len(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _pass_on  # noqa: N815 - http.server's


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what is a defect; a client that reads a head alone and goes is none."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@pytest.fixture
def line_to() -> Iterator[Callable[[str, int], Line]]:
    """Makes lines to stores."""
    servers = []

    def make(host: str, port: int) -> Line:
        handler = type("Handler", (_Handler,), {})
        server = _Server(("127.0.0.1", 0), handler)
        line = Line(server.server_address[1], (host, port))
        handler.line = line  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return line

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Short pauses, small parts, and no credentials of whoever runs the suite."""
    monkeypatch.setattr(reaching, "PATIENCE", Patience(tries=3, pause=0.01, silence=10))
    monkeypatch.setattr(upload, "PART", 5 * MIB)
    monkeypatch.setattr(blobs, "PIECE", MIB)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "site-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-that-no-message-shows")
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "AWS_PROFILE", "MODEL_BUCKET"):
        monkeypatch.delenv(name, raising=False)


@dataclass(frozen=True)
class S3Site:
    """An object store behind a line, reached by the seed's variables."""

    line: Line
    client: Any

    def listed(self) -> list[str]:
        listed = self.client.list_objects_v2(Bucket=BUCKET)
        return sorted(one["Key"] for one in listed.get("Contents", ()))

    def read(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return content

    def swap(self, key: str, content: bytes, **extra: Any) -> None:
        """Put other bytes under a name, as whoever runs the store can."""
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content, **extra)


@pytest.fixture(scope="session")
def moto() -> Iterator[tuple[str, int]]:
    """moto's server; it keeps what it holds for the whole process."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield server.get_host_and_port()
    server.stop()


@pytest.fixture
def s3_site(
    moto: tuple[str, int],
    line_to: Callable[[str, int], Line],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[S3Site]:
    host, port = moto
    connection = HTTPConnection(host, port)
    connection.request("POST", "/moto-api/reset")
    assert connection.getresponse().status == 200
    connection.close()
    line = line_to(host, port)
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    monkeypatch.setenv("S3_ENDPOINT", f"http://{line.host}")
    yield S3Site(line, client)
    client.close()


CONFIG = """
version: 0.1
log: {{level: info, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/blobs}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:0"{tls}}}
{auth}
"""
LISTENING = re.compile(r"listening on (127\.0\.0\.1:[0-9]+)\b")


@pytest.fixture
def registry_of(foreign: Callable[[str], str], tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Starts Debian's registry, on a port that it chooses and logs; returns its host and port."""
    program = foreign("docker-registry")
    started = []

    def start(name: str = "registry", auth: str = "", tls: str = "") -> str:
        folder = tmp_path / name
        folder.mkdir()
        config, log = folder / "config.yml", folder / "log"
        config.write_text(CONFIG.format(folder=folder, auth=auth, tls=tls))
        with log.open("wb") as output:
            process = subprocess.Popen(
                [program, "serve", config], stdout=output, stderr=output, env={"PATH": "/usr/bin"}
            )
        started.append(process)
        while process.poll() is None:
            if found := LISTENING.search(log.read_text()):
                return found[1]
            time.sleep(0.05)
        pytest.fail(log.read_text())

    yield start
    for process in started:
        process.terminate()
        process.wait(10)


@pytest.fixture
def registry(registry_of: Callable[..., str]) -> str:
    return registry_of()


@pytest.fixture
def line(registry: str, line_to: Callable[[str, int], Line]) -> Line:
    """A line to the registry."""
    host, port = registry.split(":")
    return line_to(host, int(port))


@pytest.fixture
def shipment(
    write: Callable[..., Path], contents: Mapping[str, bytes], tmp_path: Path, alice: Any
) -> Path:
    """The bundle in a folder of its title, with papers as a build and `airgap sign` make them."""
    folder = tmp_path / "outbox" / "ward-1.0.0"
    folder.mkdir(parents=True)
    path = folder / "ward-1.0.0.tar.zst"
    write(contents={**contents, "REVIEW.html": REVIEW}).rename(path)
    with volumes.opened(path) as source:
        envelope = read_head(source)
        opened = open_bundle(source, envelope, Statement.parse(envelope.statement))
        made = signed_papers.make(folder, envelope.statement, opened.manifest, alice.keys)
        write_whole(folder / "manifest.json", opened.manifest.to_bytes())
        write_whole(folder / "REVIEW.html", REVIEW)
    papers.write(path, {key.public.key_id: "alice" for key in alice.keys}, made)
    return folder
