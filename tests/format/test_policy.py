"""Whose signatures count: a plain model beside the real judge, and the cases that broke others."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap import signing
from airgap.envelope import Envelope, Signature
from airgap.errors import UntrustedError
from airgap.keys import ECDSA_P384, ED25519
from airgap.policy import ROLES, Policy, Revocation, Signer, TrustedKey, policy_of_keys

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PAST = "2026-01-01T00:00:00Z"
ALGORITHMS = (ED25519, ECDSA_P384)
POOL = tuple(signing.generate(algorithm) for algorithm in ALGORITHMS * 4)
STATEMENT = b"a statement"
GOOD = {key.public.key_id: key.sign(Envelope(STATEMENT, ()).message) for key in POOL}
BAD = {key.public.key_id: key.sign(b"something else") for key in POOL}


def signer(name, keys, algorithms=ALGORITHMS, expired=()):
    return Signer(
        name,
        tuple(algorithms),
        {
            key.public.key_id: TrustedKey(key.public, expires=PAST if key in expired else None)
            for key in keys
        },
    )


def policy(threshold, *signers, revoked=()):
    return Policy(
        "a test",
        threshold,
        ("*",),
        {one.name: one for one in signers},
        revoked={key.public.key_id: Revocation(PAST, "lost") for key in revoked},
    )


def judge(policy, envelope, **options):
    return policy.judge(envelope, NOW, **options)


def envelope(*signatures):
    return Envelope(STATEMENT, tuple(sorted(signatures)))


def good(*keys):
    return [GOOD[key.public.key_id] for key in keys]


def model(case):
    """The rule in plain words: the rule that refuses, or who counts. Keys are numbers."""
    known = {key for key in case.states if key in case.owners and key not in case.revoked}
    if any(case.states[key] == "bad" for key in known):
        return "signature.bad"
    counts = []
    for name, needed in case.needed.items():
        own = {key for key in case.owners if case.owners[key] == name}
        valid = {kind(key) for key in own & known - case.expired}
        excused = {kind(key) for key in own & known & case.expired}
        excused |= set(ALGORITHMS) - {kind(key) for key in own - case.revoked}
        if valid and needed - valid - excused:
            return "signature.incomplete"
        counts += [name] if valid and needed <= valid else []
    return sorted(counts) if len(counts) >= case.threshold else "policy.threshold"


def kind(key):
    return POOL[key].public.algorithm


NUMBERS = st.integers(0, len(POOL) - 1)


@st.composite
def situations(draw):
    owners = draw(st.dictionaries(NUMBERS, st.sampled_from("abc"), min_size=1))
    needed = {}
    for name in set(owners.values()):
        held = sorted({kind(key) for key in owners if owners[key] == name})
        needed[name] = draw(st.sets(st.sampled_from(held), min_size=1))
    states = st.sampled_from(["good", "good", "good", "good", "bad"])
    return SimpleNamespace(
        threshold=draw(st.integers(1, 3)),
        owners=owners,
        needed=needed,
        states=draw(st.dictionaries(NUMBERS, states)),
        expired=draw(st.sets(NUMBERS, max_size=2)),
        revoked=draw(st.sets(NUMBERS, max_size=2)),
    )


@given(situations())
@settings(max_examples=300, deadline=None)
def test_the_judge_agrees_with_the_plain_model(case):
    wanted = model(case)
    expired = [POOL[key] for key in case.expired]
    signers = [
        signer(
            name, [POOL[key] for key in case.owners if case.owners[key] == name], needed, expired
        )
        for name, needed in case.needed.items()
    ]
    rule = policy(case.threshold, *signers, revoked=[POOL[key] for key in case.revoked])
    signatures = [
        (GOOD if state == "good" else BAD)[POOL[key].public.key_id]
        for key, state in case.states.items()
    ]
    assert outcome(rule, envelope(*signatures)) == wanted


def outcome(rule, signed):
    """Who counts, or the rule that refuses."""
    try:
        return sorted(judge(rule, signed).signers)
    except UntrustedError as error:
        return error.rule


def test_two_keys_of_one_person_are_one_signer():
    """python-tuf's CVE-2020-6174: one key, or one person, counted twice."""
    both = signer("alice", POOL[:4])
    with pytest.raises(UntrustedError, match=r"wants 2 signer.* found: signed by alice"):
        judge(policy(2, both, signer("bob", POOL[4:6])), envelope(*good(*POOL[:4])))


