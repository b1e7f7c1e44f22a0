"""A file is hashed once, again when it was touched, and served only while it is what was signed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from airgap.errors import AirgapError, DamagedError
from runtime.folders import Folder
from runtime.mirror import intact, limits
from runtime.mirror.intact import Intact, Signed

CONTENT = b"the bytes that were signed\n" * 1000
FILE = Signed("tree/file", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file, in a root of its own."""
    path = tmp_path / "root" / FILE.place
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def files(path: Path) -> Iterator[Intact]:
    with Folder.at(path.parent.parent) as root:
        yield Intact(root)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An entry for each time that a file was read whole."""
    times: list[int] = []
    whole = intact._sha256

    def counted(descriptor: int) -> str:
        times.append(descriptor)
        return whole(descriptor)

    monkeypatch.setattr(intact, "_sha256", counted)
    return times


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the files had lain there for long."""
    monkeypatch.setattr(limits, "SETTLED_SECONDS", -1)


def overwrite(path: Path, content: bytes) -> None:
    """Other bytes in place, of the same size, with the old time of modification."""
    before = path.stat()
    with path.open("r+b") as stream:
        stream.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.usefixtures("settled")
def test_a_file_that_stays_is_read_once(files: Intact, read: list[int]) -> None:
    for _ in range(3):
        with files.open(FILE) as found:
            assert os.pread(found.descriptor, FILE.size, 0) == CONTENT
            assert found.unchanged
    assert len(read) == 1


@pytest.mark.usefixtures("settled")
def test_a_change_is_seen_though_its_time_is_hidden(files: Intact, path: Path) -> None:
    files.check(FILE)
    with files.open(FILE) as found:
        overwrite(path, CONTENT.upper())
        assert not found.unchanged
    for _ in range(2):
        with pytest.raises(DamagedError, match=r"expected SHA-256 .* found") as caught:
            files.check(FILE)
        assert (caught.value.rule, caught.value.exit_code) == ("mount.digest", 3)


@pytest.mark.usefixtures("settled")
def test_damage_is_read_once_as_well(files: Intact, path: Path, read: list[int]) -> None:
    overwrite(path, CONTENT.upper())
    for _ in range(3):
        with pytest.raises(DamagedError):
            files.check(FILE)
    assert len(read) == 1


@pytest.mark.usefixtures("settled")
def test_another_name_for_it_costs_one_reading(files: Intact, path: Path, read: list[int]) -> None:
    files.check(FILE)
    os.link(path, path.with_name("another"))
    files.check(FILE)
    files.check(FILE)
    assert len(read) == 2


@pytest.mark.usefixtures("settled")
def test_another_file_under_its_name_is_seen(files: Intact, path: Path) -> None:
    files.check(FILE)
    other = path.with_name("other")
    other.write_bytes(CONTENT.upper())
    other.replace(path)
    with pytest.raises(DamagedError):
        files.check(FILE)


def test_what_changed_a_moment_ago_is_not_remembered(
    files: Intact, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intact.limits, "SETTLED_SECONDS", 3600)  # however slow this machine is
    files.check(FILE)
    files.check(FILE)
    assert len(read) == 2


def test_a_time_in_the_future_is_a_settled_one(
    files: Intact, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = intact.time.time_ns()
    monkeypatch.setattr(intact.time, "time_ns", lambda: now - 3600 * 10**9)  # a clock set back
    files.check(FILE)
    files.check(FILE)
    assert len(read) == 1


@pytest.mark.usefixtures("settled")
def test_what_is_no_longer_served_is_forgotten(files: Intact, read: list[int]) -> None:
    files.check(FILE)
    files.forget_all_but({FILE.sha256})
    files.check(FILE)
    assert len(read) == 1
    files.forget_all_but(set())
    files.check(FILE)
    assert len(read) == 2


def test_a_file_that_changes_while_it_is_hashed_is_damaged(
    files: Intact, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = intact._sha256

    def disturbed(descriptor: int) -> str:
        digest = whole(descriptor)
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
        return digest

    monkeypatch.setattr(intact, "_sha256", disturbed)
    with pytest.raises(DamagedError, match="bytes that change while they are read"):
        files.check(FILE)


def test_links_and_what_is_no_file_are_refused(files: Intact, path: Path) -> None:
    path.rename(path.with_name("real"))
    path.symlink_to(path.with_name("real"))
    with pytest.raises(AirgapError, match="it is a link"):
        files.check(FILE)
    path.unlink()
    path.mkdir()
    with pytest.raises(AirgapError, match="is not a file"):
        files.check(FILE)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(AirgapError, match="is not a file"):
        files.check(FILE)
