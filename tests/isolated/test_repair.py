"""Repair of real damage by a real PAR2 program, confined; what it makes is not trusted."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from airgap import archive, confined, limits, recovery, repair, survey, volume_names
from airgap.envelope import Envelope
from airgap.errors import AirgapError, UsageError
from airgap.statement import Statement

SIZE = 2_000_000
MODEL = "hf/hub/models--org--name/snapshots/0d3d19a32d3338f10357c0889762bd8d64bbdeba/model.bin"


@pytest.fixture
def split(bundle, tmp_path):
    """The bundle in three volumes with recovery data of 50 %, in a folder of its own."""
    return with_recovery(bundle, tmp_path / "split", SIZE, 50)


def with_recovery(bundle, folder, size, percent):
    folder.mkdir()
    data = bundle.read_bytes()
    if size is None:
        (folder / bundle.name).write_bytes(data)
    else:
        for number, at in enumerate(range(0, len(data), size), start=1):
            (folder / f"{bundle.name}.{number:03}").write_bytes(data[at : at + size])
    recovery.make(volume_names.locate(folder), percent)
    return folder


def flip(path, at):
    with path.open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)[0]
        stream.seek(at)
        stream.write(bytes([byte ^ 1]))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def swap(volumes):
    aside = volumes[0].with_name("x")
    volumes[0].rename(aside)
    volumes[1].rename(volumes[0])
    aside.rename(volumes[1])


def damage_statement(volumes):
    """Canonical, and of no kind that we know."""
    head = Envelope.from_head(volumes[0].read_bytes()[: limits.HEAD_SLOT])
    other = head.statement.replace(b'"frames":', b'"framez":')
    with volumes[0].open("r+b") as stream:
        stream.write(Envelope(other, head.signatures).to_head())


def damage_manifest(volumes):
    head = Envelope.from_head(volumes[0].read_bytes()[: limits.HEAD_SLOT])
    flip(volumes[0], archive.frames_start(Statement.parse(head.statement)) + 20)


def several(*damages):
    return lambda volumes: [one(volumes) for one in damages]


def flipped(number, at):
    return lambda volumes: flip(volumes[number - 1], at)


def short(number, size):
    return lambda volumes: os.truncate(volumes[number - 1], size)


def gone(*numbers):
    return lambda volumes: [volumes[number - 1].unlink() for number in numbers]


DAMAGES = {
    "a flipped bit": flipped(2, 1_000_000),
    "a damaged head": flipped(1, 100),
    "no bundle's head": flipped(1, 1),
    "a damaged statement": damage_statement,
    "a damaged table": flipped(1, 65_600),
    "a damaged manifest": damage_manifest,
    "a volume cut short": short(1, 1_500_000),
    "the last volume gone": gone(3),
    "a volume gone": gone(2),
    "one gone, one cut short": several(gone(2), short(3, 1000)),
    "a damaged head, one gone": several(flipped(1, 100), gone(2)),
    "the first and another gone": gone(1, 2),
    "swapped volumes": swap,
}


def damage(split, how):
    DAMAGES[how](sorted(split.glob("*.00?")))


@pytest.mark.parametrize(
    "how",
    [
        "a flipped bit",
        "a damaged head",
        "a damaged table",
        "a volume cut short",
        "the last volume gone",
        "a volume gone",
        "swapped volumes",
    ],
)
def test_damage_is_mended_in_place(host, split, how):
    before = contents(split)
    damage(split, how)
    assert host.airgap("verify", split).code == 3
    said = host.airgap("repair", split)
    assert said.code == 0, said.err
    assert "ward-1.0.0: verified" in said.out
    assert "repaired" in said.out
    assert contents(split) == before


def test_the_index_is_not_needed(host, split):
    damage(split, "a flipped bit")
    next(split.glob("*.tar.zst.par2")).unlink()
    said = host.airgap("repair", split)
    assert said.code == 0, said.err


def test_a_bundle_in_one_file(host, bundle, tmp_path):
    folder = with_recovery(bundle, tmp_path / "one", None, 10)
    flip(folder / bundle.name, -1_000_000 + bundle.stat().st_size)
    said = host.airgap("repair", folder, "--json")
    assert said.code == 0, said.err
    assert said.document["authenticated"] is True
    assert said.document["repaired"] == [str(folder / bundle.name)]
    (where,) = said.document["damaged"]
    assert where["file"] == bundle.name
    assert where["start"] <= bundle.stat().st_size - 1_000_000 <= where["end"]
    assert (folder / bundle.name).read_bytes() == bundle.read_bytes()


def test_into_another_folder_where_the_medium_is_write_protected(host, split, tmp_path):
    damage(split, "a flipped bit")
    before = contents(split)
    said = host.airgap("repair", split, "--out", tmp_path / "mended")
    assert said.code == 0, said.err
    assert contents(split) == before
    assert [one.name for one in (tmp_path / "mended").iterdir()] == ["bundle"]
    assert host.airgap("verify", tmp_path / "mended" / "bundle").code == 0
    said = host.airgap("repair", split, "--out", tmp_path / "mended")
    assert said.code == 2
    assert "is there already" in said.err


def test_nothing_to_repair(host, split):
    before = contents(split)
    said = host.airgap("repair", split)
    assert said.code == 0
    assert said.out == "ward-1.0.0: verified\n"
    assert contents(split) == before


def test_without_recovery_data_it_says_what_to_copy_again(host, split, snapshot):
    for path in split.glob("*.par2"):
        path.unlink()
    damage(split, "a flipped bit")
    before = snapshot(split)
    said = host.airgap("repair", split)
    assert said.code == 3
    assert "there is no recovery data: bundle.tar.zst.001, bytes " in said.err
    assert "next: copy again: bundle.tar.zst.001, bundle.tar.zst.002" in said.err
    assert snapshot(split) == before


@pytest.mark.parametrize(
    ("how", "rule", "said", "again"),
    [
        ("a damaged head", "head.form", "is damaged or forged", ["001"]),
        ("no bundle's head", "head.magic", "is no airgap bundle", ["001"]),
        ("a damaged statement", "statement.form", "is no statement about a bundle", ["001"]),
        ("a damaged table", "archive.digest", "the table of frames", ["001"]),
        ("a damaged manifest", "archive.digest", "frame 0, which holds the manifest", ["001"]),
        ("a volume cut short", "volumes.size", "001' has 1500000 bytes", ["001"]),
        ("a volume gone", "volumes.missing", "'bundle.tar.zst.002'", ["002"]),
        ("the last volume gone", "volumes.missing", "'bundle.tar.zst.003'", ["003"]),
        ("one gone, one cut short", "volumes.size", "missing in", ["002", "003"]),
        ("a damaged head, one gone", "head.form", "'bundle.tar.zst.002'", ["001", "002"]),
        ("the first and another gone", "volumes.missing", "'bundle.tar.zst.002'", ["001", "002"]),
    ],
)
def test_without_recovery_data_every_volume_to_copy_again_is_named(
    *, host, split, snapshot, how, rule, said, again
):
    for path in split.glob("*.par2"):
        path.unlink()
    damage(split, how)
    before = snapshot(split)
    done = host.airgap("repair", split, "--json")
    assert done.code == 3
    assert done.document["rule"] == rule
    assert said in done.err
    advice = done.document["hint"]
    named = {number for number in ("001", "002", "003") if f"tar.zst.{number}" in advice}
    assert named == set(again), advice
    assert snapshot(split) == before


def test_a_damaged_volume_beside_a_missing_one_is_named(host, write, tmp_path):
    """The frames around the gap say nothing against the volumes that are there."""
    folder = tmp_path / "six"
    folder.mkdir()
    data = write("six", contents={MODEL: os.urandom(40_000_000)}).read_bytes()
    for number, at in enumerate(range(0, len(data), 7_000_000), start=1):
        (folder / f"six.tar.zst.{number:03}").write_bytes(data[at : at + 7_000_000])
    paths = sorted(folder.iterdir())
    assert len(paths) == 6
    paths[1].unlink()
    flip(paths[4], 3_500_000)
    os.truncate(paths[5], 1000)
    said = host.airgap("repair", folder)
    assert said.code == 3
    assert "next: copy again: six.tar.zst.002, six.tar.zst.005, six.tar.zst.006\n" in said.err
    assert "six.tar.zst.005, bytes " in said.err


@pytest.mark.parametrize(
    "how", ["a flipped bit", "a damaged table", "a volume gone", "a volume cut short"]
)
def test_what_is_left_over_from_another_cut_does_not_hinder(host, split, tmp_path, how):
    """It is not copied along; where it lies it stays, and is named until someone takes it away."""
    before = contents(split)
    stale = split / "bundle.tar.zst.004"
    stale.write_bytes(bytes(SIZE))
    damage(split, how)
    said = host.airgap("repair", split, "--out", tmp_path / "mended")
    assert said.code == 0, said.err
    made = {path.name for path in (tmp_path / "mended" / "bundle").iterdir()}
    assert made == {f"bundle.tar.zst.00{number}" for number in (1, 2, 3)}
    said = host.airgap("repair", split)
    assert said.code == 3
    assert "ends in volume 3, and there are more: 'bundle.tar.zst.004'" in said.err
    assert "next: take 'bundle.tar.zst.004' away" in said.err
    assert ".tmp" not in said.err
    assert contents(split) == {**before, stale.name: bytes(SIZE)}
    stale.unlink()
    assert host.airgap("verify", split).code == 0


def test_a_sound_bundle_with_a_volume_too_many_is_not_called_damaged(host, split, snapshot):
    (split / "bundle.tar.zst.004").write_bytes(bytes(SIZE))
    before = snapshot(split)
    said = host.airgap("repair", split, "--json")
    assert said.code == 3
    assert said.document["rule"] == "volumes.extra"
    assert "damaged" not in said.err
    assert "take bundle.tar.zst.004 away" in said.document["hint"]
    assert snapshot(split) == before


def test_a_set_over_two_folders_is_refused_before_the_work(host, split, tmp_path, monkeypatch):
    damage(split, "a flipped bit")
    (tmp_path / "b").mkdir()
    (split / "bundle.tar.zst.003").rename(tmp_path / "b" / "bundle.tar.zst.003")
    worked = []
    monkeypatch.setattr(repair, "rebuild", lambda *all_: worked.append(all_))
    said = host.airgap("repair", split, "--also", tmp_path / "b")
    assert said.code == 2
    assert "spread over several folders is not repaired in place" in said.err
    assert "next: name a folder for the repaired one: --out FOLDER" in said.err
    assert worked == []


def test_a_set_over_two_folders_is_repaired_into_a_third(host, split, tmp_path):
    damage(split, "a flipped bit")
    (tmp_path / "b").mkdir()
    (split / "bundle.tar.zst.003").rename(tmp_path / "b" / "bundle.tar.zst.003")
    said = host.airgap("repair", split, "--also", tmp_path / "b", "--out", tmp_path / "c")
    assert said.code == 0, said.err


def test_a_medium_that_cannot_be_written_is_told_with_the_way_round(
    host, split, tmp_path, monkeypatch
):
    real = tempfile.mkdtemp

    def read_only(**how):
        if Path(how["dir"]).resolve() == split.resolve():
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(**how)

    damage(split, "a flipped bit")
    monkeypatch.setattr(recovery.tempfile, "mkdtemp", read_only)
    said = host.airgap("repair", split)
    assert said.code == 1
    assert f"cannot write in '{split}': Read-only file system" in said.err
    assert "next: --out FOLDER, where it can be written" in said.err
    assert host.airgap("repair", split, "--out", tmp_path / "mended").code == 0


def test_too_much_damage_is_refused_and_nothing_changes(host, split, snapshot):
    damage(split, "a volume gone")
    damage_all = sorted(split.glob("*.00?"))
    os.truncate(damage_all[0], 100_000)
    before = snapshot(split)
    said = host.airgap("repair", split, "--json")
    assert said.code == 3
    assert "than its recovery data can mend" in said.err
    assert said.document["rule"] == "recovery.insufficient"
    assert "bundle.tar.zst.002" in said.err
    assert snapshot(split) == before


def test_damaged_recovery_data_is_refused(host, split, snapshot):
    damage(split, "a flipped bit")
    for path in split.glob("*.par2"):
        path.write_bytes(b"\0" * 5000)
    before = snapshot(split)
    said = host.airgap("repair", split, "--json")
    assert said.code == 3
    assert said.document["rule"] == "recovery.damaged"
    assert snapshot(split) == before


def test_on_a_machine_without_trust_it_is_not_called_authentic(host, split, tmp_path):
    damage(split, "a flipped bit")
    said = host.airgap("repair", split, "--root", tmp_path / "nobody")
    assert said.code == 4
    assert "NOT AUTHENTICATED" in said.out
    assert not (tmp_path / "nobody").exists()


def test_recovery_data_of_a_strangers_bundle_ends_in_a_refusal(host, write, split, bob, tmp_path):
    """Whoever brings the recovery data decides what comes out; the verdict decides about that."""
    strange = with_recovery(write("strange", people=(bob,)), tmp_path / "strange", SIZE, 50)
    for path in list(strange.iterdir()):
        path.rename(strange / path.name.replace("strange", "bundle"))
    damage(split, "a flipped bit")
    for path in split.glob("*.par2"):
        path.unlink()
    for path in strange.glob("*.par2"):
        shutil.copyfile(path, split / path.name)
    before = contents(split)
    said = host.airgap("repair", split)
    assert said.code == 3
    assert contents(split) == before


def test_recovery_data_that_names_other_files_is_refused(host, bundle, tmp_path, snapshot):
    """It lists a file that is not the bundle's: made by the real program, over one more file."""
    folder = with_recovery(bundle, tmp_path / "one", None, 10)
    for path in folder.glob("*.par2"):
        path.unlink()
    (folder / "evil").write_bytes(b"evil" * 100)
    program = [str(recovery.program()), "create", "-q", "-q", f"-B{folder}", "-b100", "-c60"]
    index = folder / f"{bundle.name}.par2"
    files = [str(folder / bundle.name), str(folder / "evil")]
    subprocess.run([*program, f"-a{index}", "--", *files], check=True)
    (folder / "evil").unlink()
    flip(folder / bundle.name, 2_000_000)
    before = snapshot(folder)
    said = host.airgap("repair", folder)
    assert said.code == 3
    assert "makes files that are not its: 'evil'" in said.err
    assert snapshot(folder) == before


