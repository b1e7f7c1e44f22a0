"""Bundles that are not what was signed, or that a trusted signer should never have signed.

Each is refused while it is being mounted, and then nothing of it stays: no blob, no generation,
no sequence, nothing staged.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from airgap import limits, tar, volumes
from airgap.archive import frames_start, read_head
from airgap.statement import Statement


@pytest.fixture
def refused(mounted, snapshot):
    """A mount onto a host that has one already: exit 3, these words, and nothing has changed."""

    def refused(bundle, rule, saying):
        before = snapshot(mounted.root)
        said = mounted.airgap("mount", bundle, "--json")
        assert said.code == 3, said.err
        assert said.document["rule"] == rule
        assert saying in said.document["message"]
        assert said.document["hint"]
        assert snapshot(mounted.root) == before
        return said

    return refused


@pytest.fixture
def model(contents):
    """The path of the largest file."""
    return max(contents, key=lambda one: len(contents[one]))


def flipped(content, at):
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_a_file_with_another_digest_than_the_signed_manifests(refused, write, contents, model):
    other = {**contents, "README.txt": b"new\n"}
    bad = write("bad", contents=other, packed={model: flipped(contents[model], 77)}, sequence=8)
    refused(bad, "file.digest", f"'{model}' has the SHA-256")


def test_a_new_file_with_another_digest_leaves_no_blob(refused, write, contents):
    path = "samples/new.bin"
    other = {**contents, path: b"a" * 9_000_000}
    bad = write("bad", contents=other, packed={path: b"a" * 8_999_999 + b"b"}, sequence=8)
    refused(bad, "file.digest", f"'{path}' has the SHA-256")


@pytest.mark.parametrize(
    ("part", "changed", "saying"),
    [
        ("header", lambda good: good.replace(b"0000644\0", b"0000755\0"), "the tar header of"),
        ("header", lambda good: good.replace(b"ustar\x0000", b"ustar  \0"), "the tar header of"),
        ("padding", lambda good: b"\1" * len(good), "the padding of"),
        ("END", lambda good: b"\1" * len(good), "the end of the tar"),
    ],
)
def test_a_tar_that_says_other_than_the_manifest(
    *, refused, write, contents, monkeypatch, part, changed, saying
):
    other = {**contents, "samples/new.bin": b"new" * 999}
    with monkeypatch.context() as patch:
        good = getattr(tar, part)
        first = tar.manifest_member
        if callable(good):
            patch.setattr(tar, part, lambda *given: changed(good(*given)))
        else:
            patch.setattr(tar, part, changed(good))

        def sound_first(content, created):  # frame 0 stays right, or it is refused before
            with pytest.MonkeyPatch.context() as back:
                back.setattr(tar, part, good)
                return first(content, created)

        patch.setattr(tar, "manifest_member", sound_first)
        bad = write("bad", contents=other, sequence=8)
    refused(bad, "archive.digest", saying)


def test_one_flipped_byte_in_any_part(refused, write, contents, tmp_path):
    other = {**contents, "samples/new.bin": b"new" * 999_999}
    good = write("good", contents=other, sequence=8)
    with volumes.opened(good) as source:
        statement = Statement.parse(read_head(source).statement)
    size = good.stat().st_size
    spots = {
        limits.HEAD_SLOT + 20: "the table",
        frames_start(statement) + 50: "frame 0",
        frames_start(statement) + 2_000_000: "frame 1",
        size - 1: "frame 2",
    }
    for at, what in spots.items():
        bad = tmp_path / f"{at}.tar.zst"
        shutil.copyfile(good, bad)
        with bad.open("r+b") as stream:
            stream.seek(at)
            byte = stream.read(1)[0]
            stream.seek(at)
            stream.write(bytes([byte ^ 0x10]))
        rule = {"the table": "archive.digest", "frame 0": "archive.digest"}
        refused(bad, rule.get(what, "frame.digest"), what)


@pytest.mark.parametrize("kept", [0, 100, 65536, 70_000, 2_000_000, -1])
def test_a_bundle_that_was_cut_short(refused, write, contents, kept):
    bad = write("bad", contents={**contents, "samples/new.bin": b"new" * 999}, sequence=8)
    size = bad.stat().st_size
    kept %= size
    os.truncate(bad, kept)
    rule = "head.magic" if kept < limits.HEAD_SLOT else "archive.size"
    refused(bad, rule, "no airgap bundle" if kept < limits.HEAD_SLOT else "")


def test_a_bundle_with_one_byte_more(refused, write):
    bad = write("bad", version="2", sequence=8)
    with bad.open("ab") as stream:
        stream.write(b"\0")
    refused(bad, "archive.size", "1 bytes that nobody signed")


def test_a_bundle_that_nobody_signed(refused, write):
    bad = write("bad", people=(), version="2", sequence=8)
    said = refused(bad, "policy.threshold", "nobody has signed it")
    assert "paper" in said.document["hint"]


def test_a_bundle_that_a_stranger_signed(refused, write, bob):
    refused(write("bad", people=(bob,), sequence=8), "policy.threshold", "not known here")


def test_a_second_signer_is_wanted(host, write, alice, bob, snapshot):
    host.trust(bob)
    policy = host.root / "trust" / "policy.yaml"
    policy.write_text(policy.read_text().replace("threshold: 1", "threshold: 2"))
    before = snapshot(host.root)
    said = host.airgap("mount", write("one", people=(alice,)))
    assert said.code == 3
    assert "wants 2 signer(s) of alice, bob; found: signed by alice" in said.err
    assert {**snapshot(host.root), "lock": None} == {**before, "lock": None}
    assert host.airgap("mount", write("two", people=(alice, bob))).code == 0


class Swap:
    """Does something to the disk once, after `count` frames were read from the bundle."""

    def __init__(self, monkeypatch, count, act):
        self.left, self.act = count, act
        read_into = volumes.OpenFile.read_into

        def reading(source, offset, buffer):
            read_into(source, offset, buffer)
            self.left -= 1
            if self.left == 0:
                act()

        monkeypatch.setattr(volumes.OpenFile, "read_into", reading)


@pytest.mark.parametrize("reads", [1, 2, 3, 4, 6])
def test_another_file_under_the_bundles_path_changes_nothing(
    *, host, write, contents, tmp_path, monkeypatch, unsound, reads
):
    """Swapped after it was opened (RAUC CVE-2020-25860): the open file is what is used."""
    other = {**contents, "samples/new.bin": os.urandom(9_000_000)}
    good = write("good", contents=other)
    evil = write("evil", contents={**contents, "README.txt": b"evil"}, sequence=9)
    swap = Swap(monkeypatch, reads, lambda: evil.replace(good))
    said = host.airgap("mount", good)
    assert swap.left <= 0
    assert said.code == 0, said.err
    assert unsound(host.root) == []
    assert (host.current / "README.txt").read_bytes() == contents["README.txt"]


@pytest.mark.parametrize("reads", [1, 2, 3, 4, 5, 6])
def test_bytes_rewritten_during_the_mount_are_refused_or_come_too_late(
    *, mounted, write, contents, monkeypatch, unsound, snapshot, reads
):
    new = os.urandom(13_000_000)
    good = write("good", contents={**contents, "samples/new.bin": new}, sequence=8)
    size = good.stat().st_size

    def rewrite():
        with good.open("r+b") as stream:
            stream.seek(66_000)
            stream.write(os.urandom(size - 66_000))

    before = snapshot(mounted.root)
    swap = Swap(monkeypatch, reads, rewrite)
    said = mounted.airgap("mount", good)
    assert swap.left <= 0
    if reads <= 3:  # head, table, frame 0: all other frames were still to come
        assert said.code == 3, said.err
    if said.code:
        assert said.code == 3, said.err
        assert snapshot(mounted.root) == before
    assert unsound(mounted.root) == []


def test_bytes_rewritten_after_they_were_read_are_too_late(
    host, write, contents, monkeypatch, unsound
):
    good = write("good")
    size = good.stat().st_size

    def rewrite():
        with good.open("r+b") as stream:
            stream.write(bytes(size))

    swap = Swap(monkeypatch, 5, rewrite)  # head, table, frames 0, 1 and 2
    said = host.airgap("mount", good)
    assert swap.left == 0
    assert said.code == 0, said.err
    assert unsound(host.root) == []


def test_a_bundle_cut_while_it_is_read_is_refused(mounted, write, contents, monkeypatch, snapshot):
    new = os.urandom(30_000_000)
    good = write("good", contents={**contents, "samples/new.bin": new}, sequence=8)
    before = snapshot(mounted.root)
    swap = Swap(monkeypatch, 5, lambda: os.truncate(good, 5_000_000))
    said = mounted.airgap("mount", good)
    assert swap.left <= 0
    assert said.code == 3
    assert "in the middle of the bundle" in said.err
    assert snapshot(mounted.root) == before


def test_a_file_that_grows_while_it_is_read_is_refused(
    mounted, write, contents, monkeypatch, snapshot
):
    new = os.urandom(9_000_000)
    good = write("good", contents={**contents, "samples/new.bin": new}, sequence=8)
    before = snapshot(mounted.root)

    def grow():
        with good.open("ab") as stream:
            stream.write(b"more")

    Swap(monkeypatch, 4, grow)
    said = mounted.airgap("mount", good)
    assert said.code == 3
    assert "4 bytes that nobody signed" in said.err
    assert snapshot(mounted.root) == before


def test_the_store_takes_nothing_before_the_last_frame_held(host, write, monkeypatch, contents):
    good = write("good", contents={**contents, "samples/new.bin": os.urandom(5_000_000)})
    ends = []
    read_to_end = volumes.OpenFile.read_to_end

    def watched(source, offset):
        staged = [path.name for path in (host.root / "staging").glob("*")]
        ends.append((host.blobs(), len(staged)))
        read_to_end(source, offset)

    monkeypatch.setattr(volumes.OpenFile, "read_to_end", watched)
    assert host.airgap("mount", good).code == 0
    assert ends == [([], 0), ([], 5)]


def piped(host, source):
    """`cat … | airgap mount -`, for real."""
    with subprocess.Popen(["bash", "-c", source], stdout=subprocess.PIPE) as cat:
        done = subprocess.run(
            [sys.executable, "-m", "airgap", "mount", "-"],
            stdin=cat.stdout,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        cat.stdout.close()
    return done


def test_a_pipe_is_mounted_like_the_file(host, bundle, unsound, contents):
    done = piped(host, f"cat '{bundle}'")
    assert done.returncode == 0, done.stderr
    assert unsound(host.root) == []
    assert (host.current / "README.txt").read_bytes() == contents["README.txt"]


@pytest.mark.parametrize(
    ("source", "saying"),
    [
        ("cat '{0}' /dev/zero", "goes on after the bundle's end at byte"),
        ("cat /dev/zero", "no airgap bundle"),
        ("head -c 3000000 '{0}'", "ends at byte 3000000, in the middle of the bundle"),
        ("head -c 3000000 '{0}'; cat /dev/urandom", "frame 1"),
        ("true", "ends at byte 0"),
    ],
    ids=["endless after", "endless", "cut", "endless inside", "empty"],
)
def test_a_pipe_that_is_not_the_bundle_is_refused(host, bundle, snapshot, source, saying):
    assert host.airgap("mount", bundle).code == 0
    before = snapshot(host.root)
    done = piped(host, source.format(bundle))
    assert done.returncode == 3
    assert saying in done.stderr
    assert snapshot(host.root) == before
