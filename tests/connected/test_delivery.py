"""Volumes written once, bundles split and carried: read back, resumed, never half there."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airgap import cli, recovery, volumes
from airgap.archive import open_bundle, read_head
from airgap.errors import AirgapError, DamagedError, UsageError
from airgap.statement import Statement
from bundler import delivery, medium, shipment, volume_size
from bundler.build import WHOLE, Built, Shape, build
from bundler.lock import Lock, LockedFile, LockedModel
from bundler.medium import Medium
from bundler.profile import Profile
from bundler.sources import Access
from bundler.sources.local import Local

MIB = 1 << 20
CONTENT = random.Random(7).randbytes(5_500_000)  # noqa: S311 - no secret
NAME = "n-1.0.0.tar.zst"


@pytest.fixture
def make(tmp_path: Path, access: Access, kit: Any) -> Callable[..., Built]:
    """Build a bundle of 5.5 MB that does not shrink."""

    def make(shape: Shape = WHOLE, out: str = "out") -> Built:
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / "tokens.txt").write_bytes(CONTENT)
        profile = Profile.parse(kit.PROFILE.encode(), "p.yaml")
        file = LockedFile("tokens.txt", len(CONTENT), kit.sha256(CONTENT))
        model = LockedModel(
            *("o--m", "asr", "faster-whisper", "o/m", kit.COMMIT, "MIT", False),
            (Local("model"),),
            (file,),
        )
        lock = Lock("n", "1.0.0", 1, "2026-01-02T03:04:05Z", profile.sha256, (model,))
        return build(profile, lock, access, tmp_path / out, {}, skip_dry_load=("asr",), shape=shape)

    return make


@pytest.fixture
def whole(make: Callable[..., Built]) -> Path:
    """A bundle in one file, in its folder with its papers."""
    return make().path


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    path = tmp_path / "stick"
    path.mkdir()
    return path


def joined(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob(f"{NAME}*")))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def check(path: Path) -> None:
    with volumes.opened(path) as source:
        envelope = read_head(source)
        open_bundle(source, envelope, Statement.parse(envelope.statement)).check_contents()


def run(*words: object, capfd: pytest.CaptureFixture[str]) -> SimpleNamespace:
    capfd.readouterr()
    code = cli.run([str(word) for word in words])
    said = capfd.readouterr()
    return SimpleNamespace(code=code, out=said.out, err=said.err)


# --- building into volumes -----------------------------------------------------------------------


def test_a_build_in_volumes_is_the_whole_one_cut(make: Callable[..., Built]) -> None:
    one, split = make(), make(Shape(each=2 * MIB), "split")
    assert [path.name for path in split.files] == [f"{NAME}.001", f"{NAME}.002", f"{NAME}.003"]
    assert [path.stat().st_size for path in split.files[:2]] == [2 * MIB, 2 * MIB]
    assert joined(split.path.parent) == one.path.read_bytes()
    assert split.size == one.size
    check(split.path.parent)
    assert f"cat {NAME}.??? | tail -c" in (split.path.parent / "SIGNERS.txt").read_text()


def test_a_bundle_that_fits_is_not_split(make: Callable[..., Built]) -> None:
    built = make(Shape(each=100 * MIB))
    assert [path.name for path in built.files] == [NAME]
    check(built.path)


def test_each_byte_of_a_split_build_is_written_once(
    make: Callable[..., Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once by the packing; after that, the head alone."""
    written, real = [], os.pwrite

    def counting(descriptor: int, content: bytes, at: int) -> int:
        count = real(descriptor, content, at)
        place = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - a descriptor's
        written.append((Path(place).name, at, at + count))
        return count

    monkeypatch.setattr(os, "pwrite", counting)
    built = make(Shape(each=MIB))
    for path in built.files:
        spans = sorted((start, end) for name, start, end in written if name == path.name)
        assert [start for start, _end in spans] == [0, *[end for _start, end in spans[:-1]]]
        assert spans[-1][1] == path.stat().st_size