def test_signing_makes_recovery_data_anew(host, split):
    """That of the old head would take the signature away again."""
    assert host.airgap("keygen", "carol", "--unencrypted").code == 0
    names = {path.name for path in split.glob("*.par2")}
    assert host.airgap("sign", split, "--key", "carol").code == 0
    assert names == {path.name for path in split.glob("*.par2")}
    signed = contents(split)
    damage(split, "a damaged head")
    said = host.airgap("repair", split)
    assert said.code == 0, said.err
    assert contents(split) == signed


def test_a_signature_is_kept_whose_recovery_data_was_not_made(host, split):
    """Signing was killed between the two: the recovery data still knows the old head."""
    assert host.airgap("keygen", "carol", "--unencrypted").code == 0
    old = {path: path.read_bytes() for path in split.glob("*.par2")}
    assert host.airgap("sign", split, "--key", "carol").code == 0
    signed = {path: path.read_bytes() for path in split.glob("*.00?")}
    for path, content in old.items():
        path.write_bytes(content)
    damage(split, "a flipped bit")
    said = host.airgap("repair", split)
    assert said.code == 0, said.err
    assert {path: path.read_bytes() for path in signed} == signed


def test_checksums_name_the_recovery_data(host, split):
    assert host.airgap("keygen", "carol", "--unencrypted").code == 0
    assert host.airgap("sign", split, "--key", "carol").code == 0
    listed = [line.split("  ")[1] for line in (split / "SHA256SUMS").read_text().splitlines()[2:]]
    assert {path.name for path in split.iterdir()} - set(listed) == {"SHA256SUMS"}
    subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"], cwd=split, check=True)


