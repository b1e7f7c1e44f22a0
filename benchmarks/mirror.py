"""`airgap mirror` against `python -m http.server`: the same files, 1, 8 and 32 clients.

    python benchmarks/mirror.py ROOT [--gigabytes 4]

ROOT is a host's root with a bundle mounted. The clients are curl, each in a process of its own,
which download the largest file of the mount to /dev/null, until so many GB have gone; then its
smallest file, a connection for each. Both servers run on the same host as the clients, and so
share the cores with them: the processor time of the server for each GB is what it costs.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from runtime import generation

SMALL_REQUESTS = 2000


@dataclass(frozen=True)
class Server:
    """One side: its process, and where it has the two files."""

    name: str
    process: psutil.Process
    large: str
    small: str


@dataclass(frozen=True)
class Load:
    """What one load took: seconds of the clock, seconds of the server's processor time."""

    seconds: float
    work: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--gigabytes", type=float, default=4, help="of each row")
    given = parser.parse_args()
    with generation.current(given.root, None) as mounted:
        model = mounted.artifact("asr", None)
        folder = mounted.folder.path / model.path
        files = sorted(mounted.manifest.files_of(model), key=lambda file: file.size)
        names = [
            file.path.removeprefix(f"{model.path}/")
            for file in files
            if file.path.startswith(f"{model.path}/")
        ]
    small, large = names[0], names[-1]
    size = (folder / large).stat().st_size
    print(f"{len(os.sched_getaffinity(0))} cores; {large}: {size / 1e6:.1f} MB")
    with (
        plain(folder, large, small) as theirs,
        mirror(given.root, model.repository, large, small) as ours,
    ):
        for one in (theirs, ours):
            download(one.large, 1, 1)  # everything is in the page cache, on both sides
        print("clients  server        MB/s  times  server CPU s/GB  times  server peak MB")
        for clients in (1, 8, 32):
            each = max(1, round(given.gigabytes * 1e9 / size / clients))
            compare(theirs, ours, clients, each, clients * each * size)
        print("small file, a connection each: requests/s, server CPU ms/request")
        for one in (theirs, ours):
            took = load(one, one.small, 4, SMALL_REQUESTS // 4)
            rate = SMALL_REQUESTS / took.seconds
            print(f"  {one.name:12} {rate:6.0f}  {took.work / SMALL_REQUESTS * 1e3:6.2f}")


def compare(theirs: Server, ours: Server, clients: int, each: int, size: int) -> None:
    """One row a side, in turns, the better of two."""
    rows = {}
    for _ in range(2):
        for one in (theirs, ours):
            took = load(one, one.large, clients, each)
            rows[one.name] = min(rows.get(one.name, took), took, key=lambda load: load.seconds)
    base = rows[theirs.name]
    for one in (theirs, ours):
        took = rows[one.name]
        print(
            f"{clients:7}  {one.name:12}  {size / took.seconds / 1e6:5.0f}"
            f"  {base.seconds / took.seconds:5.2f}  {took.work / size * 1e9:15.3f}"
            f"  {base.work / took.work:5.2f}  {peak(one.process):14.0f}"
        )


def load(one: Server, url: str, clients: int, each: int) -> Load:
    before = sum(one.process.cpu_times()[:2])
    started = time.perf_counter()
    download(url, clients, each)
    return Load(time.perf_counter() - started, sum(one.process.cpu_times()[:2]) - before)


def download(url: str, clients: int, each: int) -> None:
    """Every client fetches the file so many times, each on a connection of its own."""
    command = ["curl", "-sS", "--fail", "-H", "Connection: close"]
    command += ["-o", "/dev/null", url] * each
    running = [subprocess.Popen(command) for _ in range(clients)]
    for process in running:
        if process.wait():
            sys.exit(f"curl ended with {process.returncode}")


def peak(process: psutil.Process) -> float:
    """Largest resident set so far, in MB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1e3 if found else 0.0


@contextmanager
def plain(folder: Path, large: str, small: str) -> Iterator[Server]:
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with started([*command, "--directory", folder], r"port (\d+)") as (process, port):
        url = f"http://127.0.0.1:{port}"
        yield Server("http.server", process, f"{url}/{large}", f"{url}/{small}")


@contextmanager
def mirror(root: Path, repository: str | None, large: str, small: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "airgap", "mirror", "--root", root, "--port", "0"]
    with started(command, r"listening on http://127.0.0.1:(\d+)") as (process, port):
        url = f"http://127.0.0.1:{port}/{repository}/resolve/main"
        yield Server("airgap mirror", process, f"{url}/{large}", f"{url}/{small}")


@contextmanager
def started(command: list[str | Path], says: str) -> Iterator[tuple[psutil.Process, str]]:
    """A server, and the port that it names in its log."""
    with tempfile.NamedTemporaryFile("w+") as log:
        process = subprocess.Popen([str(one) for one in command], stdout=log, stderr=log)
        try:
            while (found := re.search(says, Path(log.name).read_text())) is None:
                if process.poll() is not None:
                    sys.exit(Path(log.name).read_text())
                time.sleep(0.1)
            yield psutil.Process(process.pid), found[1]
        finally:
            process.terminate()
            process.wait(60)


if __name__ == "__main__":
    main()
