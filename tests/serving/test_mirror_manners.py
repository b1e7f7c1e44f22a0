"""A mirror as its operator meets it: what it refuses to start with, to serve, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.mirror import limits

REPOSITORY = "Systran/faster-whisper-tiny.en"
CONFIG = f"/{REPOSITORY}/resolve/main/config.json"
MODEL = f"/{REPOSITORY}/resolve/main/model.bin"


def stored(site: Any, name: str) -> Path:
    """A file of the mount."""
    (found,) = (site.place.root / "mounts/demo/current/hf").rglob(name)
    return found


def change(path: Path, *, back_to: os.stat_result | None = None) -> None:
    """Flip a bit in place; `back_to` sets the times back, as someone who hides it would."""
    path.chmod(0o644)
    with path.open("r+b") as stream:
        first = stream.read(1)[0]
        stream.seek(0)
        stream.write(bytes([first ^ 1]))
    path.chmod(0o444)
    if back_to is not None:
        os.utime(path, ns=(back_to.st_atime_ns, back_to.st_mtime_ns))


def everything(root: Path) -> dict[str, tuple[Any, ...]]:
    """Name, inode, size, times and content's change of all that lies below a root."""
    found = {}
    for path in sorted(root.rglob("*")):
        there = path.lstat()
        found[str(path)] = (there.st_mode, there.st_ino, there.st_size, there.st_ctime_ns)
    return found


def test_it_has_left_the_network_and_writes_nothing(
    own_site: Any, start_mirror: Callable[..., Any], wire_to: Any
) -> None:
    before = everything(own_site.place.root)
    mirror = start_mirror()
    assert wire_to(mirror).get(MODEL)[0] == 200
    (offline,) = mirror.said("offline")
    assert "escapes tried, none worked" in offline["message"]
    status = Path(f"/proc/{mirror.process.pid}/status").read_text()
    assert "\nSeccomp:\t2\n" in status
    assert "\nCapEff:\t0000000000000000\n" in status
    assert mirror.stop() == 0
    assert everything(own_site.place.root) == before


@pytest.mark.parametrize("hidden", [False, True], ids=["openly", "with its times set back"])
def test_a_file_that_was_changed_is_not_served(
    hidden: bool, own_site: Any, start_mirror: Callable[..., Any], wire_to: Any
) -> None:
    mirror = start_mirror()
    wire = wire_to(mirror)
    assert wire.get(CONFIG)[0] == 200
    path = stored(own_site, "config.json")
    change(path, back_to=path.stat() if hidden else None)
    for method in ("GET", "HEAD"):
        status, headers, body = wire.get(CONFIG, method=method)
        assert status == 500
        assert "etag" not in headers
        assert str(own_site.place.root).encode() not in body
        assert bool(body) == (method == "GET")
    assert wire.get(MODEL, "Range: bytes=0-9")[0] == 206  # the others are served
    assert "is not what was signed: expected SHA-256" in mirror.said("damaged")[0]["message"]
    change(path)  # the bit is back, and so is the file
    assert wire.get(CONFIG)[0] == 200


def test_a_file_that_is_gone_or_a_link_is_not_served(
    own_site: Any, start_mirror: Callable[..., Any], wire_to: Any, tmp_path: Path
) -> None:
    mirror = start_mirror()
    path = stored(own_site, "config.json")
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    path.unlink()
    assert wire_to(mirror).get(CONFIG)[0] == 500
    path.symlink_to(copy)
    assert wire_to(mirror).get(CONFIG)[0] == 500
    assert "none is followed" in mirror.said("damaged")[-1]["message"]


def test_a_file_that_changes_while_it_is_sent_never_arrives_whole(
    own_site: Any, start_mirror: Callable[..., Any], wire_to: Any
) -> None:
    mirror = start_mirror()
    path = stored(own_site, "model.bin")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(30)
        client.connect(("127.0.0.1", wire_to(mirror).port))
        client.sendall(f"GET {MODEL} HTTP/1.1\r\nHost: m\r\n\r\n".encode())
        assert client.recv(1 << 10)
        change(path)
        with pytest.raises(ConnectionResetError):
            drain(client)
    mirror.wait_for(lambda: mirror.said("request"))
    assert mirror.said("request")[-1]["why"] == "the file changed while it was sent"


def drain(client: socket.socket) -> None:
    """Read on until the server closes."""
    while client.recv(1 << 20):
        pass


def test_a_damaged_mount_is_not_served_at_all(own_site: Any) -> None:
    change(stored(own_site, "config.json"))
    done = own_site.place.airgap("mirror", "--port", "0")
    assert done.code == 3
    assert "config.json' is not what was signed" in done.err
    assert '"listening"' not in done.err


