"""What a host remembers: an old bundle, signed and all, does not come back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from airgap.accepted import Accepted, AcceptedFile, Last
from airgap.errors import OutdatedError, UntrustedError, UsageError
from airgap.statement import Statement

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def statement(bundle, alice, policy_of, verified):
    found: Statement = verified(bundle, policy_of(alice)).bundle.statement
    return found


@pytest.fixture
def accepted(statement):
    return Accepted({}).raised(statement)


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
    assert accepted.raised(newer).bundles["demo"].sequence == 8


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


def test_verify_asks_the_record(recipe, alice, policy_of, verified, accepted):
    older = recipe.but_manifest(sequence=6).build(alice)
    with pytest.raises(OutdatedError, match="has sequence 6"):
        verified(older, policy_of(alice), accepted)
    verified(older, policy_of(alice), None)  # --key: the host's own policy is not asked


def test_signatures_come_before_age(recipe, mallory, alice, policy_of, verified, accepted):
    """What nobody vouches for says nothing about its age."""
    older = recipe.but_manifest(sequence=6).build(mallory)
    with pytest.raises(UntrustedError):
        verified(older, policy_of(alice), accepted)


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
    with pytest.raises(OutdatedError, match="it is 2027-06-01T00:00:00Z here"):
        accepted.raised(later).admit(statement, datetime(2000, 1, 1, tzinfo=UTC))


def test_round_trip(accepted):
    assert Accepted.parse(accepted.to_bytes(), "x") == accepted


def test_the_record_on_disk(record, statement):
    assert record.load() == Accepted({})
    record.raise_to(statement)
    assert record.load() == Accepted({}).raised(statement)
    assert [path.name for path in record.path.parent.iterdir()] == ["accepted.json"]


def test_a_missing_record(tmp_path):
    """Deleted, it would let an old bundle pass for a new one (go-tuf's CVE-2022-29173)."""
    with pytest.raises(UntrustedError, match="is missing: an old bundle could pass") as caught:
        AcceptedFile(tmp_path).load()
    assert caught.value.rule == "state.missing"
    assert not list(tmp_path.iterdir())


def test_nothing_is_remembered_over_a_missing_record(tmp_path, statement):
    with pytest.raises(UntrustedError, match="is missing"):
        AcceptedFile(tmp_path).raise_to(statement)
    assert not list(tmp_path.iterdir())


GOOD = b'{\n  "bundles": {},\n  "schema": "airgap/accepted/v1"\n}\n'


@pytest.mark.parametrize(
    ("content", "saying"),
    [
        (b"", "Expecting value"),
        (b"\0" * 100, "Expecting value"),
        (GOOD[:-5], "delimiter"),
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
    for use in (record.load, lambda: record.raise_to(statement)):
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


def test_the_statement_is_remembered_by_digest(statement, alice, policy_of, verified, bundle):
    last = Accepted({}).raised(statement).bundles["demo"]
    code = verified(bundle, policy_of(alice)).approval_code
    assert last == Last(7, code.replace(" ", ""), statement.created)
