"""Lock -> download cache: order of sources, liars, what stays after a failure."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airgap.errors import AirgapError, UsageError
from airgap.sink import OwnSideError
from bundler.fetch import fetch
from bundler.lock import Lock, LockedFile
from bundler.sources import Access
from bundler.sources.huggingface import Hub, HuggingFace
from bundler.sources.local import Local

MakeLock = Callable[..., Lock]
Cached = Callable[[], list[str]]

FILES = {"a.nemo": b"alpha" * 1000, "conf/b.yaml": b"beta", "empty.txt": b""}
LARGE = 3_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A local source that holds FILES."""
    place = tmp_path / "models"
    for path, content in FILES.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(content)
    return place


@pytest.fixture
def on_hub(hub: Any, kit: Any) -> Any:
    hub.repositories["o/m"] = kit.HubRepository(dict(FILES), large={"a.nemo"})
    return hub.repositories["o/m"]


def test_every_file_arrives_under_its_digest(
    *, make_lock: MakeLock, access: Access, on_hub: Any, cached: Cached, kit: Any, capsys: Any
) -> None:
    fetched = fetch(make_lock(FILES), access)
    assert cached() == sorted(kit.sha256(content) for content in FILES.values())
    for content in FILES.values():
        path = fetched.paths[kit.sha256(content)]
        assert path.read_bytes() == content
        assert path.parent.name == path.name[:2]
        assert path.stat().st_mode & 0o777 == 0o444
    assert fetched.downloaded == sum(map(len, FILES.values()))
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "Model downloaded successfully: m (o/m@01234567, 3 files, 5.0 kB) from huggingface o/m"
    ]