def test_checksums_are_written_where_recovery_data_cannot_be(host, split, tmp_path):
    assert host.airgap("keygen", "carol", "--unencrypted").code == 0
    (tmp_path / "b").mkdir()
    volume = next(split.glob("*.003"))
    volume.rename(tmp_path / "b" / volume.name)
    said = host.airgap("sign", split, "--also", tmp_path / "b", "--key", "carol")
    assert said.code == 1
    assert "is signed; but its recovery data is still that of the unsigned one" in said.err
    assert "carol" in (split / "SIGNERS.txt").read_text()


@pytest.mark.parametrize("name", ["vol0+99999999999999999999.par2", "vol1+150.par2"])
def test_the_name_of_a_file_asks_for_no_more_than_the_whole(split, name):
    """Names of files come from the medium: `sign` would make as much as they say."""
    (split / f"bundle.tar.zst.{name}").touch()
    assert recovery.percent_beside(volume_names.locate(split)) == 100


def test_a_pipe_in_a_volumes_place_is_replaced(host, split):
    before = contents(split)
    volume = next(split.glob("*.002"))
    volume.unlink()
    os.mkfifo(volume)
    said = host.airgap("repair", split)
    assert said.code == 0, said.err
    assert contents(split) == before


def test_what_could_be_read_the_second_time_is_not_replaced(host, split, monkeypatch):
    real, failed = os.preadv, []

    def failing(descriptor, buffers, at):
        if at and not failed:
            failed.append(at)
            raise OSError(5, "Input/output error")
        return real(descriptor, buffers, at)

    before = contents(split)
    monkeypatch.setattr(os, "preadv", failing)
    said = host.airgap("repair", split)
    assert said.code == 0, said.err
    assert failed
    assert said.out == "ward-1.0.0: verified\n"
    assert contents(split) == before


