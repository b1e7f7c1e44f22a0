"""What a person takes upon themselves: only with a reason, on the record, and for one bundle."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

REASON = "the ward needs it tonight"
EXPIRED = "2026-01-03T00:00:00Z"


@pytest.fixture
def at(monkeypatch):
    """Sets this host's clock."""
    return lambda *when: monkeypatch.setattr(
        "airgap.accepted.clock", lambda: datetime(*when, tzinfo=UTC)
    )


@pytest.fixture
def older(write):
    return write("older", version="0.9.0", sequence=6)


def record(host):
    return json.loads(host.record.read_bytes())


def events(host, last=20):
    said = host.airgap("audit", "show", "--last", str(last), "--json")
    return [(one["event"], one["facts"]) for one in said.document["events"]]


def receipt_of(document):
    """What the receipt says; its signature has tests of its own."""
    envelope = json.loads(Path(document["receipt"]).read_bytes())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    return statement["predicate"]["urn:airgap-bundler:receipt:v1"]


@pytest.mark.parametrize("verb", ["verify", "mount"])
def test_an_older_bundle_is_taken_with_a_reason(mounted, older, verb):
    said = mounted.airgap(verb, older, "--allow-older", REASON, "--json")
    assert said.code == 0, said.err
    assert "warning: sequence.older: " in said.err
    assert f"overridden: {REASON}" in said.err
    assert receipt_of(said.document)["overrides"] == {"sequence.older": REASON}
    (override, facts), (done, _facts) = events(mounted, 2)
    assert (override, done) == ("override", verb)
    assert (facts["action"], facts["rule"]) == (verb, "sequence.older")
    assert facts["bundle"] == "older.tar.zst"
    assert REASON in facts["why"]


def test_an_older_bundle_opens_the_door_for_no_other(mounted, older, write, bundle):
    """What was accepted only grows: one reason takes one bundle, and no second old one."""
    before = record(mounted)
    assert mounted.airgap("mount", older, "--allow-older", REASON).code == 0
    assert mounted.airgap("list", "--json").document["mounts"][0]["version"] == "0.9.0"
    assert record(mounted) == before
    assert mounted.airgap("mount", write("between", version="0.9.5", sequence=6)).code == 3
    assert mounted.airgap("mount", older).code == 3
    assert mounted.airgap("mount", bundle).code == 0


def test_another_under_the_same_number_is_taken_with_a_reason(mounted, write):
    twin = write("twin", version="1.0.1")
    assert mounted.airgap("mount", twin).code == 3
    said = mounted.airgap("mount", twin, "--allow-older", REASON, "--json")
    assert said.code == 0, said.err
    assert receipt_of(said.document)["overrides"] == {"sequence.twice": REASON}
    assert mounted.airgap("mount", twin).code == 0


def test_an_expired_bundle_is_taken_with_a_reason(host, write):
    late = write("late", expires=EXPIRED)
    said = host.airgap("mount", late, "--clock-wrong", REASON, "--json")
    assert said.code == 0, said.err
    assert receipt_of(said.document)["overrides"] == {"expiry": REASON}
    assert [event for event, _facts in events(host, 2)] == ["override", "mount"]


@pytest.mark.parametrize("reason", ["", " ", "\t\n"])
@pytest.mark.parametrize(
    ("option", "changes"),
    [("--allow-older", {"sequence": 6}), ("--clock-wrong", {"sequence": 8, "expires": EXPIRED})],
)
def test_no_reason_is_no_override(mounted, write, snapshot, option, *, changes, reason):
    bundle = write("other", **changes)
    before = snapshot(mounted.root)
    said = mounted.airgap("mount", bundle, option, reason)
    assert said.code == 3, said.err
    assert snapshot(mounted.root) == before
    assert events(mounted, 1)[0][0] == "refusal"


def test_one_override_is_not_the_other(mounted, write):
    late = write("late", sequence=6, expires=EXPIRED)
    for option, rule in (("--allow-older", "expiry"), ("--clock-wrong", "sequence.older")):
        said = mounted.airgap("mount", late, option, REASON, "--json")
        assert (said.code, said.document["rule"]) == (3, rule)
    both = ("--allow-older", REASON, "--clock-wrong", "battery")
    said = mounted.airgap("mount", late, *both, "--json")
    assert said.code == 0, said.err
    overrides = receipt_of(said.document)["overrides"]
    assert overrides == {"sequence.older": REASON, "expiry": "battery"}


def test_a_reason_that_was_not_needed_is_not_recorded(host, bundle):
    said = host.airgap("mount", bundle, "--allow-older", REASON, "--json")
    assert said.code == 0
    assert receipt_of(said.document)["overrides"] == {}
    assert "override" not in [event for event, _facts in events(host)]


@pytest.mark.parametrize("people", ["bob", "nobody"])
def test_no_override_replaces_a_signature(mounted, write, bob, snapshot, people):
    bundle = write("x", sequence=8, people=[bob] if people == "bob" else [])
    before = snapshot(mounted.root)
    both = ("--allow-older", REASON, "--clock-wrong", REASON)
    said = mounted.airgap("mount", bundle, *both, "--json")
    assert (said.code, said.document["rule"]) == (3, "policy.threshold")
    assert snapshot(mounted.root) == before


