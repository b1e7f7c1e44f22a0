"""SIGKILL at any moment: nothing lost, nothing wrong kept."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from airgap.digest import sha256_file
from bundler import partial
from bundler.download_cache import DownloadCache

KILLS = 100
SIZES = (6_000_000, 2_500_000, 900_000, 40_000, 0)

FETCHER = """\
import json, os, sys
from pathlib import Path

import requests
import airgap.sink
from bundler.download_cache import DownloadCache
from bundler.fetch import fetch
from bundler.lock import Lock, LockedFile, LockedModel
from bundler.sources import Access
from bundler.sources.https import Https
from bundler.sources.huggingface import Hub
from bundler.sources.pypi import Index

airgap.sink.CHECKPOINT = 400_000
wanted = json.loads(sys.argv[1])
files = tuple(LockedFile(path, size, sha256) for path, size, sha256 in wanted["files"])
model = LockedModel(
    "m", "vad", "nemo", "o/m", "0" * 40, "MIT", False, (Https(wanted["url"]),), files
)
lock = Lock("n", "1.0.0", 1, "2026-01-02T03:04:05Z", "0" * 64, (model,))
for _line in sys.stdin:
    child = os.fork()  # everything is imported: what is killed is the fetch, not Python's start
    if not child:
        cache = DownloadCache.at(Path(wanted["cache"]))
        fetch(lock, Access(Hub(), Index("http://127.0.0.1:9/"), cache, Path()))
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def check_invariants(cache: DownloadCache, files: dict[str, bytes]) -> None:
    """What holds whenever somebody looks: right files, honest records, and nothing else."""
    by_digest = {hashlib.sha256(content).hexdigest(): content for content in files.values()}
    for path in cache.root.rglob("*"):
        if not path.is_file() or path.name == "lock":
            continue
        name = path.name.partition(".")[0]
        assert name in by_digest, path
        if path.parent.name == "partial":
            if path.name == name:
                recorded = partial.recorded(path)
                content = path.read_bytes()
                assert content[:recorded] == by_digest[name][:recorded]
            else:
                assert path.name in {f"{name}.json", f"{name}.json.new"}
        else:
            assert path.name == name
            assert sha256_file(path) == name


@pytest.mark.heavy
def test_a_hundred_kills_lose_nothing(web: Any, kit: Any, tmp_path: Path) -> None:
    chance = random.Random(6)  # noqa: S311 - moments, not secrets
    files = {f"{i}.bin": chance.randbytes(size) for i, size in enumerate(SIZES)}
    cache = DownloadCache.at(tmp_path / "cache")
    web.files.update(files)
    wanted = {
        "url": f"{web.url}/models",
        "cache": str(cache.root),
        "files": [[path, len(one), kit.sha256(one)] for path, one in files.items()],
    }
    whole_run = 0.2
    furthest = kills = 0
    with subprocess.Popen(
        [sys.executable, "-c", FETCHER, json.dumps(wanted)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as fetcher:
        assert fetcher.stdin
        assert fetcher.stdout
        while kills < KILLS:
            fetcher.stdin.write("\n")
            fetcher.stdin.flush()
            child = int(fetcher.stdout.readline())
            time.sleep(chance.uniform(0, whole_run))
            with suppress(ProcessLookupError):  # it was faster; how it ended is read below
                os.kill(child, 9)
            status = int(fetcher.stdout.readline())
            check_invariants(cache, files)
            if os.WIFSIGNALED(status):
                kills += 1
                held = sum(
                    partial.recorded(one)
                    for one in cache.root.glob("partial/*")
                    if "." not in one.name
                )
                held += sum(one.stat().st_size for one in cache.root.glob("sha256/*/*"))
                assert held >= furthest, "a kill lost what was recorded"
                furthest = held
            else:
                assert status == 0
                furthest = 0
                for one in sorted(cache.root.glob("sha256/*/*")):
                    one.unlink()
        fetcher.stdin.write("\n")
        fetcher.stdin.flush()
        fetcher.stdout.readline()
        assert int(fetcher.stdout.readline()) == 0
        fetcher.stdin.close()
    check_invariants(cache, files)
    assert {one.name for one in cache.root.glob("sha256/*/*")} == {
        kit.sha256(c) for c in files.values()
    }
    assert not [one for one in cache.root.glob("partial/*") if "." not in one.name]
    assert any("range" in said for said in web.headers), "no run ever went on where one was killed"
