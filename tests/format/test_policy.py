"""Whose signatures count: a plain model beside the real judge, and the cases that broke others."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap import signing
from airgap.envelope import Envelope, Signature
from airgap.errors import UntrustedError
from airgap.keys import ECDSA_P384, ED25519
from airgap.policy import Policy, Signer, policy_of_keys

ALGORITHMS = (ED25519, ECDSA_P384)
POOL = tuple(signing.generate(algorithm) for algorithm in ALGORITHMS * 4)
STATEMENT = b"a statement"
GOOD = {key.public.key_id: key.sign(Envelope(STATEMENT, ()).message) for key in POOL}
BAD = {key.public.key_id: key.sign(b"something else") for key in POOL}


def signer(name, keys, algorithms=ALGORITHMS):
    return Signer(name, tuple(algorithms), {key.public.key_id: key.public for key in keys})


def policy(threshold, *signers):
    return Policy("a test", threshold, ("*",), {one.name: one for one in signers})


def envelope(*signatures):
    return Envelope(STATEMENT, tuple(sorted(signatures)))


def good(*keys):
    return [GOOD[key.public.key_id] for key in keys]


def model(threshold, owners, needed, states):
    """The rule in plain words: (verdict, who counts).

    owners: key -> name; needed: name -> algorithms; states: key -> "good" or "bad".
    """
    known = {key: state for key, state in states.items() if key in owners}
    if "bad" in known.values():
        return "signature.bad"
    have = {}
    for key in known:
        have.setdefault(owners[key], set()).add(POOL[key].public.algorithm)
    if any(needed[name] - algorithms for name, algorithms in have.items()):
        return "signature.incomplete"
    return sorted(have) if len(have) >= threshold else "policy.threshold"


@st.composite
def situations(draw):
    owners = draw(
        st.dictionaries(st.integers(0, len(POOL) - 1), st.sampled_from("abc"), min_size=1)
    )
    held = {name: {POOL[key].public.algorithm for key in owners if owners[key] == name}
            for name in owners.values()}
    needed = {
        name: draw(st.sets(st.sampled_from(sorted(algorithms)), min_size=1))
        for name, algorithms in held.items()
    }
    states = draw(
        st.dictionaries(
            st.integers(0, len(POOL) - 1), st.sampled_from(["good", "good", "good", "bad"])
        )
    )
    return SimpleNamespace(
        threshold=draw(st.integers(1, 3)), owners=owners, needed=needed, states=states
    )


@given(situations())
@settings(max_examples=200, deadline=None)
def test_the_judge_agrees_with_the_plain_model(case):
    wanted = model(case.threshold, case.owners, case.needed, case.states)
    signers = [
        signer(name, [POOL[key] for key in case.owners if case.owners[key] == name], algorithms)
        for name, algorithms in case.needed.items()
    ]
    signatures = [
        (GOOD if state == "good" else BAD)[POOL[key].public.key_id]
        for key, state in case.states.items()
    ]
    try:
        verdict = policy(case.threshold, *signers).judge(envelope(*signatures))
    except UntrustedError as error:
        assert error.rule == wanted
    else:
        assert sorted(verdict.signers) == wanted
        strangers = {POOL[key].public.key_id for key in case.states if key not in case.owners}
        assert set(verdict.unknown) == strangers


def test_two_keys_of_one_person_are_one_signer():
    """python-tuf's CVE-2020-6174: one key, or one person, counted twice."""
    both = signer("alice", POOL[:4])
    with pytest.raises(UntrustedError, match="wants 2 signer.* found: signed by alice"):
        policy(2, both, signer("bob", POOL[4:6])).judge(envelope(*good(*POOL[:4])))


def test_two_keys_of_one_algorithm_do_not_stand_for_two():
    """Two Ed25519 keys of alice's are no P-384 key."""
    alice = signer("alice", [POOL[0], POOL[1], POOL[2]])
    with pytest.raises(UntrustedError, match="without a valid signature: ecdsa-p384"):
        policy(1, alice).judge(envelope(*good(POOL[0], POOL[2])))


def test_a_spare_key_serves_as_well():
    alice = signer("alice", POOL[:4])
    verdict = policy(1, alice).judge(envelope(*good(POOL[2], POOL[1])))
    assert verdict.signers == {"alice": (ECDSA_P384, ED25519)}


def test_one_key_twice_in_a_policy_is_one():
    """Written in two encodings, it has one id: the dictionary holds it once."""
    found = policy_of_keys([POOL[0].public, POOL[0].public], "--key a --key a")
    assert len(found.signers["the key given"].keys) == 1
    assert found.threshold == 1


def test_a_policy_of_keys_wants_every_algorithm_given():
    found = policy_of_keys([key.public for key in POOL[:2]], "--key alice")
    assert found.judge(envelope(*good(*POOL[:2]))).policy == "--key alice"
    for one in POOL[:2]:
        with pytest.raises(UntrustedError, match="'the key given' must sign with all"):
            found.judge(envelope(*good(one)))


def test_a_policy_without_signers_accepts_nothing():
    for signatures in ((), good(POOL[0])):
        with pytest.raises(UntrustedError, match="of none yet"):
            policy(1).judge(envelope(*signatures))


def test_only_short_names_of_unknown_keys_are_told():
    with pytest.raises(UntrustedError) as caught:
        policy(1, signer("alice", POOL[:2])).judge(envelope(*good(POOL[4])))
    stranger = POOL[4].public.key_id
    assert stranger[:16] in caught.value.message
    assert stranger not in caught.value.message


def test_a_signature_over_another_statement():
    """All signatures are good, over something else."""
    moved = Envelope(b"another statement", tuple(sorted(good(*POOL[:2]))))
    with pytest.raises(UntrustedError, match="is bad"):
        policy(1, signer("alice", POOL[:2])).judge(moved)


def test_an_empty_signature_of_a_known_key():
    empty = Signature(POOL[0].public.key_id, b"")
    with pytest.raises(UntrustedError, match="signature of 'alice'"):
        policy(1, signer("alice", POOL[:1], [ED25519])).judge(envelope(empty))
