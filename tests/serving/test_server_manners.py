"""Under load: turns, clients that go, SIGTERM, SIGHUP, a new mount, a broken engine."""

import concurrent.futures
import contextlib
import http.client
import io
import json
import shutil
import signal
import socket
import time
import urllib.request
import uuid
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import psutil
import pytest

from runtime.engine.audio import read_recording

pytestmark = pytest.mark.heavy


def client(server: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - loopback
        return str(answer.read().decode())


def metric(server: Any, name: str) -> float:
    lines = get(f"{server.url}/metrics").splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def wav_of(samples: Any) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


@pytest.fixture(scope="session")
def long_recording(jfk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than two minutes of speech: five windows and more, and too large to count as short."""
    path = tmp_path_factory.mktemp("long") / "long.wav"
    path.write_bytes(wav_of(np.tile(read_recording(jfk).samples, 12)))
    return path


Begin = Callable[..., http.client.HTTPConnection]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Sends a whole request, and reads nothing of its answer."""
    with contextlib.ExitStack() as open_until_done:

        def start(*request: Any, **wishes: Any) -> http.client.HTTPConnection:
            return open_until_done.enter_context(contextlib.closing(sent(*request, **wishes)))

        yield start


def sent(server: Any, recording: Path, *, stream: bool = False) -> http.client.HTTPConnection:
    mark = uuid.uuid4().hex
    body = b""
    for name, value in {"model": "whisper-1", "stream": str(stream).lower()}.items():
        body += (
            f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        )
    opening = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"'
    body += f"{opening}\r\n\r\n".encode() + recording.read_bytes()
    body += f"\r\n--{mark}--\r\n".encode()
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=600)
    kind = {"Content-Type": f"multipart/form-data; boundary={mark}"}
    connection.request("POST", "/v1/audio/transcriptions", body, kind)
    return connection


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_stops_its_work(
    begin: Begin, server: Any, long_recording: Path, *, stream: bool
) -> None:
    connection = begin(server, long_recording, stream=stream)
    server.wait_for(lambda: metric(server, "airgap_queue_active") == 1)
    if stream:
        assert connection.getresponse().read(6) == b"data: "
    before = metric(server, "airgap_audio_seconds_total")
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    server.wait_for(lambda: metric(server, "airgap_requests_inside") == 0)
    server.wait_for(lambda: metric(server, "airgap_queue_active") == 0)
    assert metric(server, "airgap_audio_seconds_total") == before, "it was not finished"


def test_one_that_is_answered_in_the_meantime_is_not_stopped(
    begin: Begin, server: Any, jfk: Path
) -> None:
    """Half of a connection closed is a client that still reads."""
    assert "country" in json.loads(begin(server, jfk).getresponse().read())["text"]


def test_short_ones_pass_a_long_one(
    begin: Begin, server: Any, long_recording: Path, jfk: Path
) -> None:
    held = [begin(server, long_recording) for _ in range(4)]
    server.wait_for(lambda: metric(server, "airgap_queue_active") == 3)
    with client(server) as short:
        for _ in range(3):
            heard = short.audio.transcriptions.create(file=jfk, model="whisper-1")
            assert "country" in heard.text
    done = [line for line in server.said("request") if line.get("audio_seconds") == 132.0]
    assert not done, "every long one is still at work"
    for connection in held:
        connection.close()
    server.wait_for(lambda: metric(server, "airgap_requests_inside") == 0)


def test_many_at_once_get_their_own_text(server: Any, jfk: Path) -> None:
    whole = read_recording(jfk).samples
    parts = {"fellow americans": whole[: 4 * 16_000], "your country": whole[8 * 16_000 :]}

    def ask(number: int) -> tuple[str, str]:
        expected = list(parts)[number % 2]
        with client(server) as one:
            named = (f"{number}.wav", wav_of(parts[expected]))
            return expected, one.audio.transcriptions.create(file=named, model="whisper-1").text

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for expected, text in pool.map(ask, range(32)):
            assert expected in text.lower()


def test_a_soak_leaves_no_memory_and_no_descriptor_behind(server: Any, jfk: Path) -> None:
    process = psutil.Process(server.process.pid)

    def soak(requests: int) -> int:
        def ask(_number: int) -> None:
            with client(server) as one:
                one.audio.transcriptions.create(file=jfk, model="whisper-1-fast")

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(ask, range(requests)))
        return int(process.memory_info().rss)

    soak(16)
    warm, connections = soak(16), process.num_fds()
    later = soak(48)
    assert later < warm + (64 << 20)
    server.wait_for(lambda: process.num_fds() <= connections)


# --- signals ---------------------------------------------------------------------------------


def test_sigterm_finishes_what_was_taken_and_takes_nothing_new(
    begin: Begin, serve: Callable[..., Any], long_recording: Path, jfk: Path
) -> None:
    server = serve().wait_until_ready()
    taken = begin(server, long_recording)
    server.wait_for(lambda: metric(server, "airgap_queue_active") == 1)
    server.process.send_signal(signal.SIGTERM)
    server.wait_for(lambda: server.said("draining"))
    with client(server) as late, pytest.raises(openai.InternalServerError) as caught:
        late.audio.transcriptions.create(file=jfk, model="whisper-1")
    assert (caught.value.status_code, caught.value.code) == (503, "draining")
    assert caught.value.response.headers["retry-after"] == "5"
    answer = taken.getresponse()
    assert answer.status == 200
    assert json.loads(answer.read())["text"].count("fellow Americans") > 8
    assert server.process.wait(30) == 0
    assert server.said("stopped")