def test_the_same_bundle_gives_the_same_recovery_data(split):
    before = contents(split)
    recovery.renew(volume_names.locate(split))
    assert contents(split) == before


@pytest.mark.parametrize("percent", [1, 7, 100])
def test_the_amount_is_found_again(bundle, tmp_path, percent):
    folder = with_recovery(bundle, tmp_path / "p", SIZE, percent)
    assert recovery.percent_beside(volume_names.locate(folder)) == percent


@pytest.mark.parametrize(
    ("size", "each", "percent"),
    [
        (100_000, 100_000, 30),
        (5_000_000, 5_000_000, 5),
        (5_000_000, 300_000, 100),
        (34_000_000, 34_000_000, 1),
        (34_000_000, 2_000_000, 30),
    ],
)
def test_the_size_of_recovery_data_is_known_before(*, tmp_path, size, each, percent):
    """Its packets are half of it where there is little of it."""
    data = os.urandom(size)
    pieces = [data[at : at + each] for at in range(0, size, each)]
    for number, piece in enumerate(pieces, start=1):
        (tmp_path / f"x.tar.zst.{number:03}").write_bytes(piece)
    recovery.make(volume_names.locate(tmp_path), percent)
    made = sum(path.stat().st_size for path in tmp_path.glob("*.par2"))
    said = recovery.size_at_most([len(piece) for piece in pieces], percent)
    assert made <= said <= made * 1.1


