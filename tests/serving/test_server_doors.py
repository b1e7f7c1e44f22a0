"""Who gets in, and how much: keys, TLS, limits, slow clients, the spool."""

import contextlib
import io
import json
import os
import socket
import ssl
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
import trustme

pytestmark = pytest.mark.heavy


def ask(
    url: str, key: str | None = None, context: ssl.SSLContext | None = None
) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def send(server: Any, content: bytes) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=60)
    connection.sendall(content)
    return connection


def answer_of(connection: socket.socket) -> bytes:
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


POST = b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
FORM = b"Content-Type: multipart/form-data; boundary=x\r\n"


def form(content: bytes) -> bytes:
    return (
        b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        + content
        + b"\r\n--x--\r\n"
    )


def upload(content: bytes) -> bytes:
    body = form(content)
    return POST + FORM + b"Content-Length: %d\r\n\r\n" % len(body) + body


def wav(*, seconds: int) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(b"\x80" * (8000 * seconds))
    return buffer.getvalue()


# --- keys ------------------------------------------------------------------------------------


def test_keys_of_a_file_and_of_the_environment(
    own_site: Any, serve: Callable[..., Any], jfk: Path
) -> None:
    key = own_site.place.airgap("apikey", "add", "ward-7").out.strip()
    server = serve(API_KEYS="given-by-the-environment").wait_until_ready()
    for wrong in (None, "", "wrong", key[:-1], key + "x"):
        status, body = ask(f"{server.url}/v1/models", wrong)
        assert status == 401
        assert json.loads(body)["error"]["code"] == "invalid_api_key"
    for path in ("/v1/inventory", "/metrics", "/v1/nothing"):
        assert ask(f"{server.url}{path}")[0] == 401
    for path in ("/health", "/ready", "/docs", "/openapi.json"):
        assert ask(f"{server.url}{path}")[0] == 200
    assert ask(f"{server.url}/v1/models", "given-by-the-environment")[0] == 200

    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key) as client:
        assert "country" in client.audio.transcriptions.create(file=jfk, model="whisper-1").text
    server.wait_for(lambda: server.said("request")[-1]["caller"] == "ward-7")  # after the answer
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.audio.transcriptions.create(file=jfk, model="whisper-1")

    assert own_site.place.airgap("apikey", "revoke", "ward-7").code == 0
    assert ask(f"{server.url}/v1/models", key)[0] == 401
    log = server.log.read_text()
    assert key not in log
    assert "given-by-the-environment" not in log


def test_beyond_loopback_needs_keys(own_site: Any) -> None:
    refused = own_site.place.airgap("serve", "--host", "0.0.0.0", "--port", "0")  # noqa: S104
    assert refused.code == 2
    assert "can be reached from other hosts, and there is no API key" in refused.err
    assert "airgap apikey add NAME; or --allow-anonymous" in refused.err


def test_beyond_loopback_with_the_operators_word(serve: Callable[..., Any]) -> None:
    server = serve("--host", "0.0.0.0", "--allow-anonymous")  # noqa: S104
    text = server.log.read_text()
    assert "warning: --allow-anonymous: whoever reaches http://0.0.0.0:" in text
    assert "travel in the clear" in text


def test_what_cannot_be_served_is_refused_before_anything_is_bound(
    own_site: Any, fresh_place: Callable[[], Any], tmp_path: Path
) -> None:
    for machine, options, message in (
        (fresh_place(), (), "expected one bundle mounted in"),
        (own_site.place, ("--model", "large-v3"), "expected 'large-v3' of the role asr"),
        (own_site.place, ("--bundle", "ward"), "expected 'ward' mounted in"),
        (own_site.place, ("--host", "192.0.2.1"), "cannot listen on 192.0.2.1"),
        (own_site.place, ("--tls-cert", "x.pem"), "--tls-cert and --tls-key go together"),
        (
            own_site.place,
            ("--tls-cert", tmp_path / "x.pem", "--tls-key", tmp_path / "y.pem"),
            "are not a certificate and its key: No such file",
        ),
    ):
        refused = machine.airgap("serve", "--port", "0", *options)
        assert refused.code in {1, 2}, refused.err
        assert message in refused.err
        assert "listening" not in refused.err


def test_model_size_picks_the_model(own_site: Any, serve: Callable[..., Any]) -> None:
    assert serve(MODEL_SIZE="tiny.en").wait_until_ready()
    refused = subprocess.run(
        [sys.executable, "-m", "airgap", "serve", "--port", "0"],
        env={**own_site.place.environment(), "MODEL_SIZE": "large-v3"},
        capture_output=True,
        check=False,
    )
    assert refused.returncode == 2
    assert b"expected 'large-v3' of the role asr" in refused.stderr


# --- TLS -------------------------------------------------------------------------------------


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def issue(authority: trustme.CA, folder: Path) -> tuple[Path, Path]:
    made = authority.issue_cert("127.0.0.1")
    chain, key = folder / "cert.pem", folder / "key.pem"
    chain.write_bytes(b"".join(pem.bytes() for pem in made.cert_chain_pems))
    key.write_bytes(made.private_key_pem.bytes())
    return chain, key


def serial(server: Any, context: ssl.SSLContext) -> Any:
    host, port = server.url.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port)), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        found = secure.getpeercert()
        assert found
        return found["serialNumber"]


