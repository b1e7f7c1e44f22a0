"""Back to what was served before: judged by today's policy, checked in full, nothing forgotten."""

from __future__ import annotations

import json

import pytest

EXPIRES = "2020-01-01T00:00:00Z"


@pytest.fixture
def twice(mounted, write):
    """The host, with a newer bundle mounted over the first."""
    assert mounted.airgap("mount", write("newer", version="1.1.0", sequence=8)).code == 0
    return mounted


def served(host):
    (one,) = host.airgap("list", "--json").document["mounts"]
    return one["version"], one["generation"]


def events(host):
    lines = (host.root / "audit" / "log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def revoke(host, person):
    said = host.airgap("trust", "revoke", person.keys[0].public.key_id, "--reason", "stolen")
    assert said.code == 0, said.err


def test_it_goes_back_and_says_what_is_served(twice, unsound):
    said = twice.airgap("rollback", "--json")
    assert said.code == 0, said.err
    done = said.document
    assert (done["version"], done["generation"], done["left"]) == ("1.0.0", 1, 2)
    assert served(twice) == ("1.0.0", 1)
    assert unsound(twice.root) == []


def test_it_is_recorded(twice):
    assert twice.airgap("rollback").code == 0
    last = events(twice)[-1]
    assert last["event"] == "rollback"
    facts = last["facts"]
    assert (facts["bundle"], facts["generation"], facts["left"]) == ("ward-1.0.0", 1, 2)


def test_what_was_accepted_is_not_forgotten(twice, bundle):
    before = twice.record.read_bytes()
    assert twice.airgap("rollback").code == 0
    assert twice.record.read_bytes() == before
    said = twice.airgap("mount", bundle, "--json")
    assert (said.code, said.document["rule"]) == (3, "sequence.older")


def test_a_number_that_a_kill_kept_from_being_remembered_is_remembered_first(twice, write, bundle):
    """Else nothing would tell any more, once the older generation is current."""
    record = json.loads(twice.record.read_bytes())
    record["bundles"]["ward"]["sequence"] = 7
    twice.record.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    assert twice.airgap("rollback").code == 0
    assert json.loads(twice.record.read_bytes())["bundles"]["ward"]["sequence"] == 8


def test_forward_again(twice):
    assert twice.airgap("rollback").code == 0
    assert twice.airgap("rollback", "ward", "--to", "2").code == 0
    assert served(twice) == ("1.1.0", 2)


def test_what_was_rolled_back_from_does_not_come_before_the_next_mount(twice, write):
    assert twice.airgap("rollback").code == 0
    assert twice.airgap("mount", write("third", version="1.2.0", sequence=9)).code == 0
    assert served(twice) == ("1.2.0", 3)
    assert twice.airgap("rollback").code == 0
    assert served(twice) == ("1.0.0", 1)


def test_a_bundle_that_was_mounted_again_does_not_come_before_itself(twice, write):
    again = write("again", version="1.1.0", sequence=8)
    again.unlink()
    newest = twice.root.parent / "newer.tar.zst"
    assert twice.airgap("mount", newest).code == 0
    assert served(twice) == ("1.1.0", 3)
    assert twice.airgap("rollback").code == 0
    assert served(twice) == ("1.0.0", 1)


def test_a_mount_that_mends_a_damaged_one_goes_back_to_the_one_below(twice):
    head = twice.current.resolve() / "airgap.head"
    head.unlink()
    assert twice.airgap("mount", twice.root.parent / "newer.tar.zst").code == 0
    assert twice.airgap("rollback").code == 0
    assert served(twice) == ("1.0.0", 1)


def test_the_first_has_nothing_before_it(mounted, snapshot):
    before = snapshot(mounted.root)
    said = mounted.airgap("rollback", "--json")
    assert said.code == 2
    assert said.document["message"] == (
        "nothing was served before generation 1 of 'ward' that is still here; found: "
        "no other generation"
    )
    assert snapshot(mounted.root) == before


@pytest.mark.parametrize(("wanted", "why"), [("2", "is current already"), ("9", "is not there")])
def test_a_number_that_does_not_help_is_refused(twice, snapshot, wanted, why):
    before = snapshot(twice.root)
    said = twice.airgap("rollback", "ward", "--to", wanted, "--json")
    assert said.code == 2
    assert said.document["message"] == (
        f"generation {wanted} of 'ward' {why}; to go back to there is: 1"
    )
    assert snapshot(twice.root) == before


def test_nothing_is_mounted(host):
    said = host.airgap("rollback")
    assert said.code == 2
    assert "expected one bundle mounted" in said.err


def test_several_bundles_must_be_told_apart(twice, write):
    assert twice.airgap("mount", write("other", title="clinic")).code == 0
    said = twice.airgap("rollback", "--json")
    assert (said.code, said.document["hint"]) == (2, "airgap rollback clinic")
    assert twice.airgap("rollback", "ward").code == 0


def test_generations_of_before_there_was_previous_are_named(twice):
    for number in (1, 2):
        path = twice.current.parent / "generations" / f"{number:06}" / "mount.json"
        record = json.loads(path.read_bytes()) | {"schema": "airgap/mount/v1"}
        del record["previous"]
        path.unlink()
        path.write_text(json.dumps(record))
    said = twice.airgap("rollback", "--json")
    assert (said.code, said.document["hint"]) == (2, "airgap rollback ward --to N")
    assert twice.airgap("rollback", "--to", "1").code == 0
    assert served(twice) == ("1.0.0", 1)


def damage(path):
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["changed", "missing", "added"])
def test_a_generation_that_is_not_what_was_signed_is_not_served(twice, snapshot, contents, how):
    older = twice.current.parent / "generations" / "000001"
    name = next(path for path in contents if path.endswith("model.bin"))
    if how == "changed":
        damage(older / name)
    elif how == "missing":
        (older / name).unlink()
    else:
        (older / "hf" / "evil.py").write_text("import os\n")
    before = snapshot(twice.root)
    said = twice.airgap("rollback", "--json")
    assert said.code == 3
    assert said.document["rule"] == "mount.digest"
    assert ("evil.py" if how == "added" else name) in said.document["message"]
    way = "rm -r " if how == "added" else "airgap repair --mounted"
    assert way in said.document["hint"]
    assert snapshot(twice.root) == before
    assert events(twice)[-1]["event"] == "refusal"


