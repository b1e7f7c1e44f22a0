"""gc: shows first; never what is served, rollback needs or a process uses, nor a blob of theirs."""

from __future__ import annotations

import hashlib
import json

import pytest

from airgap.errors import UsageError
from runtime import generation
from runtime.folders import Folder


def blob(number: int) -> bytes:
    return number.to_bytes(2, "big") * 40_000


@pytest.fixture
def five(host, write, contents):
    """Five generations, each with a file of its own beside what all have."""
    for number in range(1, 6):
        own = {**contents, "samples/own.bin": blob(number)}
        made = write(f"v{number}", contents=own, version=f"1.{number}.0", sequence=number)
        assert host.airgap("mount", made).code == 0
    return host


def generations(host):
    found = host.airgap("list", "--all", "--json").document["mounts"]
    return sorted(one["generation"] for one in found)


def holds(host, number):
    return hashlib.sha256(blob(number)).hexdigest() in {path.name for path in host.blobs()}


def disk_use(root):
    """Bytes in the files of store and mounts, each file once."""
    parts = [*(root / "store").rglob("*"), *(root / "mounts").rglob("*")]
    return sum({one.lstat().st_ino: one.lstat().st_size for one in parts if one.is_file()}.values())


def test_it_shows_and_removes_nothing(five, snapshot):
    before = snapshot(five.root)
    said = five.airgap("gc", "--json")
    assert said.code == 0, said.err
    assert [one["generation"] for one in said.document["generations"]] == [1, 2, 3]
    assert (len(said.document["blobs"]), said.document["removed"]) == (3, False)
    assert snapshot(five.root) == before
    assert "nothing was removed; next: airgap gc --yes" in five.airgap("gc").err


