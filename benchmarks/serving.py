"""The server against raw faster-whisper in process: alone, and with 1, 4 and 16 clients.

    python benchmarks/serving.py ROOT RECORDING [--seconds 20]

ROOT is a host's root with one bundle mounted. Both sides use the same model, the same options,
the same number of workers and threads, in this one run; ratios are what counts. Raw
faster-whisper decodes the file and transcribes it in as many threads as there are clients.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from faster_whisper import WhisperModel
from faster_whisper.audio import decode_audio

from runtime import generation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--seconds", type=float, default=20, help="of each measurement")
    given = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    workers = min(2, cores)
    threads = max(1, cores // workers)
    raw = raw_engine(given.root, workers, threads)
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        server = start(given.root, Path(log.name))
        try:
            port = wait_until_ready(server, Path(log.name))
            print(f"{cores} cores, {workers} workers of {threads} thread(s), {given.recording}")
            alone(given, raw, port)
            under_load(given, raw, port, server.pid)
        finally:
            server.terminate()
            server.wait(60)


def alone(given: argparse.Namespace, raw: WhisperModel, port: int) -> None:
    """One request at a time, the two sides in turns, so that both see the same machine."""
    pairs: list[tuple[float, float]] = []
    end = time.perf_counter() + given.seconds
    while time.perf_counter() < end or len(pairs) < 3:
        pairs.append((timed(lambda: hear_raw(raw, given.recording)), ask(port, given.recording)))
    raw_median, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
    overhead = (statistics.median(b / a for a, b in pairs) - 1) * 100
    print(
        f"alone: raw {raw_median:.3f} s, server {ours:.3f} s, {overhead:+.1f} % (median of pairs)"
    )


def under_load(given: argparse.Namespace, raw: WhisperModel, port: int, process: int) -> None:
    print("clients  raw/s  server/s  ratio  p50 s  p95 s  max s  server MB")
    for clients in (1, 4, 16):
        plain = load(lambda: timed(lambda: hear_raw(raw, given.recording)), clients, given.seconds)
        served = load(lambda: ask(port, given.recording), clients, given.seconds)
        raw_rate, rate = len(plain) / given.seconds, len(served) / given.seconds
        cuts = statistics.quantiles(served, n=20) if len(served) > 1 else served * 20
        memory = psutil.Process(process).memory_info().rss / 1e6
        print(
            f"{clients:7}  {raw_rate:5.2f}  {rate:8.2f}  {rate / raw_rate:5.2f}  "
            f"{cuts[9]:5.2f}  {cuts[18]:5.2f}  {max(served):5.2f}  {memory:9.0f}"
        )


def load(work: Callable[[], float], clients: int, seconds: float) -> list[float]:
    """The seconds of every piece of work that was begun within so many seconds."""
    end, taken, lock = time.perf_counter() + seconds, [], threading.Lock()

    def repeat() -> None:
        while time.perf_counter() < end:
            one = work()
            with lock:
                taken.append(one)

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(repeat) for _ in range(clients)]:
            done.result()
    return taken


def timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def raw_engine(root: Path, workers: int, threads: int) -> WhisperModel:
    with generation.current(root, None) as mounted:
        folder = mounted.folder.path / mounted.artifact("asr", None).path
        return WhisperModel(
            str(folder),
            device="cpu",
            compute_type="int8",
            cpu_threads=threads,
            num_workers=workers,
            local_files_only=True,
        )


def hear_raw(model: WhisperModel, recording: Path) -> str:
    segments, _info = model.transcribe(decode_audio(str(recording)), vad_filter=True, beam_size=5)
    return "".join(segment.text for segment in segments)


def start(root: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", "airgap", "serve", "--root", root, "--port", "0"],
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )


def wait_until_ready(server: subprocess.Popen[bytes], log: Path) -> int:
    while '"event": "ready"' not in (text := log.read_text()):
        if server.poll() is not None:
            sys.exit(text)
        time.sleep(0.1)
    listening = next(
        line
        for line in map(json.loads, filter(lambda one: one.startswith("{"), text.splitlines()))
        if line["event"] == "listening"
    )
    return int(listening["message"].rpartition(":")[2])


def ask(port: int, recording: Path) -> float:
    mark = uuid.uuid4().hex
    head = f'--{mark}\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    head += f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    body = head.encode() + recording.read_bytes() + f"\r\n--{mark}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={mark}"}
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("POST", "/v1/audio/transcriptions", body, kind)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.status != http.client.OK:
        sys.exit(f"{answer.status}: {text.decode()}")
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
