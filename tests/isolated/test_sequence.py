"""Old bundles: refused by the number of the last one that was mounted, and by nothing weaker."""

from __future__ import annotations

import json

import pytest

from airgap.files import write_whole


@pytest.fixture
def newer(write):
    return write("newer", version="1.1.0", sequence=8)


def test_an_older_bundle_is_refused(mounted, newer, bundle, snapshot):
    assert mounted.airgap("mount", newer).code == 0
    before = snapshot(mounted.root)
    for verb in ("verify", "mount"):
        said = mounted.airgap(verb, bundle, "--json")
        assert said.code == 3
        assert said.document["rule"] == "sequence.older"
        assert said.document["message"] == (
            "'ward-1.0.0' has sequence 7, and this host has accepted sequence 8 of 'ward'"
        )
        assert "newest bundle" in said.document["hint"]
    assert snapshot(mounted.root) == before


def test_another_bundle_under_the_same_number_is_refused(mounted, write, snapshot, contents):
    other = write("other", contents={**contents, "README.txt": b"another\n"})
    before = snapshot(mounted.root)
    said = mounted.airgap("mount", other, "--json")
    assert (said.code, said.document["rule"]) == (3, "sequence.twice")
    assert "and is another" in said.document["message"]
    assert snapshot(mounted.root) == before


def test_the_same_bundle_may_be_mounted_again(mounted, bundle):
    assert mounted.airgap("mount", bundle).code == 0


def test_verify_alone_remembers_nothing(host, newer, bundle):
    before = host.record.read_bytes()
    assert host.airgap("verify", newer).code == 0
    assert host.record.read_bytes() == before
    assert host.airgap("mount", bundle).code == 0


def test_the_number_is_raised_by_a_mount_that_worked(mounted, newer):
    assert json.loads(mounted.record.read_bytes())["bundles"]["ward"]["sequence"] == 7
    assert mounted.airgap("mount", newer).code == 0
    assert json.loads(mounted.record.read_bytes())["bundles"]["ward"]["sequence"] == 8


def test_a_host_that_died_before_it_remembered_remembers_at_the_next_mount(mounted, newer, bundle):
    """Between the switch and the record there is a moment: the old bundle must not pass in it."""
    before = mounted.record.read_bytes()
    assert mounted.airgap("mount", newer).code == 0
    write_whole(mounted.record, before)  # as if the power had gone after the switch
    said = mounted.airgap("mount", bundle, "--json")
    assert (said.code, said.document["rule"]) == (3, "sequence.older")


def test_a_damaged_mount_does_not_stop_the_one_that_mends_it(mounted, bundle):
    head = mounted.current.resolve() / "airgap.head"
    head.chmod(0o644)
    head.write_bytes(b"")
    assert mounted.airgap("list").code == 3
    assert mounted.airgap("mount", bundle).code == 0
    assert mounted.airgap("list").code == 0


def test_a_mount_that_failed_raises_nothing(mounted, newer, monkeypatch, bundle, unsound):
    from runtime.generation import Record  # noqa: PLC0415 - patched here

    def fail(_record):
        raise OSError(28, "No space left on device")

    before = mounted.record.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Record, "to_bytes", fail)  # after the blobs, before the switch
        said = mounted.airgap("mount", newer)
    assert said.code == 1
    assert "No space left on device" in said.err
    assert mounted.record.read_bytes() == before
    assert unsound(mounted.root) == []
    assert mounted.airgap("list", "--json").document["mounts"][0]["version"] == "1.0.0"
    assert mounted.airgap("mount", bundle).code == 0


def test_a_missing_record_refuses_everything_and_names_the_way_out(mounted, bundle, snapshot):
    mounted.record.unlink()
    before = snapshot(mounted.root)
    for verb in ("verify", "mount"):
        said = mounted.airgap(verb, bundle, "--json")
        assert (said.code, said.document["rule"]) == (3, "state.missing")
        assert str(mounted.record) in said.document["message"]
        assert "airgap trust reset-sequence" in said.document["hint"]
    assert snapshot(mounted.root) == before
    reset = mounted.airgap("trust", "reset-sequence", "--yes")
    assert reset.code == 0
    assert reset.out == f"nothing is recorded as accepted: {mounted.record}\n"
    assert mounted.airgap("mount", bundle).code == 0


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Expecting value"),
        (b"{}", "'schema' is missing"),
        (b'{"schema":"airgap/accepted/v2","bundles":{}}', "expected airgap/accepted/v1"),
        (b'{"schema":"airgap/accepted/v1","bundles":{"ward":{}}}', "'sequence' is missing"),
        (b'{"schema":"airgap/accepted/v1","bundles":{},"bundles":{}}', "names a key twice"),
    ],
)
def test_a_damaged_record_refuses_everything(mounted, bundle, snapshot, content, why):
    write_whole(mounted.record, content)
    before = snapshot(mounted.root)
    said = mounted.airgap("mount", bundle, "--json")
    assert (said.code, said.document["rule"]) == (3, "state.damaged")
    assert why in said.document["message"]
    assert "airgap trust reset-sequence" in said.document["hint"]
    assert snapshot(mounted.root) == before


def test_reset_lets_an_older_bundle_pass_once_more(mounted, newer, bundle):
    assert mounted.airgap("mount", newer).code == 0
    assert mounted.airgap("mount", bundle).code == 3
    assert mounted.airgap("trust", "reset-sequence", "--yes").code == 0
    assert mounted.airgap("mount", bundle).code == 0


def test_reset_asks_first_and_forgets_nothing_unasked(mounted, monkeypatch):
    before = mounted.record.read_bytes()
    with open("/dev/null") as nobody:  # noqa: PTH123 - stdin of a process without a terminal
        monkeypatch.setattr("sys.stdin", nobody)
        said = mounted.airgap("trust", "reset-sequence")
    assert said.code == 1
    assert "stopped: a question was not answered with y; nothing was done" in said.err
    assert "--yes" in said.err
    assert "Traceback" not in said.err
    assert mounted.record.read_bytes() == before


def test_numbers_of_two_names_are_apart(mounted, write):
    assert mounted.airgap("mount", write("clinic", title="clinic", sequence=1)).code == 0


def test_an_expired_bundle_is_refused(mounted, write, snapshot):
    old = write("old", sequence=8, expires="2026-01-03T00:00:00Z")
    before = snapshot(mounted.root)
    said = mounted.airgap("mount", old, "--json")
    assert (said.code, said.document["rule"]) == (3, "expiry")
    assert snapshot(mounted.root) == before