def test_no_recovery_data_over_several_folders(split, tmp_path):
    (tmp_path / "b").mkdir()
    volume = next(split.glob("*.003"))
    volume.rename(tmp_path / "b" / volume.name)
    with pytest.raises(UsageError, match="spread over several"):
        recovery.make(volume_names.locate(split, [tmp_path / "b"]), 5)


def test_a_sector_that_cannot_be_read_is_left_out(split, host, monkeypatch):
    """A failing stick gives an error for one place and the rest all the same."""
    real, bad = os.pread, 1_234_567

    def failing(descriptor, size, at):
        name = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - a descriptor's
        if name.endswith(".002") and ".tmp/" not in name and at <= bad < at + size:
            raise OSError(5, "Input/output error")
        return real(descriptor, size, at)

    damage(split, "a flipped bit")
    monkeypatch.setattr(os, "pread", failing)
    said = host.airgap("repair", split)
    assert said.code == 0, said.err


# --- the confinement -----------------------------------------------------------------------------


def confined_python(tmp_path, code, most=1 << 20):
    """Run Python as the confined program; the venv's prefix is a place that it may read."""
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    script = scratch / "script.py"
    script.write_text(code)
    program = Path(sys.executable).resolve()
    prefix = Path(sys.base_prefix)
    return confined.run(program, ["-I", "-S", str(script)], scratch, prefix, most)


