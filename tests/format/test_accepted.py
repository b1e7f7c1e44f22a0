"""What a host remembers: an old bundle, signed and all, does not come back."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from airgap.accepted import Accepted, AcceptedFile, Last, Overrides
from airgap.errors import OutdatedError, UntrustedError, UsageError
from airgap.statement import Statement

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def statement(bundle, verified, trusting_alice):
    found: Statement = verified(bundle, trusting_alice).bundle.statement
    return found


@pytest.fixture
def accepted(statement):
    return Accepted({}).raised(statement, NOW)


@pytest.fixture
def record(tmp_path):
    record = AcceptedFile(tmp_path)
    record.start()
    return record


def test_the_first_bundle_of_a_name(statement):
    Accepted({}).admit(statement, NOW)


def test_the_same_bundle_again(accepted, statement):
    accepted.admit(statement, NOW)


def test_a_newer_bundle(accepted, statement):
    newer = replace(statement, sequence=8)
    accepted.admit(newer, NOW)
    assert accepted.raised(newer, NOW).bundles["demo"].sequence == 8


def test_an_older_bundle(accepted, statement):
    with pytest.raises(OutdatedError) as caught:
        accepted.admit(replace(statement, sequence=6), NOW)
    assert caught.value.rule == "sequence.older"
    assert caught.value.exit_code == 3
    assert "has sequence 6, and this host has accepted sequence 7 of 'demo'" in caught.value.message


def test_another_bundle_under_the_same_number(accepted, statement):
    with pytest.raises(UntrustedError) as caught:
        accepted.admit(replace(statement, version="1.0.1"), NOW)
    assert caught.value.rule == "sequence.twice"
    assert "'demo-1.0.1' has sequence 7" in caught.value.message


def test_names_are_counted_apart(accepted, statement):
    accepted.admit(replace(statement, name="other", sequence=0), NOW)


def test_verify_asks_the_record(recipe, alice, verified, accepted, trusting_alice):
    older = recipe.but_manifest(sequence=6).build(alice)
    with pytest.raises(OutdatedError, match="has sequence 6"):
        verified(older, trusting_alice, accepted)
    verified(older, trusting_alice, None)  # --key: the host's own policy is not asked


def test_signatures_come_before_age(recipe, mallory, verified, accepted, trusting_alice):
    """What nobody vouches for says nothing about its age."""
    older = recipe.but_manifest(sequence=6).build(mallory)
    with pytest.raises(UntrustedError):
        verified(older, trusting_alice, accepted)


def test_expiry(statement):
    at = datetime(2027, 1, 1, tzinfo=UTC)
    Accepted({}).admit(statement, at)
    with pytest.raises(OutdatedError) as caught:
        Accepted({}).admit(statement, at + timedelta(seconds=1))
    assert caught.value.rule == "expiry"
    assert (
        "expired on 2027-01-01T00:00:00Z; it is 2027-01-01T00:00:01Z here" in caught.value.message
    )


def test_without_expiry_nothing_expires(statement):
    Accepted({}).admit(replace(statement, expires=None), datetime(2100, 1, 1, tzinfo=UTC))


def test_a_clock_that_was_set_back_revives_nothing(accepted, statement):
    """The newest time that was ever accepted, of any name, is the least that it can be now."""
    later = replace(statement, name="other", created="2027-06-01T00:00:00Z", expires=None)
    record = accepted.raised(later, datetime(2027, 7, 1, tzinfo=UTC))
    with pytest.raises(OutdatedError, match="it is 2027-06-01T00:00:00Z here"):
        record.admit(statement, datetime(2000, 1, 1, tzinfo=UTC))


def test_a_bundle_from_the_future_ages_nothing(accepted, statement):
    """Its time is not remembered: one bad clock at a builder would end every other bundle."""
    later = replace(statement, name="other", created="2099-01-01T00:00:00Z", expires=None)
    accepted.raised(later, NOW).admit(statement, NOW)


def test_time_only_grows(statement):
    first = Accepted({}).raised(statement, NOW)
    second = first.raised(replace(statement, sequence=9, created="2020-01-01T00:00:00Z"), NOW)
    assert second.newest == first.newest == statement.created


def test_a_person_takes_an_older_bundle_upon_themselves(accepted, statement):
    """The refusal is taken back by a reason alone, and told as overridden."""
    told = []
    older = replace(statement, sequence=6)
    accepted.admit(older, NOW, Overrides(allow_older="the new one has no German"), told.append)
    assert [step.rule for step in told if step.outcome == "overridden"] == ["sequence.older"]
    for wrong in (Overrides(), Overrides(allow_older=""), Overrides(clock_wrong="x")):
        with pytest.raises(OutdatedError, match="has sequence 6"):
            accepted.admit(older, NOW, wrong)


def test_a_person_takes_the_clock_upon_themselves(statement):
    late = datetime(2030, 1, 1, tzinfo=UTC)
    Accepted({}).admit(statement, late, Overrides(clock_wrong="the battery is flat"))
    with pytest.raises(OutdatedError, match="expired on"):
        Accepted({}).admit(statement, late, Overrides(allow_older="x"))


def test_round_trip(accepted):
    assert Accepted.parse(accepted.to_bytes(), "x") == accepted


def test_the_record_on_disk(record, statement):
    assert record.load() == Accepted({})
    record.raise_to(statement, NOW)
    assert record.load() == Accepted({}).raised(statement, NOW)
    names = sorted(path.name for path in record.path.parent.iterdir())
    assert names == ["accepted.json", "accepted.lock"]


def test_a_mount_that_is_remembered_while_the_time_is_forgotten(record, statement):
    second = threading.Thread(target=record.raise_to, args=(statement, NOW))
    with record.changing() as before:
        second.start()
        second.join(0.3)
        assert second.is_alive()
        assert before == record.load()
    second.join()
    assert statement.name in record.load().bundles


def test_a_missing_record(tmp_path):
    """Deleted, it would let an old bundle pass for a new one (go-tuf's CVE-2022-29173)."""
    with pytest.raises(UntrustedError, match="is missing: an old bundle could pass") as caught:
        AcceptedFile(tmp_path).load()
    assert caught.value.rule == "state.missing"
    assert not list(tmp_path.iterdir())


def test_nothing_is_remembered_over_a_missing_record(tmp_path, statement):
    with pytest.raises(UntrustedError, match="is missing"):
        AcceptedFile(tmp_path).raise_to(statement, NOW)
    assert not list(tmp_path.iterdir())


GOOD = b'{\n  "bundles": {},\n  "newest": null,\n  "schema": "airgap/accepted/v1"\n}\n'


@pytest.mark.parametrize(
    ("content", "saying"),
    [
        (b"", "Expecting value"),
        (b"\0" * 100, "Expecting value"),
        (GOOD[:-5], "Unterminated string"),
        (b"[]", "expected an object"),
        (b"{}", "'bundles' is missing"),
        (GOOD.replace(b"v1", b"v2"), "schema: expected airgap/accepted/v1"),
        (GOOD.replace(b"{}", b"[]"), "bundles: expected an object"),
        (GOOD.replace(b"{}", b'{"demo": {}}'), "bundles.demo: 'sequence' is missing"),
        (GOOD.replace(b"{}", b'{"demo": 7}'), "bundles.demo: expected an object"),
        (GOOD.replace(b"{}", b'{}, "more": 1'), "'more' is not known here"),
        (
            GOOD.replace(
                b"{}",
                b'{"De mo": {"sequence": 1, "statement": "%b", "created": "2026-01-01T00:00:00Z"}}'
                % (b"0" * 64),
            ),
            "expected a name",
        ),
        (
            GOOD.replace(
                b"{}",
                b'{"demo": {"sequence": -1, "statement": "%b", "created": "2026-01-01T00:00:00Z"}}'
                % (b"0" * 64),
            ),
            "sequence: expected an integer",
        ),
    ],
)
def test_a_damaged_record(record, statement, content, saying):
    record.path.write_bytes(content)
    for use in (record.load, lambda: record.raise_to(statement, NOW)):
        with pytest.raises(UntrustedError) as caught:
            use()
        assert caught.value.rule == "state.damaged"
        assert saying in caught.value.message
        assert str(record.path) in caught.value.message
    assert record.path.read_bytes() == content


def test_a_record_that_is_too_large(record):
    record.path.write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(UsageError, match="too large"):
        record.load()


def test_the_statement_is_remembered_by_digest(statement, verified, bundle, trusting_alice):
    last = Accepted({}).raised(statement, NOW).bundles["demo"]
    code = verified(bundle, trusting_alice).approval_code
    assert last == Last(7, code.replace(" ", ""), statement.created)
