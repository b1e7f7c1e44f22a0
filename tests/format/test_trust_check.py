"""What will stop mounts is told before it does, and what stops them already is told as that."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from airgap.keys import ECDSA_P384, ED25519
from airgap.policy import BUNDLE, RECEIPT, TRUST, Policy, Revocation, Signer, TrustedKey
from airgap.trust_check import concerns

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PAST = "2026-01-01T00:00:00Z"
NO_SPARE = "no signer can be missed and none has a spare key: one lost key stops mounts"


def policy(threshold, *signers, revoked=()):
    return Policy(
        "a test",
        threshold,
        ("*",),
        {one.name: one for one in signers},
        revoked={key_id: Revocation(PAST, "lost") for key_id in revoked},
    )


def signer(person, *spares, roles=(BUNDLE, TRUST), expires=None, algorithms=None):
    """A signer with these people's keys, `spares` beside their own."""
    keys = [key for one in (person, *spares) for key in one.public]
    algorithms = algorithms or tuple(sorted({key.algorithm for key in person.public}))
    return Signer(
        person.name, algorithms, {key.key_id: TrustedKey(key, roles, expires) for key in keys}
    )


def told(policy, now=NOW):
    return [(one.text, one.stops) for one in concerns(policy, now)]


def test_nothing_to_say(alice, bob):
    """Two signers, one of whom can be missed."""
    assert told(policy(1, signer(alice), signer(bob))) == []


def test_a_spare_key_of_each_algorithm_is_enough(alice, person):
    assert told(policy(1, signer(alice, person("spare")))) == []
    half = person("spare", (ED25519,))
    assert told(policy(1, signer(alice, half))) == [(NO_SPARE, False)]


def test_no_spare_is_a_warning(alice, bob):
    assert told(policy(2, signer(alice), signer(bob))) == [(NO_SPARE, False)]


def test_a_spare_that_no_longer_counts_is_none(alice, person):
    spare = person("spare")
    one = signer(alice, spare)
    assert told(policy(1, one, revoked=[spare.public[0].key_id])) == [(NO_SPARE, False)]
    late = {key.key_id: TrustedKey(key, expires=PAST) for key in spare.public}
    texts = [text for text, _stops in told(policy(1, replace(one, keys={**one.keys, **late})))]
    assert texts[0] == NO_SPARE
    other = {key.key_id: TrustedKey(key, (RECEIPT,)) for key in spare.public}
    assert told(policy(1, replace(one, keys={**one.keys, **other}))) == [(NO_SPARE, False)]


@pytest.mark.parametrize(
    ("signers", "able"),
    [([], "none"), (["alice"], "alice"), (["alice", "revoked"], "alice")],
)
def test_too_few_who_can_sign_stop_everything(alice, bob, signers, able):
    made = {"alice": signer(alice), "revoked": signer(bob)}
    rule = policy(2, *(made[one] for one in signers), revoked=[bob.public[0].key_id])
    assert told(rule) == [
        (f"2 signer(s) must sign, and able to are: {able}", True),
        (
            f"no rotation can be accepted: 2 signer(s) must sign it, and able to are: {able}",
            False,
        ),
    ]


def test_a_signer_whose_algorithm_is_not_there_cannot_sign(person):
    """All keys of one algorithm expired: the signer counts no more, and that is told."""
    one = person("carol")
    keys = {
        key.key_id: TrustedKey(key, expires=PAST if key.algorithm == ECDSA_P384 else None)
        for key in one.public
    }
    found = told(policy(1, Signer("carol", (ED25519, ECDSA_P384), keys)))
    assert found[0] == ("1 signer(s) must sign, and able to are: none", True)
    late = next(key for key in one.public if key.algorithm == ECDSA_P384)
    assert (f"'carol', ecdsa-p384 key {late.key_id[:16]}: expired on {PAST}", False) in found


def test_a_host_for_receipts_signs_no_bundle(alice, bob):
    assert told(policy(1, signer(alice, roles=(RECEIPT,))))[0][1] is True
    assert told(policy(1, signer(alice), signer(bob, roles=(RECEIPT,)))) == [(NO_SPARE, False)]


def test_nobody_who_can_sign_a_rotation_is_a_warning_alone(alice, bob):
    found = told(policy(1, signer(alice, roles=(BUNDLE,)), signer(bob, roles=(BUNDLE,))))
    wanted = "no rotation can be accepted: 1 signer(s) must sign it, and able to are: none"
    assert found == [(wanted, False)]


@pytest.mark.parametrize(
    ("now", "saying"),
    [
        (datetime(2026, 9, 1, 0, 0, 0, tzinfo=UTC), None),
        (datetime(2026, 9, 2, 23, 59, 59, tzinfo=UTC), None),
        (datetime(2026, 9, 3, tzinfo=UTC), "expires on 2026-12-02T00:00:00Z, in 90 days"),
        (datetime(2026, 12, 1, tzinfo=UTC), "expires on 2026-12-02T00:00:00Z, in 1 day"),
        (
            datetime(2026, 12, 1, 23, tzinfo=UTC),
            "expires on 2026-12-02T00:00:00Z, in less than a day",
        ),
        (datetime(2026, 12, 2, tzinfo=UTC), "expired on 2026-12-02T00:00:00Z"),
        (datetime(2030, 1, 1, tzinfo=UTC), "expired on 2026-12-02T00:00:00Z"),
    ],
)
def test_an_expiring_key_is_told_from_90_days_before(alice, bob, now, saying):
    rule = policy(1, signer(alice, expires="2026-12-02T00:00:00Z"), signer(bob))
    texts = [text for text, _stops in told(rule, now) if text.startswith("'alice'")]
    short = {f"'alice', {key.algorithm} key {key.key_id[:16]}: {saying}" for key in alice.public}
    assert set(texts) == (short if saying else set())


def test_a_revoked_key_is_not_mourned(alice, bob):
    """Its expiry is nobody's concern any more."""
    rule = policy(
        1,
        signer(alice, expires="2026-07-01T00:00:00Z"),
        signer(bob),
        revoked=[key.key_id for key in alice.public],
    )
    assert told(rule) == [(NO_SPARE, False)]