class Watcher:
    """Who looks at the bar."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.units = 0

    def advance(self, units: int) -> None:
        self.units += units

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_the_bar_counts_bytes_and_files(
    make_lock: MakeLock, access: Access, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Watcher()
    monkeypatch.setattr(
        "bundler.fetch.console.progress", lambda _title, _total: contextlib.nullcontext(seen)
    )
    fetch(make_lock(FILES, Local("models")), access)
    assert seen.units == sum(map(len, FILES.values()))
    assert seen.notes[-1].startswith("3/3 files, ")
    assert sorted({note.partition(" ")[0] for note in seen.notes}) == ["0/3", "1/3", "2/3", "3/3"]
    assert {note.partition(" files, ")[2] for note in seen.notes} <= {f"m/{path}" for path in FILES}


def test_what_is_there_is_not_fetched_again(
    make_lock: MakeLock, access: Access, on_hub: Any, hub: Any, capsys: Any
) -> None:
    fetch(make_lock(FILES), access)
    hub.asked.clear()
    capsys.readouterr()
    assert fetch(make_lock(FILES), access).downloaded == 0
    assert hub.asked == []
    assert "Model already in the download cache: m" in capsys.readouterr().err


def test_a_file_of_the_wrong_size_in_the_cache_is_replaced(
    make_lock: MakeLock, access: Access, on_hub: Any, kit: Any
) -> None:
    place = access.cache.path(kit.sha256(FILES["conf/b.yaml"]))
    place.parent.mkdir(parents=True)
    place.write_bytes(b"be")
    fetch(make_lock(FILES), access)
    assert place.read_bytes() == b"beta"


def test_a_link_in_the_cache_is_not_trusted(
    make_lock: MakeLock, access: Access, on_hub: Any, kit: Any, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").write_bytes(b"beta")
    place = access.cache.path(kit.sha256(b"beta"))
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / "elsewhere")
    fetch(make_lock(FILES), access)
    assert place.read_bytes() == b"beta"
    assert not place.is_symlink()


def test_a_file_that_two_models_share_is_fetched_once(
    make_lock: MakeLock, access: Access, on_hub: Any, hub: Any, capsys: Any
) -> None:
    lock = make_lock(FILES)
    lock = replace(lock, models=(*lock.models, replace(lock.models[0], id="twin")))
    fetch(lock, access)
    gets = [path for method, path in hub.asked if method == "GET"]
    assert len(gets) == len(FILES)
    assert capsys.readouterr().err.count("Model downloaded successfully") == 2


def test_sources_are_tried_in_the_order_of_the_lock(
    make_lock: MakeLock, access: Access, on_hub: Any, hub: Any, folder: Path
) -> None:
    fetch(make_lock(FILES, Local(str(folder)), HuggingFace("o/m")), access)
    assert hub.asked == []


def test_a_local_folder_is_relative_to_the_lock(
    make_lock: MakeLock, access: Access, folder: Path, cached: Cached
) -> None:
    fetch(make_lock(FILES, Local("models")), access)
    assert len(cached()) == len(FILES)


def test_the_next_source_serves_where_one_has_nothing(
    make_lock: MakeLock, access: Access, folder: Path, capsys: Any
) -> None:
    (folder / "a.nemo").rename(folder.parent / "moved")
    (folder.parent / "b").mkdir()
    (folder.parent / "moved").rename(folder.parent / "b" / "a.nemo")
    fetch(make_lock(FILES, Local("models"), Local("b")), access)
    assert capsys.readouterr().err.strip().endswith("from local b, local models")


LIES = {
    "other bytes": lambda content: content[:-1] + b"?",
    "one byte short": lambda content: content[:-1],
    "one byte more": lambda content: content + b"?",
    "nothing": lambda _: b"",
    "a page": lambda _: b"<html>Please log in</html>",
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lying_hub_is_passed_over(
    *, lie: Callable[[bytes], bytes], make_lock: MakeLock, access: Access, on_hub: Any, kit: Any,
    folder: Path, cached: Cached, capsys: Any,
) -> None:  # fmt: skip
    on_hub.served["a.nemo"] = kit.Reply(200, lie(FILES["a.nemo"]))
    fetch(make_lock(FILES, HuggingFace("o/m"), Local("models")), access)
    assert cached() == sorted(kit.sha256(content) for content in FILES.values())
    assert capsys.readouterr().err.strip().endswith("from huggingface o/m, local models")


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_where_all_lie_the_error_has_both_digests_and_the_good_files_stay(
    *, lie: Callable[[bytes], bytes], make_lock: MakeLock, access: Access, on_hub: Any, kit: Any,
    folder: Path, cached: Cached,
) -> None:  # fmt: skip
    on_hub.served["a.nemo"] = kit.Reply(200, lie(FILES["a.nemo"]))
    (folder / "a.nemo").write_bytes(FILES["a.nemo"][:-1] + b"!")
    with pytest.raises(AirgapError) as caught:
        fetch(make_lock(FILES, HuggingFace("o/m"), Local("models")), access)
    message = caught.value.message
    assert caught.value.exit_code == 1
    assert message.startswith("1 of 3 files could not be fetched; what is good stays in ")
    expected = kit.sha256(FILES["a.nemo"])
    assert f"m: 'a.nemo', sha256 {expected}" in message
    assert f"local models: expected sha256 {expected}, found sha256 " in message
    assert kit.sha256(FILES["a.nemo"][:-1] + b"!") in message
    assert "huggingface o/m: expected " in message
    assert cached() == sorted(kit.sha256(FILES[path]) for path in ("conf/b.yaml", "empty.txt"))


def test_a_short_file_is_told_by_its_size(
    make_lock: MakeLock, access: Access, folder: Path, kit: Any, cached: Cached
) -> None:
    short = FILES["a.nemo"][:-1]
    (folder / "a.nemo").write_bytes(short)
    said = rf"expected 5000 bytes, found 4999 \(sha256 {kit.sha256(short)}\)"
    with pytest.raises(AirgapError, match=said):
        fetch(make_lock({"a.nemo": FILES["a.nemo"]}, Local("models")), access)
    assert cached() == []


def test_all_failures_come_at_once_and_sorted(
    make_lock: MakeLock, access: Access, tmp_path: Path, cached: Cached
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(AirgapError, match="3 of 3 files") as caught:
        fetch(make_lock(FILES, Local("empty")), access)
    places = [caught.value.message.index(f"'{path}', sha256") for path in sorted(FILES)]
    assert places == sorted(places)
    assert cached() == []
    assert "add another source" in str(caught.value.hint)


def test_a_gated_model_names_the_page_and_the_variable(
    make_lock: MakeLock, access: Access, on_hub: Any, hub: Any, cached: Cached
) -> None:
    on_hub.gated = "auto"
    with pytest.raises(AirgapError, match="'o/m' is gated") as caught:
        fetch(make_lock(FILES), access)
    assert caught.value.hint == (
        f"accept the terms at {hub.url}/o/m and set HF_TOKEN to a token of that account"
    )
    assert cached() == []


def test_a_token_opens_what_is_gated_and_is_written_nowhere(
    *, make_lock: MakeLock, access: Access, on_hub: Any, hub: Any, kit: Any,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: Any,
) -> None:  # fmt: skip
    on_hub.gated = "auto"
    monkeypatch.setenv("HF_TOKEN", kit.GOOD_TOKEN)
    fetch(make_lock(FILES), access)
    assert all(said["authorization"] == f"Bearer {kit.GOOD_TOKEN}" for said in hub.headers)
    told = capfd.readouterr()
    assert kit.GOOD_TOKEN not in told.out + told.err
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or kit.GOOD_TOKEN.encode() not in path.read_bytes()


def test_a_token_that_is_refused_does_not_reach_the_error(
    make_lock: MakeLock, access: Access, on_hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_hub.gated = "manual"
    monkeypatch.setenv("HF_TOKEN", "hf_another-token")
    with pytest.raises(AirgapError) as caught:
        fetch(make_lock(FILES), access)
    assert "hf_another-token" not in caught.value.message + str(caught.value.hint)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ((403, {}), "the hub answered 403 for 'o/m'"),
        ((400, {}), "the hub answered 400 for 'o/m'"),
        ((404, {"X-Error-Code": "EntryNotFound"}), "'o/m' has no such file at this commit"),
        ((404, {"X-Error-Code": "RevisionNotFound"}), "'o/m' has no such revision"),
        ((404, {"X-Error-Code": "RepoNotFound"}), "'o/m' is not on the hub, or is private"),
        ((401, {}), "the hub answered 401 for 'o/m'"),
    ],
)
def test_what_the_hub_answers_is_told_in_our_words(
    *, reply: tuple[int, dict[str, str]], said: str, make_lock: MakeLock, access: Access,
    on_hub: Any, kit: Any, cached: Cached,
) -> None:  # fmt: skip
    on_hub.served["a.nemo"] = kit.Reply(reply[0], headers=reply[1])
    with pytest.raises(AirgapError, match=said):
        fetch(make_lock({"a.nemo": FILES["a.nemo"]}), access)
    assert cached() == []


def test_a_hub_that_is_not_there(make_lock: MakeLock, access: Access, cached: Cached) -> None:
    nowhere = replace(access, hub=Hub("http://user:secret@127.0.0.1:9"))
    said = r"127\.0\.0\.1:9 cannot be reached: Connection refused \(tried 3 times\)"
    with pytest.raises(AirgapError, match=said) as caught:
        fetch(make_lock(FILES), nowhere)
    assert "check the network" in str(caught.value.hint)
    assert "secret" not in caught.value.message + str(caught.value.hint)
    assert cached() == []


def test_an_incomplete_lock_is_not_fetched(
    make_lock: MakeLock, access: Access, hub: Any, cached: Cached
) -> None:
    lock = make_lock(FILES)
    files = (*lock.models[0].files, LockedFile("new.txt", 4, None))
    with pytest.raises(UsageError, match=r"m: 'new\.txt' has no sha256"):
        fetch(replace(lock, models=(replace(lock.models[0], files=files),)), access)
    assert hub.asked == []
    assert cached() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_cache_that_cannot_be_written(make_lock: MakeLock, access: Access, folder: Path) -> None:
    access.cache.root.mkdir(mode=0o555)
    with pytest.raises(OwnSideError, match="cannot write to the download cache"):
        fetch(make_lock(FILES, Local("models")), access)


def test_a_cache_whose_place_is_a_file(
    make_lock: MakeLock, access: Access, folder: Path, hub: Any
) -> None:
    access.cache.root.write_text("not a folder")
    with pytest.raises(OwnSideError, match="cannot write to the download cache") as caught:
        fetch(make_lock(FILES, Local("models"), HuggingFace("o/m")), access)
    assert "AIRGAP_CACHE" in str(caught.value.hint)
    assert hub.asked == []  # another source would not help
    assert access.cache.root.read_text() == "not a folder"


def test_a_stopped_fetch_leaves_nothing_half_written(
    make_lock: MakeLock, access: Access, folder: Path, cached: Cached
) -> None:
    access.cache.stop.set()
    with pytest.raises(OwnSideError, match="the fetch was stopped"):
        fetch(make_lock({"a.nemo": FILES["a.nemo"]}, Local("models")), access)
    assert cached() == []


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_a_local_source_reads_regular_files_only(
    kind: str, make_lock: MakeLock, access: Access, tmp_path: Path, cached: Cached
) -> None:
    (tmp_path / "odd").mkdir()
    place = tmp_path / "odd" / "a.nemo"
    place.mkdir() if kind == "folder" else os.mkfifo(place)
    with pytest.raises(AirgapError, match=r"is not a regular file|Is a directory"):
        fetch(make_lock({"a.nemo": b"x"}, Local("odd")), access)
    assert cached() == []


def test_many_files_arrive_in_parallel(
    make_lock: MakeLock, access: Access, hub: Any, kit: Any, cached: Cached
) -> None:
    files = {f"f{i}.bin": bytes([i]) * 50_000 for i in range(40)}
    hub.repositories["o/m"] = kit.HubRepository(files)
    before = threading.active_count()
    fetch(make_lock(files), access)
    assert len(cached()) == 40
    assert threading.active_count() <= before + 8  # the server's own; no worker is left
