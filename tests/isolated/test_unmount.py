"""Unmount: one rename; refused while somebody uses it; the store and the memory stay."""

from __future__ import annotations

import io
import json

import pytest

from runtime import generation


def test_the_name_is_gone_and_the_blobs_stay(mounted, snapshot):
    blobs, record = mounted.blobs(), mounted.record.read_bytes()
    said = mounted.airgap("unmount", "ward", "--yes", "--json")
    assert said.code == 0, said.err
    assert said.document == {"schema": "airgap/unmount/v1", "name": "ward", "generations": 1}
    assert list((mounted.root / "mounts").iterdir()) == []
    assert (mounted.blobs(), mounted.record.read_bytes()) == (blobs, record)
    assert mounted.airgap("list", "--json").document["mounts"] == []
    last = json.loads((mounted.root / "audit" / "log.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["facts"]["bundle"]) == ("unmount", "ward")


def test_an_older_bundle_is_refused_afterwards(mounted, write, bundle):
    assert mounted.airgap("mount", write("newer", version="1.1.0", sequence=8)).code == 0
    assert mounted.airgap("unmount", "ward", "--yes").code == 0
    said = mounted.airgap("mount", bundle, "--json")
    assert (said.code, said.document["rule"]) == (3, "sequence.older")


def test_the_same_bundle_mounts_again_without_writing_a_blob(mounted, bundle):
    blobs = {blob: blob.stat().st_ino for blob in mounted.blobs()}
    assert mounted.airgap("unmount", "ward", "--yes").code == 0
    assert mounted.airgap("mount", bundle).code == 0
    assert {blob: blob.stat().st_ino for blob in mounted.blobs()} == blobs


def test_another_bundle_stays(mounted, write, unsound):
    assert mounted.airgap("mount", write("other", title="clinic")).code == 0
    assert mounted.airgap("unmount", "ward", "--yes").code == 0
    assert generation.mounted(mounted.root) == ["clinic"]
    assert unsound(mounted.root) == []


def test_it_asks_first(mounted, snapshot, monkeypatch):
    before = snapshot(mounted.root)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    said = mounted.airgap("unmount", "ward")
    assert said.code == 1
    assert "nothing was done" in said.err
    assert snapshot(mounted.root) == before


def test_what_is_not_mounted_is_told(mounted):
    said = mounted.airgap("unmount", "clinic", "--yes", "--json")
    assert said.code == 2
    assert said.document["message"].startswith("expected 'clinic' mounted in")
    assert said.document["hint"] == "airgap list"  # not a command that removes another


@pytest.mark.parametrize("held", ["open", "hold"])
def test_what_is_in_use_stays(mounted, snapshot, held):
    with generation.current(mounted.root, None) as one:
        hold = generation.Hold(one)
        before = snapshot(mounted.root)
        if held == "open":
            assert mounted.airgap("unmount", "ward", "--yes").code == 1
    said = mounted.airgap("unmount", "ward", "--yes", "--json")
    assert said.code == 1
    assert said.document["message"].startswith(
        "generation 1 of 'ward' is in use by a running process"
    )
    assert snapshot(mounted.root) == before
    del hold
    assert mounted.airgap("unmount", "ward", "--yes").code == 0