@pytest.fixture
def from_bob(host, alice, bob, write):
    """A host whose older generation is signed by bob, the current one by alice."""
    host.trust(bob)
    assert host.airgap("mount", write("old", people=[bob])).code == 0
    assert host.airgap("mount", write("new", version="1.1.0", sequence=8)).code == 0
    return host


def test_a_revoked_signer_stops_the_way_back(from_bob, bob, snapshot):
    revoke(from_bob, bob)
    before = snapshot(from_bob.root)
    said = from_bob.airgap("rollback", "--json")
    assert (said.code, said.document["rule"]) == (3, "policy.threshold")
    assert ": stolen" in said.document["message"]
    assert said.document["hint"].endswith("--anyway REASON")
    assert snapshot(from_bob.root) == before


def test_in_an_emergency_a_person_says_why(from_bob, bob):
    revoke(from_bob, bob)
    said = from_bob.airgap("rollback", "--anyway", "the new one does not load")
    assert said.code == 0, said.err
    assert "overridden: the new one does not load" in said.err
    assert served(from_bob) == ("1.0.0", 1)
    override = [one for one in events(from_bob) if one["event"] == "override"][-1]
    assert override["facts"]["rule"] == "policy.threshold"
    assert "the new one does not load" in override["facts"]["why"]


@pytest.mark.parametrize("reason", ["", "  "])
def test_an_empty_reason_is_none(from_bob, bob, reason):
    revoke(from_bob, bob)
    assert from_bob.airgap("rollback", "--anyway", reason).code == 3
    assert served(from_bob) == ("1.1.0", 2)


def test_where_the_policy_stops_what_is_served_no_reason_helps(from_bob, bob):
    policy = from_bob.root / "trust" / "policy.yaml"
    policy.write_text(policy.read_text().replace("expired: serve", "expired: stop"))
    revoke(from_bob, bob)
    assert from_bob.airgap("rollback", "--anyway", "please").code == 3
    assert served(from_bob) == ("1.1.0", 2)


def test_what_expired_stops_the_way_back_too(host, write):
    old = write("old", expires=EXPIRES)
    assert host.airgap("mount", old, "--clock-wrong", "for the test").code == 0
    assert host.airgap("mount", write("new", version="1.1.0", sequence=8)).code == 0
    said = host.airgap("rollback", "--json")
    assert (said.code, said.document["rule"]) == (3, "expiry")
    assert served(host) == ("1.1.0", 2)
    assert host.airgap("rollback", "--anyway", "nothing else works").code == 0
    assert served(host) == ("1.0.0", 1)


def test_list_shows_every_generation(twice):
    found = twice.airgap("list", "--all", "--json").document["mounts"]
    assert [(one["generation"], one["current"], one["previous"]) for one in found] == [
        (2, True, 1),
        (1, False, None),
    ]
    text = twice.airgap("list", "--all").out
    assert ", not served" in text
    assert len(twice.airgap("list", "--json").document["mounts"]) == 1
