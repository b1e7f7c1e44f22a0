"""Loopback servers that real clients speak to: a Hugging Face hub and a package index."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from airgap.console import console
from airgap.transfer import Patience
from bundler.download_cache import DownloadCache
from bundler.lock import Lock, LockedFile, LockedModel
from bundler.profile import Profile
from bundler.sources import Access
from bundler.sources.https import Https
from bundler.sources.huggingface import Hub, HuggingFace
from bundler.sources.local import Local
from bundler.sources.pypi import Index
from bundler.sources.s3 import ObjectStore
from bundler.sources.web import Web

COMMIT = "0123456789abcdef0123456789abcdef01234567"
IMPATIENT = Patience(tries=3, pause=0.01, connect=10.0, silence=2.0, window=1.5, least=1000)
"""On a loaded machine a sound server may be silent for a second."""

HASTY = replace(IMPATIENT, silence=0.5, window=0.3)
"""For servers that are silent, or nearly so."""
SECRET = "a-secret-of-the-test"
GOOD_TOKEN = "hf_a-token-of-the-test"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@dataclass
class Reply:
    """What a server sends, and how it fails.

    `declared` lies about the length, `measured` says whether there is one; `drop` closes the
    connection after so many bytes; `trickle` sends a byte every so many seconds; `ranged` says
    whether it answers a Range.
    """

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    declared: int | None = None
    measured: bool = True
    drop: int | None = None
    trickle: float | None = None
    ranged: bool = True


def ranged(reply: Reply, headers: Any) -> Reply:
    """The reply to a request with a Range, as RFC 9110 has it."""
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", headers.get("Range", ""))
    if not asked or reply.status != 200 or not reply.ranged:
        return reply
    if headers.get("If-Range", reply.headers.get("ETag")) != reply.headers.get("ETag"):
        return reply
    size = len(reply.body)
    start = int(asked[1]) if asked[1] else max(0, size - int(asked[2]))
    end = min(int(asked[2]) + 1, size) if asked[1] and asked[2] else size
    if start >= size:
        return replace(reply, status=416, body=b"")
    span = {"Content-Range": f"bytes {start}-{end - 1}/{size}"}
    body = reply.body[start:end]
    return replace(reply, status=206, body=body, headers={**reply.headers, **span})


def next_of(served: Any, otherwise: Reply) -> Reply:
    """The next reply of a script: a list is played once, its last one stays."""
    if isinstance(served, list):
        return served.pop(0) if len(served) > 1 else served[0]
    return served or otherwise


class Handler(BaseHTTPRequestHandler):
    """Answers one connection with what its LoopbackServer says."""

    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        self._reply(send_body=True)

    def do_HEAD(self) -> None:
        self._reply(send_body=False)

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client was killed, or had enough
            super().handle()

    def _reply(self, *, send_body: bool) -> None:
        outer = self.server.outer
        outer.asked.append((self.command, self.path))
        outer.headers.append({k.lower(): v for k, v in self.headers.items()})
        reply = outer.answer(self.command, unquote(urlsplit(self.path).path), self.headers)
        reply = ranged(reply, self.headers)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        length = len(reply.body) if reply.declared is None else reply.declared
        if reply.measured:
            self.send_header("Content-Length", str(length))
        if (reply.declared, reply.measured, reply.drop, reply.trickle) != (None, True, None, None):
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if send_body:
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        try:
            if reply.trickle is None:
                self.wfile.write(reply.body[: reply.drop])
                return
            for byte in reply.body:
                self.wfile.write(bytes([byte]))
                time.sleep(reply.trickle)
        except OSError:  # the client had enough
            self.close_connection = True

    def log_message(self, *_arguments: object) -> None:
        pass


class LoopbackServer:
    """A server on 127.0.0.1 that answers with what `answer` returns, and notes who asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.outer = self  # type: ignore[attr-defined]
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, method: str, path: str, headers: object) -> Reply:
        raise NotImplementedError

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass
class HubRepository:
    """A repository of the loopback hub. `served` overrides what a file's bytes are said to be."""

    files: dict[str, bytes]
    large: set[str] = field(default_factory=lambda: {"model.bin"})
    commit: str = COMMIT
    gated: str | bool = False
    licence: str | None = "mit"
    card: dict[str, str] = field(default_factory=dict)
    served: dict[str, Any] = field(default_factory=dict)