def test_it_removes_what_it_showed_and_frees_what_it_said(five, unsound):
    shown = five.airgap("gc", "--json").document
    before = disk_use(five.root)
    said = five.airgap("gc", "--yes", "--json")
    assert said.code == 0, said.err
    assert said.document == shown | {"removed": True}
    assert generations(five) == [4, 5]
    assert [holds(five, number) for number in range(1, 6)] == [False, False, False, True, True]
    assert unsound(five.root) == []
    assert before - disk_use(five.root) == shown["bytes"] > 3 * 80_000
    last = json.loads((five.root / "audit" / "log.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["facts"]["blobs"]) == ("gc", 3)
    assert five.airgap("rollback").code == 0


def test_nothing_to_remove(mounted, snapshot):
    before = snapshot(mounted.root)
    said = mounted.airgap("gc", "--yes")
    assert (said.code, said.out) == (0, "nothing to remove\n")
    assert snapshot(mounted.root) == before


@pytest.mark.parametrize(("keep", "stay"), [(0, [5]), (2, [3, 4, 5]), (9, [1, 2, 3, 4, 5])])
def test_how_many_stay_is_said(five, keep, stay, unsound):
    assert five.airgap("gc", "--keep", str(keep), "--yes").code == 0
    assert generations(five) == stay
    assert unsound(five.root) == []


def test_after_a_rollback_both_ways_stay_open(five):
    assert five.airgap("rollback", "--to", "3").code == 0
    assert five.airgap("gc", "--yes").code == 0
    assert generations(five) == [2, 3, 4, 5]


def test_it_keeps_what_rollback_returns_to_and_not_the_number_below(five, write):
    assert five.airgap("rollback", "--to", "2").code == 0
    assert five.airgap("mount", write("v6", version="1.6.0", sequence=6)).code == 0
    assert five.airgap("gc", "--yes").code == 0
    assert generations(five) == [2, 6]


def test_what_a_process_uses_stays_with_its_blobs(five, unsound):
    with generation.numbered(five.root, "ward", 2) as one:
        hold = generation.Hold(one)
    said = five.airgap("gc", "--yes", "--json")
    assert said.document["in_use"] == [{"name": "ward", "generation": 2}]
    assert generations(five) == [2, 4, 5]
    assert holds(five, 2)
    assert not holds(five, 1)
    assert unsound(five.root) == []
    del hold
    assert five.airgap("gc", "--yes").code == 0
    assert generations(five) == [4, 5]


def test_a_blob_that_a_damaged_generation_links_stays(five):
    """Its manifest names nothing any more; the links are left to tell."""
    (five.current.resolve() / "manifest.json").unlink()
    five.airgap("gc", "--yes")
    assert holds(five, 5)


def test_the_store_of_an_unmounted_bundle_goes(mounted):
    assert mounted.airgap("unmount", "ward", "--yes").code == 0
    assert mounted.airgap("gc", "--yes").code == 0
    assert mounted.blobs() == []


def test_bundles_share_blobs(mounted, write, unsound):
    assert mounted.airgap("mount", write("other", title="clinic")).code == 0
    before = mounted.blobs()
    assert mounted.airgap("unmount", "ward", "--yes").code == 0
    assert mounted.airgap("gc", "--yes").out == "nothing to remove\n"
    assert mounted.blobs() == before
    assert unsound(mounted.root) == []


def test_what_killed_commands_left_goes(mounted, unsound):
    mounts = mounted.root / "mounts"
    (mounts / ".1a2b" / "generations" / "000001").mkdir(parents=True)
    (mounts / "ward" / ".3c4d").symlink_to("generations/000001")
    (mounts / "ward" / "generations" / ".5e6f").mkdir()
    (mounts / "never" / "generations" / "000001").mkdir(parents=True)
    (mounted.root / "staging" / ("a" * 64)).write_bytes(bytes(100))
    orphan = hashlib.sha256(b"orphan").hexdigest()
    shard = mounted.root / "store" / "sha256" / orphan[:2]
    shard.mkdir(exist_ok=True)
    (shard / orphan).write_bytes(b"orphan")
    shown = mounted.airgap("gc", "--json").document
    assert len(shown["leftovers"]) == 4
    assert shown["generations"] == [{"name": "never", "generation": 1}]
    assert shown["blobs"] == [orphan]
    assert shown["bytes"] == 106
    assert mounted.airgap("gc", "--yes").code == 0
    assert not (shard / orphan).exists()
    assert unsound(mounted.root) == []
    assert mounted.airgap("gc").out == "nothing to remove\n"


def test_a_planted_link_leads_it_nowhere(five, tmp_path):
    """A generation that somebody replaced by a link is no folder: nothing behind it is touched."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").write_text("mine")
    (five.root / "mounts" / "ward" / "generations" / ".left").symlink_to(victim)
    assert five.airgap("gc", "--yes").code == 0
    assert (victim / "precious").read_text() == "mine"
    planted = five.root / "mounts" / "ward" / "generations" / "000009"
    planted.symlink_to(victim)
    assert five.airgap("gc", "--yes").code == 1
    assert (victim / "precious").read_text() == "mine"


@pytest.mark.parametrize("then", ["unmount", "switch"])
def test_whoever_waited_for_a_lock_does_not_read_what_is_gone(five, monkeypatch, then):
    """A reader that found `current` and got its lock only after that had been removed."""
    share = Folder.share

    def late(folder):
        monkeypatch.setattr(Folder, "share", share)
        done = five.airgap(*DOINGS[then])
        assert done.code == 0, done.err
        if then == "switch":
            (five.root / "mounts" / "ward" / "generations" / "000005").rename(five.root / "gone")
        share(folder)

    monkeypatch.setattr(Folder, "share", late)
    if then == "unmount":
        with pytest.raises(UsageError, match="was unmounted"):
            version(five)
    else:
        assert version(five) == "1.4.0"


DOINGS = {"unmount": ("unmount", "ward", "--yes"), "switch": ("rollback",)}


def version(host):
    with generation.current(host.root, "ward") as one:
        return one.statement.version
