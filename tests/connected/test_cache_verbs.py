"""Download caches between machines, and kept in bounds; `fetch` and `cache` as they are typed."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from airgap.errors import AirgapError, UsageError
from bundler.cli import register
from bundler.download_cache import DownloadCache
from bundler.housekeeping import DAY

PROFILE = """\
profile: 1
name: my-site
description: A Whisper
device: cpu
diarization: none
models:
- asr: tiny
"""


def run(*words: object, given: str | None = None) -> Any:
    app = typer.Typer()
    register(app)
    answer = CliRunner().invoke(app, [str(word) for word in words], input=given)
    if answer.exception and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer


@pytest.fixture
def profile(tmp_path: Path, hub: Any, whisper: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A profile whose files are in the download cache."""
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    path = tmp_path / "my-site.yaml"
    path.write_text(PROFILE)
    run("lock", path)
    run("fetch", path)
    return path


@pytest.fixture
def elsewhere(tmp_path: Path, hub: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """From here on we are on another machine, without a hub: its download cache."""

    def move() -> Path:
        monkeypatch.setenv("AIRGAP_CACHE", str(tmp_path / "other"))
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        return tmp_path / "other"

    return move  # type: ignore[return-value]


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("sha256/*/*"))


def test_a_cache_crosses_to_a_machine_without_sources(
    profile: Path, tmp_path: Path, elsewhere: Any, kit: Any
) -> None:
    assert "copied and checked" in run("fetch", profile, "--export", tmp_path / "usb").stderr
    assert len(names(tmp_path / "usb")) == 4
    other = elsewhere()
    answer = run("fetch", profile, "--import", tmp_path / "usb", "--json")
    document = json.loads(answer.stdout)
    assert document["downloaded"] == 0
    assert names(other) == sorted(document["files"]) == names(tmp_path / "usb")


def test_a_whole_cache_crosses_without_a_profile(
    profile: Path, tmp_path: Path, elsewhere: Any
) -> None:
    run("fetch", "--export", tmp_path / "usb")
    other = elsewhere()
    run("fetch", "--import", tmp_path / "usb")
    assert names(other) == names(tmp_path / "usb") == names(tmp_path / "cache")


def test_what_changed_on_the_way_is_named_and_not_taken(
    profile: Path, tmp_path: Path, elsewhere: Any
) -> None:
    run("fetch", "--export", tmp_path / "usb")
    spoilt = next((tmp_path / "usb").glob("sha256/*/*"))
    spoilt.chmod(0o644)
    spoilt.write_bytes(b"?" + spoilt.read_bytes()[1:])
    other = elsewhere()
    with pytest.raises(AirgapError, match="1 of 4 files are not what their names say") as caught:
        run("fetch", "--import", tmp_path / "usb")
    assert str(spoilt) in caught.value.message
    assert names(other) == sorted(set(names(tmp_path / "usb")) - {spoilt.name})
    assert not list(other.glob("partial/*"))


def test_a_medium_that_cannot_be_written_can_be_imported(
    profile: Path, tmp_path: Path, elsewhere: Any
) -> None:
    run("fetch", "--export", tmp_path / "usb")
    (tmp_path / "usb" / "lock").unlink(missing_ok=True)
    (tmp_path / "usb").chmod(0o555)
    elsewhere()
    run("fetch", "--import", tmp_path / "usb")
    assert not (tmp_path / "usb" / "lock").exists()
    (tmp_path / "usb").chmod(0o755)


