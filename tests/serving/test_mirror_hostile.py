"""Requests that no client sends: each is refused, closed, and followed by a sound answer."""

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FILE = "/Systran/faster-whisper-tiny.en/resolve/main/config.json"
SOUND = f"GET {FILE} HTTP/1.1\r\nHost: mirror\r\nConnection: close\r\n\r\n".encode()


def first_line(answer: bytes) -> str:
    return answer.partition(b"\r\n")[0].decode()


def headed(*lines: str, start: str = f"GET {FILE} HTTP/1.1") -> bytes:
    return "\r\n".join([start, *lines, "", ""]).encode("latin-1")


REFUSED = {
    "both lengths": (headed("Host: m", "Content-Length: 5", "Transfer-Encoding: chunked"), 501),
    "chunked": (headed("Host: m", "Transfer-Encoding: chunked"), 501),
    "chunked, disguised": (headed("Host: m", "transfer-encoding:\tx, identity"), 501),
    "a body": (headed("Host: m", "Content-Length: 5") + b"hello", 413),
    "two lengths": (headed("Host: m", "Content-Length: 0", "Content-Length: 5"), 400),
    "a list of lengths": (headed("Host: m", "Content-Length: 0, 5"), 413),
    "a signed length": (headed("Host: m", "Content-Length: +0"), 413),
    "space before the colon": (headed("Host: m", "Content-Length : 5"), 400),
    "a folded line": (headed("Host: m", "X-Long: a", " Content-Length: 5"), 400),
    "a bare line feed": (headed("Host: m", "X: a\nContent-Length: 5"), 400),
    "a bare carriage return": (headed("Host: m", "X: a\rContent-Length: 5"), 400),
    "NUL in a header": (headed("Host: m", "X: a\0b"), 400),
    "spaces by the thousand": (headed("Host: m", "X:" + 15_000 * " " + "\0"), 400),
    "no header's name": (headed("Host: m", ": a"), 400),
    "no host": (headed(), 400),
    "two hosts": (headed("Host: m", "Host: n"), 400),
    "two ranges' headers": (headed("Host: m", "Range: bytes=0-1", "Range: bytes=2-3"), 400),
    "the absolute form": (headed("Host: m", start=f"GET http://m{FILE} HTTP/1.1"), 400),
    "an authority": (headed("Host: m", start="CONNECT m:443 HTTP/1.1"), 405),
    "an asterisk": (headed("Host: m", start="OPTIONS * HTTP/1.1"), 405),
    "two spaces": (headed("Host: m", start=f"GET  {FILE} HTTP/1.1"), 400),
    "a tab for a space": (headed("Host: m", start=f"GET\t{FILE} HTTP/1.1"), 400),
    "a space in the path": (headed("Host: m", start="GET /a b HTTP/1.1"), 400),
    "a byte above ASCII": (headed("Host: m", start="GET /\xe9 HTTP/1.1"), 400),
    "a cut escape": (headed("Host: m", start="GET /%4 HTTP/1.1"), 400),
    "no UTF-8": (headed("Host: m", start="GET /%ff HTTP/1.1"), 400),
    "a lower-case method": (headed("Host: m", start=f"get {FILE} HTTP/1.1"), 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "a lie about the version": (headed("Host: m", start=f"GET {FILE} HTTP/1.1.1"), 400),
    "writing": (headed("Host: m", start=f"PUT {FILE} HTTP/1.1"), 405),
    "posting": (headed("Host: m", "Content-Length: 0", start=f"POST {FILE} HTTP/1.1"), 405),
    "a long line": (headed("Host: m", start="GET /" + 20_000 * "a" + " HTTP/1.1"), 431),
    "a long header": (headed("Host: m", "X: " + 20_000 * "a"), 431),
    "many headers": (headed("Host: m", *(f"X-{n}: a" for n in range(70))), 431),
    "an endless head": (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 6_000, 431),
    "many fields": (headed("Host: m", start="GET /?" + "a=1&" * 50 + " HTTP/1.1"), 400),
    "a TLS greeting": (bytes.fromhex("160301002f0100002b0303") + 36 * b"\0" + b"\r\n\r\n", 400),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_and_nothing_after_it_is_read(name: str, wire: Any, mirror: Any) -> None:
    request, status = REFUSED[name]
    answer = wire.say(request + SOUND)
    assert first_line(answer).startswith(f"HTTP/1.1 {status} "), answer[:200]
    assert answer.count(b"HTTP/1.1 ") == 1  # what was smuggled behind it has no answer
    assert b"Connection: close" in answer
    assert first_line(wire.say(SOUND)) == "HTTP/1.1 200 OK"
    assert mirror.process.poll() is None


LEADS_NOWHERE = [
    "/Systran/faster-whisper-tiny.en/resolve/main/../../../../../../../etc/passwd",
    "/Systran/faster-whisper-tiny.en/resolve/main/%2e%2e/%2e%2e/%2e%2e/refs/main",
    "/Systran/faster-whisper-tiny.en/resolve/main/%252e%252e%252fconfig.json",
    "/Systran/faster-whisper-tiny.en/resolve/main/config.json%00",
    "/Systran/faster-whisper-tiny.en/resolve/main/config.json/",
    "/Systran/faster-whisper-tiny.en/resolve/main/./config.json",
    "/Systran/faster-whisper-tiny.en/resolve/main//config.json",
    "/Systran/faster-whisper-tiny.en/resolve/main/CONFIG.JSON",
    "/Systran/faster-whisper-tiny.en/resolve/main/..%5cconfig.json",
    "//etc/passwd",
    "/etc/passwd",
    "/mounts/demo/current/manifest.json",
    "/manifest.json",
    "/airgap.head",
    "/state/host.key",
]


@pytest.mark.parametrize("path", LEADS_NOWHERE)
def test_a_path_that_is_not_in_a_manifest_is_not_found(path: str, wire: Any, mirror: Any) -> None:
    status, headers, body = wire.get(path)
    assert (status, headers["content-type"]) == (404, "application/json")
    assert b"no mounted bundle carries" in body
    assert path not in mirror.log.read_text()


def test_pipelined_requests_are_answered_in_order(wire: Any) -> None:
    first = f"HEAD {FILE} HTTP/1.1\r\nHost: m\r\n\r\n".encode()
    second = b"GET /health HTTP/1.1\r\nHost: m\r\n\r\n"
    answer = wire.say(first + second + SOUND)
    assert [line.partition(b"\r\n")[0] for line in answer.split(b"HTTP/1.1 ")[1:]] == [
        b"200 OK"
    ] * 3
    assert b"\r\n\r\nok\nHTTP/1.1 200 OK" in answer


def test_a_request_may_come_byte_by_byte(wire: Any) -> None:
    assert first_line(wire.say(*(bytes([byte]) for byte in SOUND))) == "HTTP/1.1 200 OK"


QUICKER = """
from runtime.mirror import limits
limits.HEADER_SECONDS = limits.KEEP_ALIVE_SECONDS = 2
limits.PIECE_SECONDS = 0.5
limits.CONNECTIONS, limits.PER_ADDRESS = 8, 4
from airgap import cli
cli.main()
"""


@pytest.fixture
def hurried(start_mirror: Callable[..., Any], tmp_path: Path) -> Any:
    """A mirror with small limits, so that a test can meet them."""
    program = tmp_path / "hurried.py"
    program.write_text(QUICKER)
    return start_mirror(program=(str(program),))


def test_slow_clients_are_broken_off_and_one_too_many_is_told(hurried: Any, wire_to: Any) -> None:
    wire = wire_to(hurried)
    address = ("127.0.0.1", wire.port)
    with socket.create_connection(address, timeout=30) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost:")
        assert first_line(slow.recv(1 << 16)) == "HTTP/1.1 408 Request Timeout"
    with socket.create_connection(address, timeout=30) as idle:
        assert idle.recv(1) == b""
    with socket.socket() as reads_nothing:
        reads_nothing.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reads_nothing.settimeout(30)
        reads_nothing.connect(address)
        reads_nothing.sendall(SOUND.replace(b"config.json", b"model.bin"))
        hurried.wait_for(lambda: any(one["status"] == 499 for one in hurried.said("request")))
    (broken,) = (one for one in hurried.said("request") if one["status"] == 499)
    assert broken["why"] == "the client takes it too slowly"
    many = [socket.create_connection(address, timeout=30) for _ in range(5)]
    try:
        turned_away = many[-1].recv(1 << 16)
    finally:
        for one in many:
            one.close()
    assert first_line(turned_away) == "HTTP/1.1 503 Service Unavailable"

    def is_served() -> bool:
        with contextlib.suppress(OSError):  # turned away while it still spoke
            return bool(first_line(wire.say(SOUND)) == "HTTP/1.1 200 OK")
        return False

    hurried.wait_for(is_served)


RANGES = {
    "bytes=0-0": (206, slice(0, 1), "bytes 0-0/{size}"),
    "bytes=5-9": (206, slice(5, 10), "bytes 5-9/{size}"),
    "bytes=5-": (206, slice(5, None), "bytes 5-{last}/{size}"),
    "BYTES=5-99999999": (206, slice(5, None), "bytes 5-{last}/{size}"),
    "bytes=-7": (206, slice(-7, None), "bytes {before}-{last}/{size}"),
    "bytes=-99999999": (206, slice(0, None), "bytes 0-{last}/{size}"),
    "bytes=99999999-": (416, None, "bytes */{size}"),
    "bytes=-0": (416, None, "bytes */{size}"),
    "bytes=9-5": (200, slice(None), None),
    "bytes=0-1,4-5": (200, slice(None), None),
    "bytes=a-b": (200, slice(None), None),
    "bytes=-": (200, slice(None), None),
    "bytes=1": (200, slice(None), None),
    "items=0-1": (200, slice(None), None),
    "bytes=" + "9" * 40 + "-": (200, slice(None), None),
}


@pytest.mark.parametrize("asked", RANGES)
def test_ranges(asked: str, wire: Any, demo_files: Any) -> None:
    whole = demo_files["config.json"].read_bytes()
    size = len(whole)
    status, part, said = RANGES[asked]
    found, headers, body = wire.get(FILE, f"Range: {asked}")
    assert found == status
    numbers = {"size": size, "last": size - 1, "before": size - 7}
    assert headers.get("content-range") == (said.format(**numbers) if said else None)
    assert body == (b"" if part is None else whole[part])
    assert int(headers["content-length"]) == len(body)


def test_preconditions(wire: Any, demo_files: Any) -> None:
    whole = demo_files["config.json"].read_bytes()
    etag = wire.get(FILE)[1]["etag"]
    wanted = {
        (f"If-None-Match: {etag}",): 304,
        (f'If-None-Match: "other", W/{etag}',): 304,
        ("If-None-Match: *",): 304,
        ('If-None-Match: "other"',): 200,
        (f"If-Match: {etag}",): 200,
        ('If-Match: "other"',): 412,
        (f"If-Match: W/{etag}",): 412,
        ("Range: bytes=1-2", f"If-Range: {etag}"): 206,
        ("Range: bytes=1-2", f"If-Range: W/{etag}"): 200,
        ("Range: bytes=1-2", 'If-Range: "other"'): 200,
        ("Range: bytes=1-2", "If-Range: Sat, 21 Nov 2026 00:00:00 GMT"): 200,
    }
    for headers, status in wanted.items():
        found, said, body = wire.get(FILE, *headers)
        assert found == status, headers
        assert said["etag"] == etag
        assert body == {200: whole, 206: whole[1:3]}.get(status, b"")


def test_head_says_what_get_would(wire: Any) -> None:
    for path in (FILE, "/", "/health", "/api/models/Systran/faster-whisper-tiny.en/tree/main"):
        got, asked = wire.get(path), wire.get(path, method="HEAD")
        assert got[:2] == asked[:2]
        assert (int(asked[1]["content-length"]), asked[2]) == (len(got[2]), b"")
    ranged = wire.get(FILE, "Range: bytes=0-1", method="HEAD")
    assert ranged[0] == 200  # a range means something for GET alone