def test_two_keys_of_one_algorithm_do_not_stand_for_two():
    """Two Ed25519 keys of alice's are no P-384 key."""
    alice = signer("alice", [POOL[0], POOL[1], POOL[2]])
    with pytest.raises(UntrustedError, match="without a valid signature: ecdsa-p384"):
        judge(policy(1, alice), envelope(*good(POOL[0], POOL[2])))


def test_a_spare_key_serves_as_well():
    alice = signer("alice", POOL[:4])
    verdict = judge(policy(1, alice), envelope(*good(POOL[2], POOL[1])))
    assert verdict.signers == {"alice": (ECDSA_P384, ED25519)}


def test_one_key_twice_in_a_policy_is_one():
    """Written in two encodings, it has one id: the dictionary holds it once."""
    found = policy_of_keys([POOL[0].public, POOL[0].public], "--key a --key a")
    assert len(found.signers["the key given"].keys) == 1
    assert found.threshold == 1


def test_a_policy_of_keys_wants_every_algorithm_given():
    found = policy_of_keys([key.public for key in POOL[:2]], "--key alice")
    assert judge(found, envelope(*good(*POOL[:2]))).policy == "--key alice"
    for one in POOL[:2]:
        with pytest.raises(UntrustedError, match="'the key given' must sign with all"):
            judge(found, envelope(*good(one)))


def test_a_policy_without_signers_accepts_nothing():
    for signatures in ((), good(POOL[0])):
        with pytest.raises(UntrustedError, match="of none yet"):
            judge(policy(1), envelope(*signatures))


def test_only_short_names_of_unknown_keys_are_told():
    with pytest.raises(UntrustedError) as caught:
        judge(policy(1, signer("alice", POOL[:2])), envelope(*good(POOL[4])))
    stranger = POOL[4].public.key_id
    assert stranger[:16] in caught.value.message
    assert stranger not in caught.value.message


def test_a_signature_over_another_statement():
    """All signatures are good, over something else."""
    moved = Envelope(b"another statement", tuple(sorted(good(*POOL[:2]))))
    with pytest.raises(UntrustedError, match="is bad"):
        judge(policy(1, signer("alice", POOL[:2])), moved)


def test_an_empty_signature_of_a_known_key():
    empty = Signature(POOL[0].public.key_id, b"")
    with pytest.raises(UntrustedError, match="signature of 'alice'"):
        judge(policy(1, signer("alice", POOL[:1], [ED25519])), envelope(empty))


@pytest.mark.parametrize("role", ROLES)
def test_one_use_never_stands_for_another(role):
    """A key for receipts does not vouch for bundles, whoever's it is."""
    trusted = TrustedKey(POOL[0].public, roles=(role,))
    alice = Signer("alice", (ED25519,), {POOL[0].public.key_id: trusted})
    for asked in ROLES:
        if asked == role:
            assert judge(policy(1, alice), envelope(*good(POOL[0])), role=asked).signers
            continue
        with pytest.raises(UntrustedError, match=f"a key for {role}, not for {asked}"):
            judge(policy(1, alice), envelope(*good(POOL[0])), role=asked)


def test_an_expired_key_counts_for_nothing():
    alice = signer("alice", POOL[:2], expired=POOL[:1])
    with pytest.raises(UntrustedError, match=f"a key that expired on {PAST}") as caught:
        judge(policy(1, alice), envelope(*good(*POOL[:2])))
    assert caught.value.rule == "policy.threshold"


def test_a_revoked_key_counts_for_nothing():
    alice = signer("alice", POOL[:2])
    with pytest.raises(UntrustedError, match=f"a key revoked on {PAST}: lost") as caught:
        judge(policy(1, alice, revoked=POOL[:1]), envelope(*good(*POOL[:2])))
    assert caught.value.rule == "policy.threshold"


def test_a_successor_stands_in_for_a_revoked_key():
    alice = signer("alice", [POOL[0], POOL[1], POOL[2]])
    rule = policy(1, alice, revoked=POOL[:1])
    assert judge(rule, envelope(*good(POOL[2], POOL[1]))).signers == {
        "alice": (ECDSA_P384, ED25519)
    }


def test_a_signer_who_may_not_sign_for_this_name(recipe, verified):
    """Alice's list of bundles bounds her, whatever the policy accepts."""
    alice = Signer("alice", ALGORITHMS, signer("alice", POOL[:2]).keys, bundles=("other-*",))
    people = SimpleNamespace(keys=POOL[:2])
    with pytest.raises(UntrustedError, match=r"wants 1 signer.* who may sign for 'demo'") as caught:
        verified(recipe.build(people), policy(1, alice))
    assert caught.value.rule == "policy.signer-bundles"