# --- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("fat32", 2**32 - 1),
        ("FAT32", 2**32 - 1),
        ("cd", 700_000_000),
        ("4GB", 4_000_000_000),
        ("4 GB", 4_000_000_000),
        ("4GiB", 2**32),
        ("700MiB", 700 * MIB),
        ("1048576", MIB),
        ("2000k", 2_000_000),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert volume_size.parse(text) == size


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1", "1 byte", "4 TB", "fat", "1e9", "1048575", "4Gi B"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no size|are too small"):
        volume_size.parse(text)


def test_more_volumes_than_numbers() -> None:
    volume_size.check_count(999 * MIB, MIB)
    with pytest.raises(UsageError, match="would be 1000 files"):
        volume_size.check_count(999 * MIB + 1, MIB)


# --- split ---------------------------------------------------------------------------------------


def test_split_and_joined_again(
    whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = run("split", whole, "--size", "2MiB", "--out", tmp_path / "s", capfd=capfd)
    assert said.code == 0, said.err
    folder = tmp_path / "s" / "n-1.0.0"
    assert joined(folder) == whole.read_bytes()
    assert {f"{NAME}.00{n}" for n in (1, 2, 3)} | {"manifest.json", "SIGNERS.txt"} < set(
        names(folder)
    )
    assert f"cat {NAME}.???" in (folder / "SIGNERS.txt").read_text()
    said = run("split", folder, "--size", "bd", "--out", tmp_path / "t", capfd=capfd)
    assert said.code == 0, said.err
    assert (tmp_path / "t" / "n-1.0.0" / NAME).read_bytes() == whole.read_bytes()
    assert names(tmp_path / "t" / "n-1.0.0") == names(whole.parent)


def test_a_split_overwrites_nothing(whole: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = names(whole.parent)
    out = whole.parent.parent
    said = run("split", whole, "--size", "2MiB", "--out", out, capfd=capfd)
    assert said.code == 2
    assert "is there already, and a bundle is never overwritten" in said.err
    assert names(whole.parent) == before
    assert names(out) == ["n-1.0.0"]


@pytest.mark.parametrize("at", [200, 70_000, -1])
def test_a_damaged_bundle_is_not_split(
    *, whole: Path, tmp_path: Path, at: int, capfd: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(whole.read_bytes())
    content[at] ^= 1
    whole.write_bytes(content)
    said = run("split", whole, "--size", "2MiB", "--out", tmp_path / "s", capfd=capfd)
    assert said.code == 3
    assert str(tmp_path / "s") not in said.err  # it is the bundle that is damaged
    assert names(tmp_path / "s") == []


# --- carry ---------------------------------------------------------------------------------------


def test_carried_with_its_papers(
    whole: Path, stick: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (whole.parent / "REVIEW.html").write_text("a paper that we know nothing of")
    said = run("carry", whole.parent, stick, capfd=capfd)
    assert said.code == 0, said.err
    assert "carried, and read back from the medium" in said.out
    assert names(stick) == ["n-1.0.0"]
    assert names(stick / "n-1.0.0") == names(whole.parent)
    for path in whole.parent.iterdir():
        assert (stick / "n-1.0.0" / path.name).read_bytes() == path.read_bytes()


def test_of_a_folder_with_another_name_the_bundle_alone_goes(
    whole: Path, stick: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "private.txt").write_text("mine")
    whole.rename(tmp_path / "downloads" / NAME)
    assert run("carry", tmp_path / "downloads", stick, capfd=capfd).code == 0
    assert names(stick / "n-1.0.0") == [NAME]


def test_a_second_run_writes_nothing(
    whole: Path,
    stick: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run("carry", whole, stick, capfd=capfd).code == 0
    monkeypatch.setattr(delivery, "_write_at", lambda *_all: pytest.fail("it wrote"))
    assert run("carry", whole, stick, capfd=capfd).code == 0
    check(stick / "n-1.0.0")


def test_what_rotted_on_the_medium_is_written_again(
    whole: Path, stick: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("carry", whole, stick, capfd=capfd).code == 0
    copy = stick / "n-1.0.0" / NAME
    with copy.open("r+b") as stream:
        stream.seek(3_000_000)
        stream.write(b"rotten")
    os.truncate(copy, 4_000_000)
    assert run("carry", whole, stick, capfd=capfd).code == 0
    assert copy.read_bytes() == whole.read_bytes()


def test_another_bundle_there_is_not_touched(
    whole: Path, stick: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (stick / "n-1.0.0").mkdir()
    (stick / "n-1.0.0" / NAME).write_bytes(b"another")
    said = run("carry", whole, stick, capfd=capfd)
    assert said.code == 2
    assert "is not a copy of this bundle" in said.err
    assert (stick / "n-1.0.0" / NAME).read_bytes() == b"another"
    said = run("carry", whole, whole.parent.parent, capfd=capfd)
    assert said.code == 2
    assert "is where the bundle lies" in said.err
    check(whole)


@pytest.mark.parametrize("to", ["home", "nowhere"])
def test_a_link_in_the_folders_place_is_not_followed(
    *, whole: Path, stick: Path, tmp_path: Path, to: str, capfd: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home" / "n-1.0.0"
    shutil.copytree(whole.parent, home)
    (home / "mine.tmp").touch()
    (stick / "n-1.0.0").symlink_to(home if to == "home" else tmp_path / to)
    before = names(home)
    said = run("carry", whole, stick, capfd=capfd)
    assert said.code == 2
    assert "is a link: what is written there would lie elsewhere" in said.err
    assert f"rm '{stick / 'n-1.0.0'}'" in said.err
    assert names(home) == before
    assert names(stick) == ["n-1.0.0"]


@pytest.mark.parametrize("what", ["file", "link"])
def test_what_lies_where_the_copy_is_made_is_named(
    *, whole: Path, stick: Path, tmp_path: Path, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    staging = stick / ".n-1.0.0.carrying"
    if what == "file":
        staging.touch()
    else:
        (tmp_path / "home").mkdir()
        staging.symlink_to(tmp_path / "home")
    said = run("carry", whole, stick, capfd=capfd)
    assert said.code == 1
    assert f"cannot write in '{staging}'" in said.err
    assert names(stick) == [staging.name]
    assert what == "file" or names(tmp_path / "home") == []


def test_links_in_what_was_left_are_not_followed(
    whole: Path, stick: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Between two runs the medium was elsewhere."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "mine").write_text("mine")
    staging = stick / ".n-1.0.0.carrying"
    staging.mkdir()
    (staging / ".scratch").symlink_to(home)
    (staging / NAME).symlink_to(home / "mine")
    said = run("carry", whole, stick, capfd=capfd)
    assert said.code == 1
    assert (home / "mine").read_text() == "mine"
    assert names(staging) == [NAME]
    (staging / NAME).unlink()
    assert run("carry", whole, stick, capfd=capfd).code == 0
    check(stick / "n-1.0.0")


def test_a_medium_that_fills_up_is_gone_on_with(
    whole: Path, stick: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite

    def full(descriptor: int, content: bytes, at: int) -> int:
        if at:
            raise OSError(28, "No space left on device")
        return real(descriptor, content, at)

    monkeypatch.setattr(os, "pwrite", full)
    said = run("carry", whole, stick, capfd=capfd)
    assert said.code == 1
    assert "No space left on device" in said.err
    assert "run it again: it goes on where it stopped" in said.err
    assert names(stick) == [".n-1.0.0.carrying"]
    monkeypatch.undo()
    assert run("carry", whole, stick, capfd=capfd).code == 0
    assert names(stick) == ["n-1.0.0"]
    check(stick / "n-1.0.0")


def test_a_missing_program_is_told_before_the_work(
    make: Callable[..., Built],
    stick: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = make().path
    monkeypatch.setattr(recovery.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(recovery.shutil, "which", lambda _name: None)
    monkeypatch.setattr(delivery, "_fill", lambda *_all: pytest.fail("it copied"))
    said = run("carry", whole, stick, "--recovery", "5", capfd=capfd)
    assert said.code == 2
    assert "needs a PAR2 program" in said.err
    assert names(stick) == []
    with pytest.raises(UsageError, match="needs a PAR2 program"):
        make(Shape(recovery_percent=5), "other")
    assert not (whole.parent.parent.parent / "other").exists()


@pytest.mark.parametrize("verb", ["build", "carry", "split"])
def test_checksums_name_every_file(
    *,
    make: Callable[..., Built],
    stick: Path,
    verb: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    built = make(Shape(recovery_percent=10) if verb == "build" else WHOLE)
    folder = built.path.parent
    if verb != "build":
        words = [stick] if verb == "carry" else ["--size", "2MiB", "--out", stick]
        assert run(verb, built.path, *words, "--recovery", "10", capfd=capfd).code == 0
        folder = stick / "n-1.0.0"
    assert list(folder.glob("*.par2"))
    listed = (folder / "SHA256SUMS").read_text().splitlines()[2:]
    assert sorted(line.split("  ")[1] for line in listed) == sorted(
        set(names(folder)) - {"SHA256SUMS"}
    )
    subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


def test_a_medium_that_takes_no_large_files_gets_volumes(
    make: Callable[..., Built], stick: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    built = make(Shape(recovery_percent=10))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, hard))
    try:
        said = run("carry", built.path, stick, capfd=capfd)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert said.code == 0, said.err
    assert "takes files of at most 2.1 MB: the copy is split" in said.err
    folder = stick / "n-1.0.0"
    copies = sorted(folder.glob(f"{NAME}.00?"))
    assert [path.stat().st_size for path in copies[:2]] == [2 * MIB, 2 * MIB]
    assert b"".join(path.read_bytes() for path in copies) == built.path.read_bytes()
    # The recovery data is of the copy's volumes, with as much as the bundle had.
    assert (folder / f"{NAME}.vol00+10.par2").is_file()
    assert f"cat {NAME}.???" in (folder / "SIGNERS.txt").read_text()


def test_fat32_is_known_by_the_kernels_word(
    tmp_path: Path, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        "21 1 8:1 / / rw - ext4 /dev/sda1 rw",
        rf"30 21 8:17 / {str(tmp_path).replace('/', '/', 1)} rw,nosuid - vfat /dev/sdb1 rw",
        r"31 21 8:18 / /with\040space rw - exfat /dev/sdb2 rw",
    ]
    table = tmp_path / "mountinfo"
    table.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(medium, "MOUNTS", table)
    found = Medium.below(stick)
    assert (found.mounted_at, found.kind, found.largest_file) == (tmp_path, "vfat", 2**32 - 1)
    monkeypatch.setattr(Path, "resolve", lambda _self: Path("/with space/deep"))
    assert Medium.below(stick).kind == "exfat"
    assert Medium.below(stick).largest_file is None


def test_a_full_medium_is_told_before_anything_is_written(
    whole: Path, stick: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Medium.below(stick)
    monkeypatch.setattr(Medium, "below", lambda _folder: replace(real, free=5_000_000))
    said = run("carry", whole, stick, capfd=capfd)
    assert said.code == 1
    assert "not enough space" in said.err
    assert "the copy needs 5.6 MB, and 5.0 MB are free" in said.err
    assert names(stick) == []


@pytest.mark.parametrize("beside", [None, 40])
@pytest.mark.parametrize("words", [(), ("--recovery", "20"), ("--split", "1MiB")])
def test_what_is_said_to_be_needed_is_what_is_written(
    *,
    make: Callable[..., Built],
    stick: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    beside: int | None,
    words: tuple[str, ...],
) -> None:
    """Recovery data that is made anew is counted once, with all that its files hold."""
    bundle = make(Shape(recovery_percent=beside)).path
    medium_, asked, real = Medium.below(stick), [], delivery.needed

    def noted(*all_: Any) -> int:
        asked.append(real(*all_))
        return asked[-1]

    monkeypatch.setattr(delivery, "needed", noted)
    monkeypatch.setattr(Medium, "below", lambda _folder: replace(medium_, free=0))
    assert run("carry", bundle, stick, *words, capfd=capfd).code == 1
    assert names(stick) == []
    monkeypatch.setattr(Medium, "below", lambda _folder: replace(medium_, free=asked[0]))
    said = run("carry", bundle, stick, *words, capfd=capfd)
    assert said.code == 0, said.err
    written = sum(path.stat().st_size for path in (stick / "n-1.0.0").iterdir())
    assert written <= asked[0] + 2_000  # the papers are made anew, and name other files
    assert asked[0] <= written * 1.03


def test_a_medium_that_lies_is_found_out(
    whole: Path, stick: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stick that claims more space than it has: writing works, and other bytes come back."""
    real = delivery._forget

    def lying(path: Path) -> None:
        if path.name == NAME:
            with path.open("r+b") as stream:
                stream.seek(3_000_000)
                stream.write(bytes(4096))
        real(path)

    monkeypatch.setattr(delivery, "_forget", lying)
    said = run("carry", whole, stick, capfd=capfd)
    assert said.code == 1
    assert "the medium does not give back what was written" in said.err
    assert "frame 1" in said.err
    assert not (stick / "n-1.0.0").exists()
    monkeypatch.undo()
    assert run("carry", whole, stick, capfd=capfd).code == 0
    check(stick / "n-1.0.0")


def test_a_damaged_bundle_is_not_carried(
    whole: Path, stick: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(whole.read_bytes())
    content[-2000] ^= 1
    whole.write_bytes(content)
    said = run("carry", whole, stick, capfd=capfd)
    assert said.code == 3
    assert f"'{whole}' is not what was signed" in said.err
    assert not (stick / "n-1.0.0").exists()


def test_killed_at_any_moment_nothing_is_half_there(
    whole: Path, stick: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "AIRGAP_ROOT": str(tmp_path / "root")}
    command = [sys.executable, "-m", "airgap", "carry", str(whole), str(stick), "--split", "1MiB"]
    for wanted in ("001", "004"):
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        growing = stick / ".n-1.0.0.carrying" / f"{NAME}.{wanted}"
        while process.poll() is None and not growing.exists():
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.returncode in {0, -signal.SIGKILL}
        if (stick / "n-1.0.0").exists():
            check(stick / "n-1.0.0")
            shutil.rmtree(stick / "n-1.0.0")
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert names(stick) == ["n-1.0.0"]
    volumes_ = sorted((stick / "n-1.0.0").glob(f"{NAME}.*"))
    whole_digest = hashlib.sha256(whole.read_bytes()).hexdigest()
    again = hashlib.sha256(b"".join(path.read_bytes() for path in volumes_)).hexdigest()
    assert again == whole_digest


def test_two_runs_at_once_do_not_meet(whole: Path, stick: Path) -> None:
    with (
        shipment.opened(whole, ()) as first,
        delivery._private_folder(stick, first, renew=True),
        shipment.opened(whole, ()) as second,
        pytest.raises(AirgapError, match=r"another run is writing 'n-1\.0\.0'"),
    ):
        delivery.deliver(second, stick, None, renew=True)


def test_a_link_in_the_way_is_not_followed(whole: Path, stick: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    staging = stick / ".n-1.0.0.carrying"
    staging.mkdir()
    (staging / NAME).symlink_to(tmp_path / "victim")
    with (
        shipment.opened(whole, ()) as sent,
        pytest.raises(AirgapError, match="cannot write"),
    ):
        delivery.deliver(sent, stick, None, renew=True)
    assert (tmp_path / "victim").read_text() == "mine"


def test_damage_of_the_bundle_is_its_own_error(whole: Path, stick: Path) -> None:
    os.truncate(whole, 3_000_000)
    with pytest.raises(DamagedError, match="cut short"), shipment.opened(whole, ()):
        pytest.fail("it was opened")
    assert names(stick) == []
