"""Files that come through whatever servers, lines and disks do: a hub, plain HTTP, S3."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airgap.errors import AirgapError
from airgap.sink import OwnSideError
from bundler import partial
from bundler.download_cache import DownloadCache
from bundler.fetch import fetch
from bundler.lock import Lock
from bundler.sources import Access
from bundler.sources.https import Https
from bundler.sources.huggingface import HuggingFace
from bundler.sources.s3 import S3
from bundler.sources.web import Web

MakeLock = Callable[..., Lock]

SIZE = 3_000_000
CONTENT = bytes(i * 7919 % 251 for i in range(4096)) * (SIZE // 4096 + 1)
CONTENT = CONTENT[:SIZE]
FILES = {"model.bin": CONTENT}


@pytest.fixture(params=["hub", "https", "s3"])
def served(request: pytest.FixtureRequest, hub: Any, web: Any, kit: Any) -> Any:
    """A source, its server, and the script of what the server answers."""
    if request.param == "hub":
        repository = kit.HubRepository(dict(FILES))
        hub.repositories["o/m"] = repository
        return HuggingFace("o/m"), hub, repository.served
    if request.param == "s3":
        web.files.update({f"o/m/{path}": content for path, content in FILES.items()})
        return S3("o/m", "models"), web, ScriptBelow(web.served, "o/m/")
    web.files.update(FILES)
    return Https(f"{web.url}/models"), web, web.served


class ScriptBelow:
    """The script of a server, by names below a prefix."""

    def __init__(self, script: dict[str, Any], prefix: str) -> None:
        self._script, self._prefix = script, prefix

    def __setitem__(self, name: str, replies: Any) -> None:
        self._script[self._prefix + name] = replies

    def __delitem__(self, name: str) -> None:
        del self._script[self._prefix + name]


def ranges(server: Any) -> list[str]:
    return [said.get("range", "-") for said in server.headers]


def the_file(access: Access, kit: Any) -> Path:
    return access.cache.path(kit.sha256(CONTENT))


def test_a_dropped_connection_is_taken_up_where_it_broke(
    served: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    source, server, script = served
    script["model.bin"] = [kit.Reply(200, CONTENT, drop=1_500_000), kit.Reply(200, CONTENT)]
    fetched = fetch(make_lock(FILES, source), access)
    assert the_file(access, kit).read_bytes() == CONTENT
    assert ranges(server) == ["-", "bytes=1500000-"]
    assert "if-range" in server.headers[1]
    assert fetched.served == {kit.sha256(CONTENT): source.name}


def test_many_drops_are_survived_while_there_is_progress(
    served: Any, make_lock: MakeLock, access: Access, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airgap.transfer.PROGRESS", 100_000)
    source, server, script = served
    script["model.bin"] = [
        *(kit.Reply(200, CONTENT, drop=200_000) for _ in range(12)),
        kit.Reply(200, CONTENT),
    ]
    fetch(make_lock(FILES, source), access)
    assert the_file(access, kit).read_bytes() == CONTENT
    assert len(server.asked) == 13


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(
    status: int, served: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    source, server, script = served
    busy = kit.Reply(status, b"later", headers={"Retry-After": "0"})
    script["model.bin"] = [busy, busy, kit.Reply(200, CONTENT)]
    fetch(make_lock(FILES, source), access)
    assert len(server.asked) == 3


def test_a_server_that_only_fails_is_given_up_and_what_came_is_kept(
    served: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    source, server, script = served
    script["model.bin"] = [kit.Reply(200, CONTENT, drop=900_000), kit.Reply(503)]
    with pytest.raises(AirgapError, match=r"answered 503 \(tried 3 times\)") as caught:
        fetch(make_lock(FILES, source), access)
    assert caught.value.exit_code == 1
    assert len(server.asked) == 3
    assert not the_file(access, kit).exists()
    unfinished = access.cache.partial(kit.sha256(CONTENT))
    assert unfinished.read_bytes() == CONTENT[:900_000]
    assert partial.recorded(unfinished) == 900_000


def test_the_next_run_goes_on_from_there(
    served: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    source, server, script = served
    script["model.bin"] = [kit.Reply(200, CONTENT, drop=900_000), kit.Reply(503)]
    with pytest.raises(AirgapError):
        fetch(make_lock(FILES, source), access)
    del script["model.bin"]
    server.headers.clear()
    fetch(make_lock(FILES, source), replace(access, cache=DownloadCache.at(access.cache.root)))
    assert ranges(server) == ["bytes=900000-"]
    assert the_file(access, kit).read_bytes() == CONTENT
    assert list((access.cache.root / "partial").iterdir()) == []


def left_by_an_earlier_run(access: Access, content: bytes, sha256: str, kit: Any) -> Path:
    unfinished = access.cache.partial(sha256)
    unfinished.parent.mkdir(parents=True)
    unfinished.write_bytes(content)
    record = partial.Record(len(content), kit.sha256(content), None)
    unfinished.with_name(f"{sha256}.json").write_bytes(record.to_bytes())
    return unfinished


def test_bytes_behind_the_last_record_are_not_believed(
    served: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    source, server, _ = served
    unfinished = left_by_an_earlier_run(access, CONTENT[:500_000], kit.sha256(CONTENT), kit)
    with unfinished.open("ab") as stream:
        stream.write(bytes(100_000))  # as a file system leaves it after a power cut
    fetch(make_lock(FILES, source), access)
    assert ranges(server) == ["bytes=500000-"]
    assert the_file(access, kit).read_bytes() == CONTENT


@pytest.mark.parametrize("harm", ["flipped", "shorter", "no record", "torn record", "other record"])
def test_what_is_not_as_recorded_is_fetched_anew(
    *, harm: str, served: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    source, server, _ = served
    unfinished = left_by_an_earlier_run(access, CONTENT[:500_000], kit.sha256(CONTENT), kit)
    record = unfinished.with_name(f"{unfinished.name}.json")
    if harm == "flipped":
        unfinished.write_bytes(b"?" + CONTENT[1:500_000])
    elif harm == "shorter":
        unfinished.write_bytes(CONTENT[:400_000])
    elif harm == "no record":
        record.unlink()
    elif harm == "torn record":
        record.write_bytes(record.read_bytes()[:40])
    else:
        record.write_text(json.dumps({"size": -1, "sha256": "x", "origin": 3}))
    fetch(make_lock(FILES, source), access)
    assert ranges(server) == ["-"]
    assert the_file(access, kit).read_bytes() == CONTENT


def test_a_prefix_that_an_earlier_source_lied_about_is_dropped_once(
    served: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    source, server, _ = served
    left_by_an_earlier_run(access, b"!" + CONTENT[1:500_000], kit.sha256(CONTENT), kit)
    fetch(make_lock(FILES, source), access)
    assert ranges(server) == ["bytes=500000-", "-"]
    assert the_file(access, kit).read_bytes() == CONTENT


def test_a_liar_after_a_drop_does_not_spoil_what_the_next_source_serves(
    make_lock: MakeLock, access: Access, hub: Any, web: Any, kit: Any
) -> None:
    lie = bytes(SIZE)
    hub.repositories["o/m"] = kit.HubRepository(dict(FILES))
    hub.repositories["o/m"].served["model.bin"] = [
        kit.Reply(200, lie, drop=900_000),
        kit.Reply(403),
    ]
    web.files.update(FILES)
    fetched = fetch(make_lock(FILES, HuggingFace("o/m"), Https(f"{web.url}/models")), access)
    assert the_file(access, kit).read_bytes() == CONTENT
    assert list(fetched.served.values()) == [f"https {web.url.removeprefix('http://')}"]


def test_a_server_without_ranges_costs_nothing_that_is_here(
    served: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    source, server, script = served
    script["model.bin"] = [
        kit.Reply(200, CONTENT, drop=2_000_000, ranged=False),
        kit.Reply(200, CONTENT, drop=1_000_000, ranged=False),  # breaks off sooner
        kit.Reply(200, CONTENT, ranged=False),
    ]
    fetch(make_lock(FILES, source), access)
    assert the_file(access, kit).read_bytes() == CONTENT
    assert ranges(server) == ["-", "bytes=2000000-", "bytes=2000000-"]


def test_a_file_that_changed_on_the_server_is_begun_anew(
    served: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    source, server, script = served
    old = {"ETag": '"old"'}
    script["model.bin"] = [
        kit.Reply(200, bytes(SIZE), old, drop=900_000),
        kit.Reply(200, CONTENT, {"ETag": '"new"'}),
    ]
    fetch(make_lock(FILES, source), access)
    assert the_file(access, kit).read_bytes() == CONTENT
    assert ranges(server)[:2] == ["-", "bytes=900000-"]
    assert ranges(server)[-1] == "-"
    assert server.headers[1]["if-range"] == '"old"'


def test_a_server_that_sends_other_bytes_each_time_ends(
    served: Any, make_lock: MakeLock, access: Access, kit: Any, cached: Callable[[], list[str]]
) -> None:
    source, server, script = served
    script["model.bin"] = [
        kit.Reply(200, bytes([i]) * SIZE, drop=2_000_000, ranged=False) for i in range(40)
    ]
    with pytest.raises(AirgapError, match="could not be fetched"):
        fetch(make_lock(FILES, source), access)
    assert len(server.asked) < 20
    assert not the_file(access, kit).exists()


@pytest.mark.parametrize(
    ("size", "said"),
    [(SIZE + 1, "expected 3000000 bytes, it has 3000001"), (12, "3000000 bytes, it has 12")],
)
def test_a_file_of_another_length_is_refused_before_it_comes(
    *, size: int, said: str, served: Any, make_lock: MakeLock, access: Access, kit: Any,
    cached: Callable[[], list[str]],
) -> None:  # fmt: skip
    source, server, script = served
    script["model.bin"] = kit.Reply(200, bytes(size))
    with pytest.raises(AirgapError, match=said):
        fetch(make_lock(FILES, source), access)
    assert len(server.asked) == 1  # a wrong file is not asked for twice
    assert cached() == []


def test_a_page_in_place_of_the_file_is_told_and_costs_nothing(
    served: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    source, _, script = served
    page = b"\n<!DOCTYPE html><title>Log in</title>".ljust(SIZE)
    unfinished = left_by_an_earlier_run(access, CONTENT[:500_000], kit.sha256(CONTENT), kit)
    script["model.bin"] = kit.Reply(200, page, ranged=False)
    with pytest.raises(AirgapError, match="expected 3000000 bytes, found a web page") as caught:
        fetch(make_lock(FILES, source), access)
    assert "a proxy or a login stands in between" in str(caught.value.hint)
    assert unfinished.read_bytes() == CONTENT[:500_000]
    assert not the_file(access, kit).exists()


PAGES = {
    "behind a comment": (b"\n<!-- a --><!-- b --><html>Log in</html>", {}),
    "behind a prolog": (b"<?xml version='1.0'?>\n<!DOCTYPE html><html>Log in</html>", {}),
    "behind a byte order mark": (b"\xef\xbb\xbf<!doctype  html><p>Log in", {}),
    "behind a long comment": (b"<!--" + b"x" * 3000 + b"--><HTML lang=en>Log in</HTML>", {}),
    "by its type": (b"Access denied", {"Content-Type": "text/html; charset=utf-8"}),
}


@pytest.mark.parametrize(("page", "headers"), PAGES.values(), ids=PAGES)
def test_a_page_without_a_length_is_told_at_once_and_not_kept(
    *, page: bytes, headers: dict[str, str], served: Any, make_lock: MakeLock, access: Access,
    kit: Any, cached: Callable[[], list[str]],
) -> None:  # fmt: skip
    source, server, script = served
    script["model.bin"] = kit.Reply(200, page, headers, measured=False)
    with pytest.raises(AirgapError, match="expected 3000000 bytes, found a web page") as caught:
        fetch(make_lock(FILES, source), access)
    assert caught.value.exit_code == 1
    assert len(server.asked) == 1
    assert cached() == []


def test_a_page_that_comes_byte_by_byte_is_told(
    served: Any, make_lock: MakeLock, access: Access, kit: Any, cached: Callable[[], list[str]]
) -> None:
    source, _, script = served
    script["model.bin"] = kit.Reply(200, b"<!-- --><html>", measured=False, trickle=0.0)
    with pytest.raises(AirgapError, match="found a web page"):
        fetch(make_lock(FILES, source), access)
    assert cached() == []


def test_comments_without_end_are_no_way_to_keep_a_builder_busy(
    served: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    source, _, script = served
    script["model.bin"] = kit.Reply(200, b"<!---->" * 500, measured=False, ranged=False)
    with pytest.raises(AirgapError, match=r"broke off at byte 3500 of 3000000"):
        fetch(make_lock(FILES, source), access)


@pytest.mark.parametrize("measured", [True, False])
def test_a_file_that_is_called_a_page_by_mistake_is_taken(
    *, measured: bool, served: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    source, _, script = served
    kind = {"Content-Type": "text/html"}
    script["model.bin"] = kit.Reply(200, CONTENT, kind, measured=measured)
    fetch(make_lock(FILES, source), access)
    assert the_file(access, kit).read_bytes() == CONTENT


def test_a_page_that_the_lock_names_is_taken(
    make_lock: MakeLock, access: Access, web: Any, kit: Any
) -> None:
    page = b"<!doctype html><title>The model</title>"
    web.files["README.html"] = page
    kind = {"Content-Type": "text/html"}
    web.served["README.html"] = kit.Reply(200, page, kind, measured=False)
    fetch(make_lock({"README.html": page}, Https(f"{web.url}/models")), access)
    assert access.cache.path(kit.sha256(page)).read_bytes() == page


def test_wrong_bytes_are_not_kept(
    served: Any, make_lock: MakeLock, access: Access, kit: Any, cached: Callable[[], list[str]]
) -> None:
    source, _, script = served
    script["model.bin"] = kit.Reply(200, CONTENT[:-1] + b"?")
    with pytest.raises(AirgapError, match=r"expected sha256 .*, found sha256 "):
        fetch(make_lock(FILES, source), access)
    assert cached() == []


@pytest.mark.parametrize("trickle", [0.001, 2.0], ids=["a trickle", "silence"])
def test_a_stream_that_has_nearly_stopped_is_dropped(
    trickle: float, served: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    source, server, script = served
    script["model.bin"] = [kit.Reply(200, CONTENT, trickle=trickle), kit.Reply(200, CONTENT)]
    fetch(make_lock(FILES, source), replace(access, web=Web(kit.HASTY)))
    assert len(server.asked) == 2
    assert the_file(access, kit).read_bytes() == CONTENT


def test_a_range_that_was_not_asked_for_is_refused(
    served: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    source, _, script = served
    left_by_an_earlier_run(access, CONTENT[:500_000], kit.sha256(CONTENT), kit)
    span = {"Content-Range": f"bytes 7-{SIZE - 1}/{SIZE}"}
    script["model.bin"] = kit.Reply(206, CONTENT[7:], span)
    with pytest.raises(AirgapError, match="asked for byte 500000, it sends from byte 7"):
        fetch(make_lock(FILES, source), access)
    assert not the_file(access, kit).exists()


def test_two_builds_on_one_cache_take_turns(
    served: Any, make_lock: MakeLock, access: Access, kit: Any, capsys: Any
) -> None:
    source, server, script = served
    script["model.bin"] = kit.Reply(200, CONTENT)
    unfinished = access.cache.partial(kit.sha256(CONTENT))
    unfinished.parent.mkdir(parents=True)
    other = threading.Event()
    with unfinished.open("wb") as first:
        assert partial.try_lock(first.fileno())
        both = [
            threading.Thread(target=fetch, args=(make_lock(FILES, source), one))
            for one in (access, replace(access, cache=DownloadCache.at(access.cache.root)))
        ]
        for thread in both:
            thread.start()
        other.wait(2)
        assert server.asked == []  # somebody else has the file
    for thread in both:
        thread.join()
    assert the_file(access, kit).read_bytes() == CONTENT
    assert [method for method, _ in server.asked] == ["GET"]
    assert "Another build is fetching" in capsys.readouterr().err


def test_a_link_in_place_of_the_unfinished_file_is_not_followed(
    served: Any, make_lock: MakeLock, access: Access, kit: Any, tmp_path: Path
) -> None:
    source, server, _ = served
    (tmp_path / "precious").write_bytes(b"precious")
    unfinished = access.cache.partial(kit.sha256(CONTENT))
    unfinished.parent.mkdir(parents=True)
    unfinished.symlink_to(tmp_path / "precious")
    with pytest.raises(OwnSideError, match="cannot write to the download cache"):
        fetch(make_lock(FILES, source), access)
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert server.asked == []


def test_no_room_is_told_before_anything_is_asked(
    served: Any, make_lock: MakeLock, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, server, _ = served
    usage = type("Usage", (), {"free": SIZE - 1})
    monkeypatch.setattr("bundler.download_cache.shutil.disk_usage", lambda _place: usage)
    with pytest.raises(OwnSideError, match="not enough space in the download cache") as caught:
        fetch(make_lock(FILES, source), access)
    assert "AIRGAP_CACHE" in str(caught.value.hint)
    assert server.asked == []


FULL_DISK = """\
import resource, signal, sys
from pathlib import Path
from bundler.download_cache import DownloadCache
from airgap.sink import OwnSideError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
content = Path(sys.argv[2]).read_bytes()

