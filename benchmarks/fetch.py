"""`airgap fetch` against `hf download` and curl, from one server on loopback.

    python benchmarks/fetch.py [--size MB] [--runs N]

Every contender downloads the same random file into an empty folder, in a process of its own.
Ours also checks every byte and makes it durable; `curl && sha256sum` checks as well, curl and
`hf download` do not. The page cache is warm for all.
"""

from __future__ import annotations

import argparse
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import Contender, interleaved

from bundler.lock import Lock, LockedFile, LockedModel, lock_path
from bundler.profile import Profile
from bundler.sources.huggingface import HuggingFace

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "bench/model"
FILE = "model.bin"
PIECE = 1 << 20

PROFILE = f"""\
profile: 1
name: bench
description: One large file
device: cpu
diarization: none
models:
- asr: {REPOSITORY}
"""


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of a hub as one file needs, ranges included; the kernel copies the bytes."""

    protocol_version = "HTTP/1.1"
    content: Path
    etag: str

    def do_HEAD(self) -> None:
        self._answer(send=False)

    def do_GET(self) -> None:
        self._answer(send=True)

    def _answer(self, *, send: bool) -> None:
        if f"/resolve/{COMMIT}/{FILE}" not in self.path:
            self.send_error(404)
            return
        size = self.content.stat().st_size
        start = int(self.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Length", str(size - start))
        self.send_header("ETag", f'"{self.etag}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if send:
            with self.content.open("rb") as stream:
                self.connection.sendfile(stream, start)

    def log_message(self, *_arguments: object) -> None:
        pass


def serve(content: str, etag: str) -> None:
    Hub.content, Hub.etag = Path(content), etag
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    print(server.server_port, flush=True)
    server.serve_forever()


def make_input(folder: Path, size: int) -> str:
    """A random file and a profile whose lock names it; returns its SHA-256."""
    digest = hashlib.sha256()
    with (folder / FILE).open("wb") as stream:
        for _ in range(size // PIECE):
            piece = os.urandom(PIECE)
            digest.update(piece)
            stream.write(piece)
    sha256 = digest.hexdigest()
    (folder / "bench.yaml").write_text(PROFILE)
    profile = Profile.parse(PROFILE.encode(), "bench.yaml")
    file = LockedFile(FILE, size // PIECE * PIECE, sha256)
    source = (HuggingFace(REPOSITORY),)
    model = LockedModel("bench", "asr", None, REPOSITORY, COMMIT, "none", False, source, (file,))
    lock = Lock("bench", "1.0.0", 1, "2026-01-01T00:00:00Z", profile.sha256, (model,))
    lock_path(folder / "bench.yaml").write_bytes(lock.to_bytes())
    return sha256


def contenders(folder: Path, port: int, size: int) -> list[Contender]:
    """Ours first; each starts with an empty folder `out`."""
    out = folder / "out"
    url = f"http://127.0.0.1:{port}/{REPOSITORY}/resolve/{COMMIT}/{FILE}"
    environment = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{port}",
        "HF_HOME": str(folder / "hf-home"),
        "AIRGAP_CACHE": str(out),
        "NO_PROXY": "127.0.0.1",
    }

    def emptied() -> None:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()

    here = Path(sys.executable).parent
    curl = f"curl -sSf -o {out}/{FILE} {url}"
    checked = f"{curl} && sha256sum {out}/{FILE} > {out}/sum"
    hf = (here / "hf", "download", REPOSITORY, FILE, "--revision", COMMIT, "--local-dir", out)
    commands: dict[str, tuple[str | Path, ...] | str] = {
        "airgap fetch": (here / "airgap", "fetch", folder / "bench.yaml", "--quiet"),
        "hf download": hf,
        "curl": curl,
        "curl, sha256sum": checked,
        "curl, sha256sum, sync": f"{checked} && sync {out}/{FILE}",
    }
    return [
        Contender(name, command, size, emptied, environment) for name, command in commands.items()
    ]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--size", type=int, default=1000, metavar="MB")
    options.add_argument("--runs", type=int, default=3)
    wanted = options.parse_args()
    size = wanted.size * 1_000_000 // PIECE * PIECE
    with tempfile.TemporaryDirectory(prefix="bench-fetch.") as name:
        folder = Path(name)
        sha256 = make_input(folder, size)
        words = (sys.executable, __file__, "serve", str(folder / FILE), sha256)
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
            try:
                port = int(server.stdout.readline()) if server.stdout else 0
                racing = contenders(folder, port, size)
                interleaved(racing, wanted.runs)
            finally:
                server.terminate()
    ours = racing[0]
    print(f"{size / 1e6:.0f} MB, best of {wanted.runs} interleaved runs, on loopback")
    print(f"{'':24}{'MB/s':>8}{'seconds':>9}{'peak MB':>9}{'ours is':>10}")
    for one in racing:
        ratio = f"{ours.times(one):.2f} x"
        print(f"{one.name:24}{one.rate:8.0f}{one.best:9.2f}{one.peak / 1e6:9.0f}{ratio:>10}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(*sys.argv[2:])
    else:
        main()