def test_a_second_sigterm_stops_at_once(
    begin: Begin, serve: Callable[..., Any], long_recording: Path
) -> None:
    server = serve().wait_until_ready()
    taken = begin(server, long_recording)
    server.wait_for(lambda: metric(server, "airgap_queue_active") == 1)
    server.process.send_signal(signal.SIGTERM)
    server.wait_for(lambda: server.said("draining"))
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) in {0, 128 + signal.SIGTERM}
    answer = taken.getresponse()
    assert answer.status == 503
    assert json.loads(answer.read())["error"]["code"] == "stopping"


def test_draining_ends_when_its_time_is_over(
    begin: Begin, serve: Callable[..., Any], long_recording: Path
) -> None:
    server = serve("--drain-seconds", 0).wait_until_ready()
    begin(server, long_recording)
    server.wait_for(lambda: metric(server, "airgap_queue_active") == 1)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) in {0, 128 + signal.SIGTERM}
    assert "1 requests are broken off" in server.said("stopping")[0]["message"]


def test_sigterm_while_loading(serve: Callable[..., Any]) -> None:
    server = serve()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) in {0, -signal.SIGTERM}


def test_before_it_is_ready_it_says_so(serve: Callable[..., Any], jfk: Path) -> None:
    server = serve()
    with client(server) as early, pytest.raises(openai.InternalServerError) as caught:
        early.audio.transcriptions.create(file=jfk, model="whisper-1")
    assert (caught.value.status_code, caught.value.code) == (503, "loading")
    assert caught.value.response.headers["retry-after"] == "5"
    server.wait_until_ready()
    with client(server) as late:
        assert "country" in late.audio.transcriptions.create(file=jfk, model="whisper-1").text


# --- another mount ---------------------------------------------------------------------------


def ask_until(stop: Callable[[], bool], server: Any, recording: Path) -> list[str]:
    """One request after the other, each over a connection of its own; every one must succeed."""
    texts = []
    while not stop():
        with client(server) as one:
            texts.append(one.audio.transcriptions.create(file=recording, model="whisper-1").text)
    return texts


def test_a_new_mount_is_served_with_no_request_lost(
    demo_site: Any, own_site: Any, serve: Callable[..., Any], jfk: Path
) -> None:
    server = serve().wait_until_ready()
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        stopped: list[bool] = []
        asking = [pool.submit(ask_until, lambda: bool(stopped), server, jfk) for _ in range(3)]
        mounted = own_site.place.airgap("mount", demo_site.bundle)
        assert mounted.code == 0, mounted.err
        server.wait_for(lambda: len(server.said("ready")) == 2)
        time.sleep(1)
        stopped.append(True)
        texts = [text for done in asking for text in done.result()]
    assert len(texts) >= 3
    assert all("country" in text for text in texts)
    assert [line["generation"] for line in server.said("ready")] == [1, 2]
    assert metric(server, 'airgap_reloads_total{outcome="done"}') == 1


def test_a_mount_that_is_not_what_was_signed_changes_nothing(
    demo_site: Any, own_site: Any, serve: Callable[..., Any], jfk: Path
) -> None:
    server = serve().wait_until_ready()
    mounts = own_site.place.root / "mounts" / "demo"
    second = mounts / "generations" / "000002"
    shutil.copytree(mounts / "generations" / "000001", second, symlinks=False)
    (model,) = second.glob("hf/hub/*/snapshots/*/model.bin")
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.unlink()
    model.write_bytes(content)
    (mounts / "next").symlink_to("generations/000002")
    (mounts / "next").replace(mounts / "current")

    server.wait_for(lambda: server.said("reload"))
    assert "staying with what is served" in server.said("reload")[0]["message"]
    assert "is not what was signed" in server.said("reload")[0]["message"]
    server.process.send_signal(signal.SIGHUP)
    server.wait_for(lambda: metric(server, 'airgap_reloads_total{outcome="failed"}') == 2)
    with client(server) as one:
        assert "country" in one.audio.transcriptions.create(file=jfk, model="whisper-1").text
    told = json.loads(get(f"{server.url}/v1/inventory"))
    assert told["verdict"]["generation"] == 1


def test_a_model_that_was_changed_is_never_served(own_site: Any, serve: Callable[..., Any]) -> None:
    (model,) = own_site.place.root.glob("mounts/demo/current/hf/hub/*/snapshots/*/model.bin")
    blob = model.resolve()
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(content)
    refused = own_site.place.airgap("serve", "--port", "0")
    assert refused.code == 3
    assert "is not what was signed" in refused.err
    assert '"event": "ready"' not in refused.err


def test_a_bundle_is_mounted_first(demo_site: Any, place: Any, tmp_path: Path) -> None:
    shutil.copytree(demo_site.place.keys, place.keys)
    place.trust("alice", demo_site.fingerprint)
    broken = tmp_path / "broken.tar.zst"
    content = bytearray(demo_site.bundle.read_bytes())
    content[-1000] ^= 1
    broken.write_bytes(content)
    refused = place.airgap("serve", broken, "--port", "0")
    assert refused.code == 3, refused.err
    assert not list(place.root.glob("mounts/*/current"))