@pytest.mark.parametrize(
    ("words", "said"),
    [((), "which profile?"), (("--import", "nowhere"), "was not made by `airgap fetch --export`")],
)
def test_a_fetch_of_nothing(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        run("fetch", *words)
    assert not (tmp_path / "cache").exists()


def test_fetch_says_which_source_served(profile: Path, tmp_path: Path, elsewhere: Any) -> None:
    document = json.loads(run("fetch", profile, "--json").stdout)
    assert document["served"] == {}
    run("cache", "clear", "--yes")
    document = json.loads(run("fetch", profile, "--json", "--quiet").stdout)
    assert set(document["served"].values()) == {"huggingface Systran/faster-whisper-tiny"}


def test_show(profile: Path, tmp_path: Path) -> None:
    told = run("cache", "show").stdout
    assert re.search(r"downloads +used since \d{4}-\d\d-\d\d +4 ", told)
    document = json.loads(run("cache", "show", "--json").stdout)
    (whole,) = document["holdings"]
    assert (document["schema"], whole["files"]) == ("airgap/cache/v1", 4)
    assert (whole["kind"], whole["state"]) == ("downloads", "checked")
    assert (document["size"], whole["place"]) == (whole["size"], str(tmp_path / "cache"))


def test_show_of_a_cache_that_is_not_there(tmp_path: Path) -> None:
    assert json.loads(run("cache", "show", "--json").stdout)["holdings"] == []
    assert not (tmp_path / "cache").exists()


def test_a_dry_run_removes_nothing(profile: Path, tmp_path: Path) -> None:
    document = json.loads(run("cache", "clear", "--dry-run", "--json").stdout)
    assert (document["dry_run"], document["files"]) == (True, 4)
    assert len(names(tmp_path / "cache")) == 4


def test_clear_asks(profile: Path, tmp_path: Path) -> None:
    assert run("cache", "clear", given="n\n").exit_code == 1
    assert len(names(tmp_path / "cache")) == 4
    assert "4 files removed" in run("cache", "clear", given="y\n").stdout
    assert names(tmp_path / "cache") == []


def test_the_key_follows_the_lock(profile: Path) -> None:
    key = run("cache", "key", profile).stdout
    assert re.fullmatch(r"airgap-my-site-[0-9a-f]{16}\n", key)
    lock = profile.with_name("my-site.lock.yaml")
    text = lock.read_text()
    lock.write_text(text.replace("sequence: 1", "sequence: 2"))
    assert run("cache", "key", profile).stdout == key, "the same files"
    digest = re.findall(r"[0-9a-f]{64}", text)[-1]
    lock.write_text(text.replace(digest, digest[::-1]))
    assert run("cache", "key", profile).stdout != key


def test_a_host_has_other_kinds(profile: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a kind of cache that this machine has") as one:
        run("cache", "clear", "hf", "--yes")
    assert one.value.hint == "airgap cache clear downloads|all"
    assert len(names(tmp_path / "cache")) == 4


def test_clear_keeps_what_was_used_lately(profile: Path, tmp_path: Path) -> None:
    cache = DownloadCache.at(tmp_path / "cache")
    old = cache.path(names(cache.root)[0])
    os.utime(old, (time.time() - 40 * DAY,) * 2)
    document = json.loads(run("cache", "clear", "--yes", "--keep-days", 30, "--json").stdout)
    assert document["files"] == 1
    assert not old.exists()
    assert len(names(cache.root)) == 3


def test_a_fetch_counts_as_use(profile: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "cache").glob("sha256/*/*"):
        os.utime(path, (time.time() - 40 * DAY,) * 2)
    run("fetch", profile)
    run("cache", "clear", "--yes", "--keep-days", 30)
    assert len(names(tmp_path / "cache")) == 4


def test_clear_takes_what_a_killed_fetch_left(profile: Path, tmp_path: Path, kit: Any) -> None:
    left = tmp_path / "cache" / "partial" / kit.sha256(b"x")
    left.write_bytes(b"half")
    left.with_name(f"{left.name}.json").write_bytes(b"{}")
    (left.parent / f"{kit.sha256(b'y')}.json.new").write_bytes(b"{}")
    run("cache", "clear", "--yes")
    assert list(left.parent.iterdir()) == []
    assert names(tmp_path / "cache") == []


def test_nothing_is_cleared_under_a_build(profile: Path, tmp_path: Path) -> None:
    cache = DownloadCache.at(tmp_path / "cache")
    with cache.used(), pytest.raises(AirgapError, match="a build or a fetch is using"):
        run("cache", "clear", "--yes")
    assert len(names(cache.root)) == 4