def test_it_writes_into_its_scratch_folder(tmp_path):
    assert confined_python(tmp_path, "open('inside', 'w').write('x')") == 0
    assert (tmp_path / "scratch" / "inside").read_text() == "x"


@pytest.mark.parametrize(
    "code",
    [
        "open({outside!r} + '/new', 'w')",
        "open({outside!r} + '/there', 'r+')",
        "open({outside!r} + '/there')",
        "import os; os.truncate({outside!r} + '/there', 0)",
        "import os; os.unlink({outside!r} + '/there')",
        "import os; os.rename({outside!r} + '/there', 'mine')",
        "import os; os.link({outside!r} + '/there', 'mine')",
        "import os; os.mkdir({outside!r} + '/folder')",
        "import os; os.symlink({outside!r} + '/there', 'link'); open('link', 'w')",
        "open('large', 'wb').write(bytes(2 << 20))",
    ],
)
def test_nothing_outside_is_written_or_read(tmp_path, code):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "there").write_text("mine")
    assert confined_python(tmp_path, code.format(outside=str(outside))) == 1
    assert contents(outside) == {"there": b"mine"}


def test_it_connects_to_nothing(tmp_path):
    code = "import socket; socket.create_connection(('127.0.0.1', 1), 1)"
    script = f"""
try:
    {code}
except PermissionError:
    raise SystemExit(7)
"""
    assert confined_python(tmp_path, script) == 7


def test_what_cannot_be_confined_is_not_run(tmp_path):
    with pytest.raises(AirgapError, match="cannot be confined here") as caught:
        confined.run(Path("/bin/true"), [], tmp_path, tmp_path / "no such folder", 1)
    assert "Landlock" in caught.value.hint


def test_a_repair_that_does_not_fit_is_told_before_it_starts(host, split, monkeypatch, snapshot):
    damage(split, "a flipped bit")
    before = snapshot(split)
    monkeypatch.setattr(repair.shutil, "disk_usage", lambda _at: SimpleNamespace(free=1_000_000))
    said = host.airgap("repair", split)
    assert said.code == 1
    assert "not enough space" in said.err
    assert "next: --out FOLDER" in said.err
    assert snapshot(split) == before


def test_without_a_program_it_says_what_to_install(split, monkeypatch):
    monkeypatch.setattr(recovery.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(recovery.shutil, "which", lambda _name: None)
    with pytest.raises(UsageError, match="needs a PAR2 program") as caught:
        recovery.program()
    assert "airgap-bundler[recovery]" in caught.value.hint


def test_damage_is_told_in_each_files_own_bytes(split):
    damage(split, "a flipped bit")
    ranges = survey.survey(volume_names.locate(split)).ranges
    assert [one.file[-3:] for one in ranges] == ["001", "002", "003"]  # one frame, in all three
    assert [(one.start, one.end) for one in ranges[1:2]] == [(0, SIZE - 1)]