def fill(sink):
    for at in range(sink.position, len(content), 65536):
        sink.write(content[at : at + 65536])

try:
    DownloadCache.at(Path(sys.argv[1])).keep(
        sys.argv[3], len(content), len(content), lambda units: None, fill
    )
except OwnSideError as error:
    print(error.message)
"""


def test_a_disk_that_takes_no_more_loses_nothing(
    served: Any, make_lock: MakeLock, access: Access, kit: Any, tmp_path: Path
) -> None:
    """The kernel itself refuses to write beyond a million bytes."""
    source, server, _ = served
    (tmp_path / "content").write_bytes(CONTENT)
    words = (access.cache.root, tmp_path / "content", kit.sha256(CONTENT))
    told = subprocess.run(
        [sys.executable, "-c", FULL_DISK, *words], capture_output=True, text=True, check=True
    )
    assert (
        told.stdout == f"cannot write to the download cache '{access.cache.root}': File too large\n"
    )
    assert partial.recorded(access.cache.partial(kit.sha256(CONTENT))) >= 900_000
    fetch(make_lock(FILES, source), access)
    assert the_file(access, kit).read_bytes() == CONTENT
    (asked,) = ranges(server)
    assert int(asked.removeprefix("bytes=").rstrip("-")) >= 900_000


def test_stopping_keeps_what_came(
    served: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    source, server, script = served
    busy = kit.Reply(503, headers={"Retry-After": "60"})
    script["model.bin"] = [kit.Reply(200, CONTENT, drop=900_000), busy]

    def stop_when_asked_twice() -> None:
        """Then the first answer has broken off, and the second is being waited out."""
        while len(ranges(server)) < 2:
            access.cache.stop.wait(0.01)
        access.cache.stop.set()

    stopper = threading.Thread(target=stop_when_asked_twice)
    stopper.start()
    with pytest.raises(OwnSideError, match="the fetch was stopped"):
        fetch(make_lock(FILES, source), access)
    stopper.join()
    assert partial.recorded(access.cache.partial(kit.sha256(CONTENT))) == 900_000