class LoopbackHub(LoopbackServer):
    """The part of the hub's protocol that resolving and downloading use."""

    def __init__(self) -> None:
        self.repositories: dict[str, HubRepository] = {}
        super().__init__()

    def answer(self, method: str, path: str, headers: object) -> Reply:
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            return self._describe("/".join(parts[2:4]), parts[4:])
        if len(parts) > 4 and parts[2] == "resolve":
            return self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), headers)
        return Reply(404)

    def _describe(self, name: str, rest: list[str]) -> Reply:
        repository = self.repositories.get(name)
        if repository is None:
            return Reply(404, headers={"X-Error-Code": "RepoNotFound"})
        if rest[:1] == ["revision"] and rest[1] not in {"main", "v1", repository.commit}:
            return Reply(404, headers={"X-Error-Code": "RevisionNotFound"})
        body = {
            "_id": "1",
            "id": name,
            "sha": repository.commit,
            "private": False,
            "gated": repository.gated,
            "tags": [],
            "cardData": ({"license": repository.licence} if repository.licence else {})
            | repository.card,
            "siblings": [self._listed(path, repository) for path in repository.files],
        }
        return Reply(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _listed(self, path: str, repository: HubRepository) -> dict[str, object]:
        content = repository.files[path]
        if path in repository.large:
            pointer = {"sha256": sha256(content), "size": len(content), "pointerSize": 130}
            return {"rfilename": path, "size": len(content), "blobId": "0" * 40, "lfs": pointer}
        return {"rfilename": path, "size": len(content), "blobId": git_blob(content)}

    def _file(self, name: str, revision: str, path: str, headers: object) -> Reply:
        repository = self.repositories.get(name)
        if repository is None or path not in repository.files:
            code = "RepoNotFound" if repository is None else "EntryNotFound"
            return Reply(404, headers={"X-Error-Code": code})
        if revision != repository.commit:
            return Reply(404, headers={"X-Error-Code": "RevisionNotFound"})
        if repository.gated and headers.get("Authorization") != f"Bearer {GOOD_TOKEN}":
            return Reply(401, headers={"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"})
        content = repository.files[path]
        reply = next_of(repository.served.get(path), Reply(200, content))
        described = {"ETag": f'"{sha256(content)}"', "X-Repo-Commit": repository.commit}
        return replace(reply, headers={**described, **reply.headers})


class LoopbackWeb(LoopbackServer):
    """A plain web server: files below /models/. `served` overrides what is answered.

    It is also as much of an object store as a bucket called `models` needs.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.served: dict[str, Any] = {}
        super().__init__()

    def answer(self, method: str, path: str, headers: object) -> Reply:
        name = path.removeprefix("/models/")
        if name not in self.files:
            return Reply(404)
        content = self.files[name]
        reply = next_of(self.served.get(name), Reply(200, content))
        return replace(reply, headers={"ETag": f'"{sha256(content)[:8]}"', **reply.headers})


class LoopbackIndex(LoopbackServer):
    """A package index in HTML (PEP 503) or JSON (PEP 691)."""

    def __init__(self) -> None:
        self.archives: dict[str, dict[str, bytes]] = {}
        self.digests: dict[str, str | None] = {}
        self.as_json = False
        self.served: dict[str, Reply] = {}
        super().__init__()

    def add(self, project: str, filename: str, content: bytes) -> None:
        self.archives.setdefault(project, {})[filename] = content
        self.digests[filename] = sha256(content)

    def downloads(self) -> list[str]:
        return [path.rpartition("/")[2] for _, path in self.asked if path.startswith("/files/")]

    def answer(self, method: str, path: str, headers: object) -> Reply:
        parts = path.strip("/").split("/")
        if parts[0] == "simple" and len(parts) == 2 and parts[1] in self.archives:
            return self._page(parts[1])
        if parts[0] == "files":
            return next_of(self.served.get(parts[2]), Reply(200, self.archives[parts[1]][parts[2]]))
        return Reply(404)

    def _page(self, project: str) -> Reply:
        if self.as_json:
            files = [
                {
                    "filename": name,
                    "url": f"/files/{project}/{name}",
                    "hashes": {"sha256": self.digests[name]} if self.digests[name] else {},
                    "size": len(content),
                }
                for name, content in self.archives[project].items()
            ]
            page = {"meta": {"api-version": "1.1"}, "name": project, "files": files, "versions": []}
            kind = "application/vnd.pypi.simple.v1+json"
            return Reply(200, json.dumps(page).encode(), {"Content-Type": kind})
        links = "".join(
            f'<a href="/files/{project}/{name}'
            + (f"#sha256={self.digests[name]}" if self.digests[name] else "")
            + f'">{name}</a>\n'
            for name in self.archives[project]
        )
        return Reply(
            200, f"<html><body>{links}</body></html>".encode(), {"Content-Type": "text/html"}
        )


def wheel(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def installable(
    release: str,
    requires: tuple[str, ...] = (),
    tag: str = "py3-none-any",
    files: dict[str, bytes] | None = None,
    **fields: str,
) -> tuple[str, bytes]:
    """The name and the bytes of a wheel that pip would install; `fields` go into METADATA."""
    name, _, version = release.partition("==")
    top = f"{name.replace('-', '_')}-{version}"
    lines = [f"{key.replace('_', '-')}: {value}" for key, value in fields.items()]
    lines += [f"Requires-Dist: {one}" for one in requires]
    head = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n"
    members = {
        **(files or {f"{name.replace('-', '_')}/__init__.py": b""}),
        f"{top}.dist-info/METADATA": (head + "".join(f"{one}\n" for one in lines)).encode(),
        f"{top}.dist-info/WHEEL": f"Wheel-Version: 1.0\nTag: {tag}\n".encode(),
    }
    members[f"{top}.dist-info/RECORD"] = record(members, f"{top}.dist-info/RECORD")
    return f"{top}-{tag}.whl", wheel(members)


def record(members: dict[str, bytes], itself: str) -> bytes:
    """RECORD of a wheel's members."""
    digests = {
        path: base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        for path, content in members.items()
    }
    lines = [f"{path},sha256={digest},{len(members[path])}\n" for path, digest in digests.items()]
    return "".join([*lines, f"{itself},,\n"]).encode()


def sdist(top: str, members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def quiet_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No variable, token or pip configuration of the developer's machine reaches a test."""
    for name in (
        "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "PIP_INDEX_URL",
        "SOURCE_DATE_EPOCH", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE",
        "AWS_CA_BUNDLE", "PIP_CERT", "S3_ENDPOINT", "MODEL_BUCKET", "HTTPS_PROXY",
        "HTTP_PROXY", "http_proxy", "https_proxy", "ALL_PROXY",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AIRGAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    yield
    console.configure()


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    server = LoopbackHub()
    yield server
    server.close()


@pytest.fixture
def index() -> Iterator[LoopbackIndex]:
    server = LoopbackIndex()
    yield server
    server.close()


@pytest.fixture
def web() -> Iterator[LoopbackWeb]:
    server = LoopbackWeb()
    yield server
    server.close()


@pytest.fixture
def access(hub: LoopbackHub, index: LoopbackIndex, web: LoopbackWeb, tmp_path: Path) -> Access:
    return Access(
        hub=Hub(hub.url),
        index=Index(f"{index.url}/simple/"),
        cache=DownloadCache.at(tmp_path / "cache"),
        folder=tmp_path,
        web=Web(IMPATIENT),
        objects=ObjectStore(web.url),
    )


WHISPER = {
    "config.json": b'{"a": 1}',
    "model.bin": bytes(range(256)) * 4096,
    "tokenizer.json": b'{"tokens": []}',
    "vocabulary.txt": b"a\nb\n",
    "README.md": b"# A model",
}


@pytest.fixture
def whisper(hub: LoopbackHub) -> HubRepository:
    """A Whisper model on the loopback hub, as `Systran/faster-whisper-tiny`."""
    repository = HubRepository(dict(WHISPER))
    hub.repositories["Systran/faster-whisper-tiny"] = repository
    return repository


def locked_files(files: dict[str, bytes]) -> tuple[LockedFile, ...]:
    return tuple(
        LockedFile(path, len(content), sha256(content)) for path, content in sorted(files.items())
    )


MakeLock = Callable[..., Lock]


@pytest.fixture
def make_lock() -> MakeLock:
    """A lock of one model with these files, from these sources."""

    def make(files: dict[str, bytes], *sources: object, repository: str = "o/m") -> Lock:
        model = LockedModel(
            id="m",
            role="vad",
            engine="nemo",
            repository=repository,
            commit=COMMIT,
            licence="MIT",
            gated=False,
            sources=sources or (HuggingFace(repository),),  # type: ignore[arg-type]
            files=locked_files(files),
        )
        return Lock("n", "1.0.0", 1, "2026-01-02T03:04:05Z", "0" * 64, (model,))

    return make


PROFILE = """\
profile: 1
name: n
description: A model
device: cpu
diarization: none
models:
- asr: o/m
"""
WARD = PROFILE.replace("name: n\n", "name: ward\n")


@pytest.fixture
def ward() -> Profile:
    """A profile of one model, which nothing here loads."""
    return Profile.parse(WARD.encode(), "ward.yaml")


@pytest.fixture
def ward_lock(tmp_path: Path, ward: Profile) -> MakeLock:
    """Version 1.NUMBER.0 of its lock, of these files, which lie in a local folder."""

    def lock(files: dict[str, bytes], number: int, **changes: Any) -> Lock:
        folder = tmp_path / f"model-{number}"
        folder.mkdir(exist_ok=True)
        for path, content in files.items():
            (folder / path).write_bytes(content)
        model = LockedModel(
            id="o--m",
            role="asr",
            engine="faster-whisper",
            repository="o/m",
            commit=COMMIT,
            licence="MIT",
            gated=False,
            sources=(Local(folder.name),),
            files=locked_files(files),
        )
        created = f"2026-01-0{number}T00:00:00Z"
        models = (replace(model, **changes),)
        return Lock("ward", f"1.{number}.0", number, created, ward.sha256, models)

    return lock


@dataclass(frozen=True)
class Kit:
    """What test files need of this one, which they cannot import."""

    COMMIT = COMMIT
    PROFILE = PROFILE
    WARD = WARD
    GOOD_TOKEN = GOOD_TOKEN
    WHISPER = WHISPER
    HubRepository = HubRepository
    Https = Https
    Reply = Reply
    IMPATIENT = IMPATIENT
    HASTY = HASTY
    SECRET = SECRET
    Local = Local
    sha256 = staticmethod(sha256)
    git_blob = staticmethod(git_blob)
    wheel = staticmethod(wheel)
    installable = staticmethod(installable)
    record = staticmethod(record)
    sdist = staticmethod(sdist)


@pytest.fixture
def kit() -> Kit:
    return Kit()


STUBS = (
    *("cryptography==48.0", "pyyaml==6.0.3", "rich==15.0", "typer==0.28.0", "zstandard==0.25.0"),
    *("av==18.1.0", "faster-whisper==1.2.1", "numpy==2.4.6"),
)
"""Releases that the extra `cpu` asks for, besides the one that is native."""


@pytest.fixture
def published(index: LoopbackIndex, whisper: HubRepository, kit: Kit) -> LoopbackIndex:
    """An index with a stub of everything that the extra `cpu` asks for."""

    def add(release: str, *requires: str, tag: str = "py3-none-any", **fields: str) -> None:
        name, content = kit.installable(release, requires, tag, **fields)
        index.add(release.partition("==")[0], name, content)

    for release in STUBS:
        add(release, License_Expression="MIT")
    for python in ("cp311", "cp312"):
        for platform in ("manylinux_2_28_x86_64", "manylinux_2_28_aarch64", "win_amd64"):
            add(
                "ctranslate2==4.8.5",
                "setuptools; python_version >= '3.12'",
                "x86-only==1.0; platform_machine == 'x86_64'",
                tag=f"{python}-{python}-{platform}",
                License="The MIT License",
            )
    add("setuptools==80.0")
    add("pip==26.3")  # which installs them
    add("x86-only==1.0")
    index.publish = add
    return index


def files_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def cached(tmp_path: Path) -> Callable[[], list[str]]:
    """Every file in the download cache but its lock, temporary ones too, by its name."""
    return lambda: sorted(
        name.rpartition("/")[2] for name in files_under(tmp_path / "cache") if name != "lock"
    )