@pytest.mark.parametrize("option", ["--allow-older", "--clock-wrong"])
@pytest.mark.parametrize("other", ["--key", "--receipt"])
def test_overrides_are_of_the_hosts_policy(host, bundle, snapshot, option, other):
    before = snapshot(host.root)
    said = host.airgap("verify", bundle, option, REASON, other, "x")
    assert said.code == 2
    assert "override this host's policy, which --key and --receipt do not ask" in said.err
    assert snapshot(host.root) == before


def test_an_override_that_cannot_be_recorded_is_none(mounted, older, monkeypatch):
    """Who overrides leaves a trace, or does not override."""
    from airgap.audit import AuditLog  # noqa: PLC0415 - patched here
    from airgap.errors import AirgapError  # noqa: PLC0415

    def full(_self, event, /, **_facts):
        raise AirgapError(f"no room for '{event}'")

    monkeypatch.setattr(AuditLog, "append", full)
    said = mounted.airgap("mount", older, "--allow-older", REASON)
    assert said.code == 1
    assert "no room for 'override'" in said.err
    assert mounted.airgap("list", "--json").document["mounts"][0]["version"] == "1.0.0"


# --- time ---------------------------------------------------------------------------------------


def test_a_clock_set_back_revives_nothing(host, write, at):
    """Freeze: with an old clock an old bundle must not pass for a fresh one."""
    at(2026, 6, 1)
    assert host.airgap("mount", write("fresh", created="2026-05-01T00:00:00Z")).code == 0
    at(2026, 2, 1)
    old = write("old", title="clinic", expires="2026-04-01T00:00:00Z")
    said = host.airgap("mount", old, "--json")
    assert (said.code, said.document["rule"]) == (3, "expiry")
    assert "it is 2026-05-01T00:00:00Z here" in said.document["message"]
    assert "--clock-wrong REASON" in said.document["hint"]


def test_a_bundle_from_ahead_of_the_clock_is_not_remembered(host, write, at):
    at(2026, 2, 1)
    said = host.airgap("mount", write("ahead", created="2099-01-01T00:00:00Z"))
    assert said.code == 0, said.err
    assert record(host)["newest"] is None
    assert record(host)["bundles"]["ward"]["created"] == "2099-01-01T00:00:00Z"
    other = write("other", title="clinic", expires="2026-04-01T00:00:00Z")
    assert host.airgap("mount", other).code == 0


def test_verify_remembers_no_time(host, write, at):
    at(2026, 6, 1)
    assert host.airgap("verify", write("fresh", created="2026-05-01T00:00:00Z")).code == 0
    assert record(host)["newest"] is None


def test_a_key_expires_by_the_later_of_both(host, write, at):
    at(2026, 6, 1)
    assert host.airgap("mount", write("fresh", created="2026-05-01T00:00:00Z")).code == 0
    policy = host.root / "trust" / "policy.yaml"
    text = policy.read_text()
    until = "        - trust\n        expires: '2026-04-01T00:00:00Z'\n"
    policy.write_text(text.replace("        - trust\n", until))
    at(2026, 2, 1)
    said = host.airgap("verify", write("next", sequence=8), "--json")
    assert (said.code, said.document["rule"]) == (3, "policy.threshold")
    assert "a key that expired on 2026-04-01" in said.document["message"]


def test_reset_time_is_the_way_back(host, write, at):
    """The host's clock was ahead when it mounted: every other bundle has expired since."""
    at(2036, 6, 1)
    assert host.airgap("mount", write("ahead", created="2036-05-01T00:00:00Z")).code == 0
    at(2026, 6, 1)
    other = write("other", title="clinic", expires="2027-01-01T00:00:00Z")
    assert host.airgap("mount", other).code == 3
    accepted = record(host)["bundles"]
    said = host.airgap("trust", "reset-time", "--yes")
    assert said.code == 0, said.err
    assert said.out == f"the time is this host's clock alone: {host.record}\n"
    assert record(host) == {
        "schema": "airgap/accepted/v1",
        "bundles": accepted,
        "newest": None,
    }
    assert events(host, 1)[0][0] == "trust-reset-time"
    assert host.airgap("mount", other).code == 0


@pytest.mark.parametrize("verb", ["reset-time", "reset-sequence"])
def test_resets_ask_first(mounted, monkeypatch, snapshot, verb):
    before = snapshot(mounted.root)
    with open("/dev/null") as nobody:  # noqa: PTH123 - stdin of a process without a terminal
        monkeypatch.setattr("sys.stdin", nobody)
        said = mounted.airgap("trust", verb)
    assert said.code == 1
    assert "nothing was done" in said.err
    assert snapshot(mounted.root) == before
    assert events(mounted, 1)[0][0] == "mount"


def test_reset_time_mends_no_damaged_record(mounted):
    mounted.record.write_bytes(b"{}")
    said = mounted.airgap("trust", "reset-time", "--yes", "--root", str(mounted.root))
    assert said.code == 3
    assert "airgap trust reset-sequence" in said.err
    assert mounted.record.read_bytes() == b"{}"
    assert mounted.airgap("trust", "reset-sequence", "--yes").code == 0
    assert events(mounted, 1)[0][0] == "trust-reset-sequence"
