"""A disk that is filled by what comes: that is kept, and the folder that is full is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airgap.sink import OwnSideError
from bundler.download_cache import DownloadCache
from bundler.exchange import copy_files

SIZE = 5_000_000

FILLER = """\
import json, subprocess, sys
from pathlib import Path
from airgap.errors import AirgapError
from bundler.download_cache import DownloadCache
from bundler.exchange import copy_files
from bundler.fetch import fetch
from bundler.lock import Lock, LockedFile, LockedModel
from bundler.sources import Access
from bundler.sources.https import Https
from bundler.sources.huggingface import Hub
from bundler.sources.pypi import Index

DownloadCache.check_room = lambda *_files: None  # another program took the space after that
wanted = json.loads(sys.argv[1])
files = tuple(LockedFile(path, size, sha256) for path, size, sha256 in wanted["files"])
source = (Https(wanted["url"]),)
model = LockedModel("m", "vad", "nemo", "o/m", "0" * 40, "MIT", False, source, files)
lock = Lock("n", "1.0.0", 1, "2026-01-02T03:04:05Z", "0" * 64, (model,))

def run():
    place = Path("/mnt/cache")
    cache = DownloadCache.exported(place) if wanted["how"] == "export" else DownloadCache.at(place)
    said = {}
    try:
        if wanted["how"] == "fetch":
            fetch(lock, Access(Hub(), Index("http://127.0.0.1:9/"), cache, Path()))
        else:
            origin = DownloadCache.at(Path(wanted["from"]))
            copy_files(origin, cache, [one.sha256 for one in files])
    except AirgapError as error:
        said = {"message": error.message, "hint": error.hint}
    begun = sorted(one.size - cache.missing_bytes(one.sha256, one.size) for one in files)
    print(json.dumps({**said, "begun": begun, "whole": cache.digests()}))

subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", "/mnt"], check=True)
run()
subprocess.run(["mount", "-o", "remount,size=40m", "/mnt"], check=True)
run()
"""


@pytest.fixture
def files(web: Any) -> dict[str, bytes]:
    found = {f"{i}.bin": os.urandom(SIZE) for i in range(3)}
    web.files.update(found)
    return found


def in_small_space(how: str, files: dict[str, bytes], web: Any, kit: Any, source: Path) -> Any:
    """What is said on a full disk, and by the next run once it has been made larger."""
    wanted = {
        "how": how,
        "url": f"{web.url}/models",
        "from": str(source),
        "files": [[path, len(one), kit.sha256(one)] for path, one in files.items()],
    }
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", FILLER, json.dumps(wanted)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare failed" in done.stderr or "must be superuser" in done.stderr:
        pytest.skip("needs a mount namespace: run as root")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_fetch_that_fills_the_disk_keeps_what_came(
    files: dict[str, bytes], web: Any, kit: Any, tmp_path: Path
) -> None:
    full, larger = in_small_space("fetch", files, web, kit, tmp_path)
    assert full["message"] == (
        "cannot write to the download cache '/mnt/cache': No space left on device"
    )
    assert full["hint"] == (
        "free some space there, or set AIRGAP_CACHE to a folder on a larger disk; "
        "the next run goes on from here"
    )
    begun = [size for size in full["begun"] if size]
    assert sum(begun) + SIZE * len(full["whole"]) > 5_000_000  # of 8 MB, less a last piece of each
    assert begun
    asked = sorted(
        int(said["range"].removeprefix("bytes=").rstrip("-"))
        for said in web.headers
        if "range" in said
    )
    assert asked == begun
    assert "message" not in larger
    assert larger["whole"] == sorted(kit.sha256(one) for one in files.values())


def exported(files: dict[str, bytes], kit: Any, root: Path) -> DownloadCache:
    cache = DownloadCache.at(root)
    for content in files.values():
        place = cache.path(kit.sha256(content))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return cache


@pytest.mark.parametrize(
    ("how", "told", "elsewhere"),
    [
        ("import", "the download cache '/mnt/cache'", "set AIRGAP_CACHE to"),
        ("export", "'/mnt/cache'", "--export to"),
    ],
)
def test_a_copy_that_fills_the_disk_names_it_and_goes_on(
    *, how: str, told: str, elsewhere: str, files: dict[str, bytes], web: Any, kit: Any,
    tmp_path: Path,
) -> None:  # fmt: skip
    source = exported(files, kit, tmp_path / "source")
    full, larger = in_small_space(how, files, web, kit, source.root)
    assert full["message"] == f"cannot write to {told}: No space left on device"
    assert full["hint"] == (
        f"free some space there, or {elsewhere} a folder on a larger disk; "
        "the next run goes on from here"
    )
    assert len(full["whole"]) == 1
    assert 1_000_000 < max(full["begun"]) < SIZE
    assert "message" not in larger
    assert larger["whole"] == source.digests()


def test_a_medium_without_room_is_told_before_the_first_byte(
    files: dict[str, bytes], kit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = exported(files, kit, tmp_path / "source")
    usage = type("Usage", (), {"free": 3 * SIZE - 1})
    monkeypatch.setattr("bundler.download_cache.shutil.disk_usage", lambda _place: usage)
    usb = tmp_path / "usb"
    with pytest.raises(OwnSideError) as caught:
        copy_files(source, DownloadCache.exported(usb), source.digests())
    assert caught.value.exit_code == 1
    assert caught.value.message == (
        f"not enough space in '{usb}': 15.0 MB are to come, and 15.0 MB are free"
    )
    assert caught.value.hint == "free some space there, or --export to a folder on a larger disk"
    assert not usb.exists()