def test_what_cannot_be_served_is_told_before_anything_listens(
    own_site: Any, tmp_path: Path
) -> None:
    airgap = own_site.place.airgap
    refusals = {
        ("--bundle", "other"): "expected 'other' mounted",
        ("--host", "0.0.0.0", "--port", "0"): "there is no API key",  # noqa: S104 - it is refused
        ("--tls-cert", tmp_path / "a.pem"): "--tls-cert and --tls-key go together",
        ("--root", tmp_path / "empty"): "expected one bundle mounted",
        ("--host", "192.0.2.1"): "cannot listen on",
    }
    for options, says in refusals.items():
        done = airgap("mirror", *options)
        assert says in done.err, options
        assert done.code == (1 if says == "cannot listen on" else 2)
    assert not (tmp_path / "empty").exists()


def test_a_new_generation_is_served_without_a_break(
    own_site: Any, demo_site: Any, start_mirror: Callable[..., Any], wire_to: Any
) -> None:
    mirror = start_mirror()
    wire = wire_to(mirror)
    assert mirror.said("ready")[0]["generations"] == {"demo": 1}
    remounted = own_site.place.airgap("mount", demo_site.bundle)
    assert remounted.code == 0, remounted.err
    while not mirror.said("exchanged"):
        assert wire.get(MODEL, "Range: bytes=-100000")[0] == 206
    assert mirror.said("exchanged")[0]["generations"] == {"demo": 2}
    assert wire.get(CONFIG)[0] == 200


def test_a_new_generation_that_is_damaged_is_not_served(
    own_site: Any, demo_site: Any, start_mirror: Callable[..., Any], wire_to: Any
) -> None:
    mirror = start_mirror()
    assert own_site.place.airgap("mount", demo_site.bundle).code == 0
    os.kill(mirror.process.pid, signal.SIGSTOP)
    second = own_site.place.root / "mounts/demo/generations/000002/manifest.json"
    second.chmod(0o644)
    second.write_bytes(second.read_bytes() + b" ")
    os.kill(mirror.process.pid, signal.SIGCONT)
    os.kill(mirror.process.pid, signal.SIGHUP)
    mirror.wait_for(lambda: mirror.said("reload"))
    assert "staying with what is served" in mirror.said("reload")[0]["message"]
    assert wire_to(mirror).get(CONFIG)[0] == 200


def test_sigterm_finishes_the_answers(
    start_mirror: Callable[..., Any], wire_to: Any, demo_files: Any
) -> None:
    mirror = start_mirror()
    address = ("127.0.0.1", wire_to(mirror).port)
    # Less than an idle connection may stay otherwise.
    idle = socket.create_connection(address, timeout=limits.KEEP_ALIVE_SECONDS / 2)
    with idle, socket.create_connection(address) as client:
        client.sendall(f"GET {MODEL} HTTP/1.1\r\nHost: m\r\n\r\n".encode())
        received = client.recv(1 << 10)
        mirror.process.send_signal(signal.SIGTERM)
        assert idle.recv(1) == b""  # who asks for nothing is not waited for
        mirror.wait_for(lambda: refused(address))
        received += b"".join(iter(lambda: client.recv(1 << 20), b""))
    assert received.partition(b"\r\n\r\n")[2] == demo_files["model.bin"].read_bytes()
    assert mirror.process.wait(30) == 0
    assert mirror.said("stopped")


def test_it_needs_no_extra() -> None:
    program = (
        "import sys, runtime.mirror.running; print(*{one.split('.')[0] for one in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    extras = {"fastapi", "uvicorn", "starlette", "huggingface_hub", "faster_whisper", "numpy"}
    assert not extras & set(done.stdout.split())


def test_a_second_signal_ends_it_at_once(start_mirror: Callable[..., Any], wire_to: Any) -> None:
    mirror = start_mirror()
    address = ("127.0.0.1", wire_to(mirror).port)
    with socket.create_connection(address) as client:
        client.sendall(f"GET {MODEL} HTTP/1.1\r\nHost: m\r\n\r\n".encode())
        assert client.recv(1)
        mirror.process.send_signal(signal.SIGTERM)
        mirror.wait_for(lambda: refused(address))
        mirror.process.send_signal(signal.SIGTERM)
        assert mirror.process.wait(30) == 0
    assert mirror.said("stopping")[0]["message"] == "1 answers are broken off"


def refused(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address).close()
    except ConnectionRefusedError:
        return True
    return False