def test_tls_and_a_new_certificate_by_sighup(
    authority: trustme.CA, serve: Callable[..., Any], tmp_path: Path
) -> None:
    chain, key = issue(authority, tmp_path)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    server = serve("--tls-cert", chain, "--tls-key", key).wait_until_ready()
    assert ask(f"{server.url}/ready", context=context)[0] == 200
    first = serial(server, context)

    issue(authority, tmp_path)
    server.process.send_signal(1)
    server.wait_for(lambda: server.said("certificate"))
    second = serial(server, context)
    assert first != second

    key.write_text("no key")
    server.process.send_signal(1)
    server.wait_for(lambda: len(server.said("certificate")) == 2)
    last = server.said("certificate")[1]
    assert last["level"] == "warning"
    assert "the old certificate stays" in last["message"]
    assert serial(server, context) == second


# --- limits ----------------------------------------------------------------------------------


@pytest.fixture
def narrow(serve: Callable[..., Any]) -> Any:
    """A server with narrow limits."""
    return serve(
        *("--max-upload", 2, "--memory", 1, "--max-minutes", 1),
        *("--queue", 2, "--concurrency", 2, "--per-caller", 2, "--upload-seconds", 10),
    ).wait_until_ready()


def test_limits(narrow: Any, own_site: Any) -> None:
    sizes = (4 << 20, 3 << 20)
    declared = send(narrow, POST + FORM + b"Content-Length: %d\r\n\r\n" % sizes[0])
    assert b"413" in answer_of(declared).split(b"\r\n")[0]

    undeclared = send(narrow, POST + FORM + b"Transfer-Encoding: chunked\r\n\r\n")
    body = form(bytes(sizes[0]))
    undeclared.sendall(b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
    answered = answer_of(undeclared)
    assert b"413" in answered.split(b"\r\n")[0]
    assert b'"code":"upload_too_large"' in answered

    long = wav(seconds=90)
    answered = answer_of(send(narrow, upload(long)))
    assert b"400" in answered.split(b"\r\n")[0]
    assert b"'a.wav' is longer than 0 h 01 min" in answered

    # Two uploads that do not end fill what one caller may have inside.
    held = [send(narrow, POST + FORM + b"Content-Length: 1000\r\n\r\n--x") for _ in range(2)]
    narrow.wait_for(lambda: b"airgap_requests_inside 2.0" in ask(f"{narrow.url}/metrics")[1])
    answered = answer_of(send(narrow, upload(b"x")))
    assert b"429" in answered.split(b"\r\n")[0]
    assert b"retry-after: 5" in answered.lower()
    assert b'"code":"caller_queue_full"' in answered
    for one in held:
        answered = answer_of(one)
        assert b"408" in answered.split(b"\r\n")[0]
        assert b'"code":"upload_too_slow"' in answered
    assert b"airgap_requests_inside 0.0" in ask(f"{narrow.url}/metrics")[1]


def test_headers_that_never_end(narrow: Any) -> None:
    started = time.monotonic()
    drip = send(narrow, b"GET /health HTTP/1.1\r\nHost: x\r\n")
    assert answer_of(drip) == b""
    silent = send(narrow, b"")
    assert answer_of(silent) == b""
    assert time.monotonic() - started < 50
    assert ask(f"{narrow.url}/health")[0] == 200


# --- the spool -------------------------------------------------------------------------------


def test_large_recordings_are_spooled_in_private_and_leave_nothing(
    own_site: Any, serve: Callable[..., Any]
) -> None:
    spool = own_site.place.root / "spool"
    spool.mkdir(mode=0o755)
    (spool / "left-by-a-crash").write_bytes(b"speech")
    (spool / "link").symlink_to(own_site.place.root / "trust")
    server = serve("--memory", 1).wait_until_ready()
    assert stat.S_IMODE(spool.stat().st_mode) == 0o700
    assert list(spool.iterdir()) == []
    assert list((own_site.place.root / "trust").iterdir()), "a link is removed, not followed"

    body = form(bytes(6 << 20))
    half = send(server, POST + FORM + b"Content-Length: %d\r\n\r\n" % len(body) + body[: 4 << 20])
    server.wait_for(lambda: spooled(server.process.pid, spool))
    assert list(spool.iterdir()) == [], "what is spooled has no name"
    half.sendall(body[4 << 20 :])
    assert b"400" in answer_of(half).split(b"\r\n")[0]
    server.wait_for(lambda: not spooled(server.process.pid, spool))
    assert list(spool.iterdir()) == []


def spooled(process: int, spool: Path) -> list[str]:
    """Files of the spool that a process has open."""
    links = []
    try:
        for link in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                links.append(os.readlink(link))  # noqa: PTH115 - it is no path of a file here
    except PermissionError:
        pytest.skip("the server's descriptors are hidden from its own user; root sees them")
    return [link for link in links if link.startswith(f"{spool}/")]


def test_a_spool_of_somebody_else_is_refused(own_site: Any) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    spool = own_site.place.root / "spool"
    spool.mkdir()
    os.chown(spool, 12345, 12345)
    (spool / "theirs").write_bytes(b"")
    refused = own_site.place.airgap("serve", "--port", "0")
    assert refused.code == 1
    assert f"'{spool}' belongs to user 12345, expected 0" in refused.err
    assert (spool / "theirs").exists()
