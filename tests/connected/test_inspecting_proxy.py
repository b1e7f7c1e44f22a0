"""Every source through a proxy that inspects TLS, by the real command, with `--ca-bundle`.

The proxy answers CONNECT for hosts that exist nowhere, shows a certificate of its own authority for
each, and hands what it reads to the loopback servers.
"""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bundler.lock import Lock, LockedFile, LockedModel
from bundler.profile import Profile
from bundler.sources import Source
from bundler.sources.https import Https
from bundler.sources.huggingface import HuggingFace
from bundler.sources.pypi import Pypi
from bundler.sources.s3 import S3

HOSTS = ("hub.test", "web.test", "index.test", "s3.test")


class Authority:
    """Issues certificates, as the proxy's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "The site's proxy")])
        certificate = self._signed(self._name, self._key, x509.BasicConstraints(True, None), None)
        self.bundle = folder / "site.pem"
        self.bundle.write_bytes(certificate)

    def _signed(
        self, name: x509.Name, key: Any, constraints: x509.BasicConstraints, host: str | None
    ) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder(self._name, name, key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(constraints, critical=True)
        )
        if host:
            names = x509.SubjectAlternativeName([x509.DNSName(host)])
            builder = builder.add_extension(names, critical=False)
        made = builder.sign(self._key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM)

    def context_for(self, host: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        path = self._folder / f"{host}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path.write_bytes(
            private + self._signed(name, key, x509.BasicConstraints(False, None), host)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


class InspectingProxy:
    """Ends TLS for each host, notes who was asked for, and relays what it reads in the clear."""

    def __init__(self, authority: Authority, behind: Mapping[str, str]) -> None:
        self._contexts = {host: authority.context_for(host) for host in behind}
        self._behind = behind
        self.connected: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                host = self._host(client)
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                with self._contexts[host].wrap_socket(client, server_side=True) as plain:
                    self._relay(plain, host)
            except OSError:  # a client that does not trust us hangs up
                return

    def _host(self, client: socket.socket) -> str:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        host = head.split()[1].partition(b":")[0].decode()
        self.connected.append(host)
        return host

    def _relay(self, plain: ssl.SSLSocket, host: str) -> None:
        port = int(self._behind[host].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as server:
            back = threading.Thread(target=_pump, args=(server, plain), daemon=True)
            back.start()
            _pump(plain, server)
            back.join(5)


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
    except OSError:  # one of the two has gone
        return


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def proxy(authority: Authority, hub: Any, web: Any, index: Any) -> Iterator[InspectingProxy]:
    behind = {"hub.test": hub.url, "web.test": web.url, "index.test": index.url, "s3.test": web.url}
    server = InspectingProxy(authority, behind)
    yield server
    server.close()


CONTENT = b"weights" * 100_000

SOURCES: dict[str, Source] = {
    "hub.test": HuggingFace("o/m"),
    "web.test": Https("https://web.test/models"),
    "index.test": Pypi("tiny==1.0", "data"),
    "s3.test": S3("o", "models"),
}


@pytest.fixture
def profile(tmp_path: Path, hub: Any, web: Any, index: Any, kit: Any) -> Path:
    hub.repositories["o/m"] = kit.HubRepository({"model.bin": CONTENT})
    web.files |= {"model.bin": CONTENT, "o/model.bin": CONTENT}
    index.add("tiny", "tiny-1.0-py3-none-any.whl", kit.wheel({"data/model.bin": CONTENT}))
    (tmp_path / "n.yaml").write_text(kit.PROFILE)
    return tmp_path / "n.yaml"


def lock_for(profile: Path, source: Source, kit: Any) -> None:
    wanted = Profile.parse(profile.read_bytes(), "n.yaml")
    file = LockedFile("model.bin", len(CONTENT), kit.sha256(CONTENT))
    model = LockedModel("m", "asr", None, "o/m", kit.COMMIT, "MIT", False, (source,), (file,))
    lock = Lock("n", "1.0.0", 1, "2026-01-02T03:04:05Z", wanted.sha256, (model,))
    profile.with_name("n.lock.yaml").write_bytes(lock.to_bytes())


def fetch(profile: Path, proxy: InspectingProxy, *words: object, **variables: str) -> Any:
    environment = {
        **{name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
        "HTTPS_PROXY": proxy.url,
        "HF_ENDPOINT": "https://hub.test",
        "PIP_INDEX_URL": "https://index.test/simple/",
        "S3_ENDPOINT": "https://s3.test",
        **variables,
    }
    return subprocess.run(
        [sys.executable, "-m", "airgap", "fetch", str(profile), *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.heavy
@pytest.mark.parametrize("host", HOSTS)
def test_every_source_comes_through_with_the_sites_authorities(
    *, host: str, profile: Path, proxy: InspectingProxy, authority: Authority, kit: Any,
    tmp_path: Path,
) -> None:  # fmt: skip
    lock_for(profile, SOURCES[host], kit)
    done = fetch(profile, proxy, "--ca-bundle", authority.bundle)
    assert done.returncode == 0, done.stderr
    assert set(proxy.connected) == {host}
    digest = kit.sha256(CONTENT)
    assert (tmp_path / "cache" / "sha256" / digest[:2] / digest).read_bytes() == CONTENT


@pytest.mark.heavy
@pytest.mark.parametrize("host", HOSTS)
def test_without_them_every_source_is_refused_and_the_option_is_named(
    *, host: str, profile: Path, proxy: InspectingProxy, kit: Any, tmp_path: Path
) -> None:
    lock_for(profile, SOURCES[host], kit)
    done = fetch(profile, proxy)
    assert done.returncode == 1
    assert "--ca-bundle FILE" in done.stderr
    assert not (tmp_path / "cache" / "sha256").exists()


@pytest.mark.heavy
@pytest.mark.parametrize(
    "variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "PIP_CERT"]
)
def test_one_variable_is_enough_for_all(
    *, variable: str, profile: Path, proxy: InspectingProxy, authority: Authority, kit: Any
) -> None:
    lock_for(profile, SOURCES["index.test"], kit)
    done = fetch(profile, proxy, **{variable: str(authority.bundle)})
    assert done.returncode == 0, done.stderr


@pytest.mark.heavy
def test_a_lock_is_made_through_it(
    profile: Path, proxy: InspectingProxy, authority: Authority, hub: Any, kit: Any
) -> None:
    hub.repositories["o/m"] = kit.HubRepository(dict(kit.WHISPER))
    environment = {**os.environ, "HTTPS_PROXY": proxy.url, "HF_ENDPOINT": "https://hub.test"}
    words = ("lock", profile, "--ca-bundle", authority.bundle)
    done = subprocess.run(
        [sys.executable, "-m", "airgap", *map(str, words)],
        env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(proxy.connected) == {"hub.test"}


def test_a_file_without_certificates_is_refused_before_anything_is_asked(
    profile: Path, proxy: InspectingProxy, kit: Any, tmp_path: Path
) -> None:
    lock_for(profile, SOURCES["web.test"], kit)
    (tmp_path / "empty.pem").write_text("nothing")
    done = fetch(profile, proxy, "--ca-bundle", tmp_path / "empty.pem")
    assert done.returncode == 2
    assert "empty.pem' holds no certificates" in done.stderr
    assert proxy.connected == []
