"""Rotations: a quorum of the old policy and of the new, a version that grows, nothing else."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from airgap import receipt, rotation, signing, strict_json
from airgap.accepted import Accepted
from airgap.checkpoint import Checkpoint
from airgap.envelope import Envelope
from airgap.errors import DamagedError, OutdatedError, UntrustedError, UsageError
from airgap.host_key import HostKey
from airgap.policy import BUNDLE, RECEIPT, ROLES, TRUST, Revocation, Signer, TrustedKey
from airgap.rotation import Rotation, RotationFile
from airgap.statement import Statement
from airgap.trust import TrustStore

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PAST = "2026-01-01T00:00:00Z"
BOTH = (BUNDLE, TRUST)


@pytest.fixture(scope="session")
def carol(person):
    return person("carol")


@pytest.fixture
def store(tmp_path, alice, bob):
    """A host on which alice and bob must both sign."""
    store = TrustStore(tmp_path / "trust")
    store.create(2, ("*",))
    store.add("alice", alice.public, roles=BOTH)
    store.add("bob", bob.public, roles=BOTH)
    return store


@pytest.fixture
def edited(store, tmp_path):
    """Makes a rotation to the host's policy with changes, through a folder as a person does."""

    def edited(**changes):
        copy = TrustStore(tmp_path / "edited")
        old = store.load()
        copy.folder.mkdir()
        (copy.folder / "keys").mkdir()
        copy.save(replace(old, **{"version": old.version + 1, **changes}))
        return Envelope(Rotation.of_store(copy).to_bytes(), ())

    return edited


def signed(envelope, *people):
    return signing.sign(envelope, [key for one in people for key in one.keys])


def signers(*people):
    return {one.name: one.signer for one in people}


def content_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def refused(store):
    """A rotation is refused by a rule, and not a byte of the store has changed."""

    def refused(envelope, rule, saying, error=UntrustedError):
        before = content_of(store.folder)
        with pytest.raises(error) as caught:
            rotation.apply(store, envelope, NOW)
        assert type(caught.value) is error
        assert saying in caught.value.message
        assert content_of(store.folder) == before
        if rule is not None:
            assert caught.value.rule == rule
            assert caught.value.hint
        return caught.value

    return refused


def test_a_quorum_of_both_replaces_the_policy(store, edited, alice, bob, carol):
    made = signed(edited(signers=signers(alice, carol)), alice, bob, carol)
    told = []
    policy = rotation.apply(store, made, NOW, told.append)
    assert policy == store.load()
    assert (policy.version, sorted(policy.signers)) == (2, ["alice", "carol"])
    assert store.policy_bytes() == Rotation.parse(made.statement).policy
    rules = [step.rule for step in told if step.rule != "signature"]
    assert rules == ["policy.threshold", "rotation.version", "policy.threshold"]
    assert [step.outcome for step in told].count("noted") == 4  # carol in the old, bob in the new


@pytest.mark.parametrize(
    ("who", "missing"),
    [
        ("alice carol", "wants 2 signer(s) of alice, bob; found: signed by alice"),
        ("bob carol", "wants 2 signer(s) of alice, bob; found: signed by bob"),
        ("carol", "found: signed by nobody that counts"),
        ("", "nobody has signed it"),
        ("alice bob", "the new policy wants 2 signer(s) of alice, carol; found: signed by alice"),
    ],
)
def test_either_quorum_missing(edited, refused, alice, bob, carol, *, who, missing):
    people = {"alice": alice, "bob": bob, "carol": carol}
    made = signed(edited(signers=signers(alice, carol)), *(people[one] for one in who.split()))
    refused(made, "policy.threshold", missing)


def test_a_new_policy_that_nobody_can_satisfy(edited, refused, alice, bob):
    """It would lock the host for ever: three signers wanted, two there are."""
    refused(signed(edited(threshold=3), alice, bob), "policy.threshold", "the new policy wants 3")


def test_a_single_signer_cannot_lower_the_threshold(edited, refused, alice):
    refused(signed(edited(threshold=1), alice), "policy.threshold", "wants 2 signer(s)")


@pytest.mark.parametrize("version", [1, 2])
def test_a_version_that_is_not_above(store, edited, refused, alice, bob, *, version):
    store.save(replace(store.load(), version=2))
    made = signed(edited(version=version), alice, bob)
    error = refused(
        made,
        "rotation.version",
        f"brings version {version} of the policy, and this host has version 2",
        OutdatedError,
    )
    assert error.exit_code == 3


def test_a_version_may_leap(store, edited, alice, bob):
    assert rotation.apply(store, signed(edited(version=9), alice, bob), NOW).version == 9


def test_replay(store, edited, refused, alice, bob):
    """Applied once, it is refused the second time, and after a newer one."""
    made = signed(edited(threshold=1), alice, bob)
    rotation.apply(store, made, NOW)
    refused(made, "rotation.version", "brings version 2", OutdatedError)
    store.save(replace(store.load(), version=3))
    refused(made, "rotation.version", "brings version 2", OutdatedError)


def test_alices_keys_without_the_role_trust(store, edited, refused, alice, bob):
    """A quorum of keys for bundles is none for policies."""
    store.add("alice", alice.public, roles=(BUNDLE,))
    made = signed(edited(threshold=1), alice, bob)
    error = refused(made, "policy.threshold", "found: signed by bob; not counted: ")
    assert "of 'alice', a key for bundle, not for trust" in error.message


def test_the_role_trust_is_wanted_in_the_new_policy_as_well(edited, refused, alice, bob):
    bundles = {
        key_id: TrustedKey(key.public, (BUNDLE,)) for key_id, key in alice.signer.keys.items()
    }
    lessened = Signer("alice", alice.signer.algorithms, bundles)
    made = signed(edited(signers={**signers(bob), "alice": lessened}), alice, bob)
    refused(made, "policy.threshold", "the new policy wants 2 signer(s)")


def test_a_revoked_key_signs_no_rotation(store, edited, refused, alice, bob):
    store.revoke(alice.public[0].key_id, "laptop stolen", NOW)
    made = signed(edited(revoked={}), alice, bob)
    error = refused(made, "policy.threshold", "found: signed by bob")
    assert "a key revoked on 2026-06-01T00:00:00Z: laptop stolen" in error.message


def test_a_key_that_the_rotation_itself_revokes_does_not_count_for_it(edited, refused, alice, bob):
    """The new policy's quorum is one of keys that stay."""
    revoked = {alice.public[0].key_id: Revocation(PAST, "retired")}
    refused(signed(edited(revoked=revoked), alice, bob), "policy.threshold", "the new policy")


def test_an_expired_key_signs_no_rotation(store, edited, refused, alice, bob):
    store.add("alice", alice.public, roles=BOTH, expires=PAST)
    made = signed(edited(threshold=1), alice, bob)
    refused(made, "policy.threshold", f"a key that expired on {PAST}")


def test_one_of_a_signers_algorithms_taken_away(edited, refused, alice, bob):
    made = signed(edited(threshold=1), alice, bob)
    lost = replace(made, signatures=made.signatures[1:])
    refused(lost, "signature.incomplete", "without a valid signature")


def test_a_byte_of_the_policy_changed(edited, refused, alice, bob):
    made = signed(edited(), alice, bob)
    changed = made.statement.replace(b"threshold: 2", b"threshold: 1")
    assert changed != made.statement
    refused(replace(made, statement=changed), "signature.bad", "is not what that key signed")


def test_alices_successor_needs_both_her_keys(store, edited, refused, alice, bob, *, person):
    """Rotating a key out: the old one signs for the old policy, the new one for the new."""
    after = person("alice")
    made = edited(signers=signers(after, bob))
    refused(signed(made, after, bob), "policy.threshold", "found: signed by bob")
    refused(signed(made, alice, bob), "policy.threshold", "the new policy wants 2")
    rotation.apply(store, signed(made, alice, after, bob), NOW)
    assert set(store.load().signers["alice"].keys) == set(after.signer.keys)


# --- what was signed is no sound rotation -------------------------------------------------------


def test_a_key_that_did_not_come_along(edited, refused, alice, bob, carol):
    whole = Rotation.parse(edited(signers=signers(alice, bob, carol)).statement)
    lacking = carol.public[0].key_id
    for found in ({}, {lacking: alice.public[0].pem}, {lacking: "no key"}):
        keys = {one: pem for one, pem in whole.keys.items() if one != lacking} | found
        made = signed(Envelope(replace(whole, keys=keys).to_bytes(), ()), alice, bob, carol)
        saying = "holds no PEM" if found.get(lacking) == "no key" else f"'keys/{lacking}.pub'"
        assert refused(made, None, saying, UsageError).exit_code == 2


@pytest.mark.parametrize(
    ("old", "new", "saying"),
    [
        (b"threshold: 2", b"treshold: 2", "did you mean 'threshold'?"),
        (b"threshold: 2", b"threshold: 0", "expected 1 to 32, found 0"),
        (b"policy: 1", b"policy: 2", "policy: expected 1 to 1"),
        (b"signers:", b"signers: &a", "anchors and aliases"),
        (b"- ed25519", b"- ml-dsa-87", "must sign with ml-dsa-87 and has no such key"),
        (b"- trust", b"- root", "a role: expected"),
    ],
)
def test_a_defective_policy(edited, refused, alice, bob, old, *, new, saying):
    whole = Rotation.parse(edited().statement)
    wrong = replace(whole, policy=whole.policy.replace(old, new, 1))
    assert wrong != whole
    made = signed(Envelope(wrong.to_bytes(), ()), alice, bob)
    message = refused(made, None, saying, UsageError).message
    assert message.startswith("policy.yaml:")


def other_json(statement, **changes):
    return strict_json.compact(strict_json.parse(statement) | changes)


@pytest.mark.parametrize(
    ("change", "saying"),
    [
        (lambda old: b"", "Expecting value"),
        (lambda old: b"{}", "'predicate' is missing"),
        (lambda old: old + b"\n", "it is not in canonical form"),
        (lambda old: other_json(old, subject=[]), "it is not in canonical form"),
        (lambda old: other_json(old, extra=1), "'extra' is not known here"),
        (lambda old: other_json(old, predicateType="urn:x"), "expected urn:airgap-bundler:policy"),
        (lambda old: other_json(old, _type="x"), "_type: expected https://in-toto.io/"),
        (lambda old: old.replace(b"threshold: 2", b"threshold: 1"), "not in canonical form"),
        (lambda old: old.replace(b'"keys":{', b'"keys":7,"x":{'), "keys: expected an object"),
    ],
)
def test_what_is_no_rotation(edited, refused, alice, bob, change, *, saying):
    """Signed by a full quorum all the same: what the quorum did not mean is not applied."""
    made = signed(Envelope(change(edited().statement), ()), alice, bob)
    refused(made, "rotation.form", saying)


@pytest.fixture
def others(recipe, alice, bundle, memory, tmp_path):
    """Statements of every other kind that is signed in this system."""
    statement = Statement.parse(Envelope.from_head(bundle[: 64 * 1024]).statement)
    key = HostKey.of(tmp_path / "host")
    said = receipt.make(
        key, "verify", statement, time=PAST, policy="0" * 64, signers=["alice"], overrides={}
    )
    return {
        "bundle": statement.to_bytes(),
        "receipt": said.statement,
        "checkpoint": Checkpoint(1, "0" * 64, PAST).statement(),
    }


@pytest.mark.parametrize("kind", ["bundle", "receipt", "checkpoint"])
def test_another_statement_passed_off_as_a_rotation(others, refused, alice, bob, kind):
    """In-toto predicate confusion: good signatures by the right keys, over something else."""
    made = signed(Envelope(others[kind], ()), alice, bob)
    refused(made, "rotation.form", "predicateType: expected urn:airgap-bundler:policy:v1")


def test_a_rotation_passed_off_as_a_bundle(recipe, edited, store, alice, bob, *, verified):
    made = edited().statement
    forged = recipe.but(statement_bytes=lambda _statement: made).build(alice, bob)
    with pytest.raises(UntrustedError, match="no statement about a bundle") as caught:
        verified(forged, store.load())
    assert caught.value.rule == "statement.form"


def test_a_rotation_passed_off_as_a_receipt(edited, bundle, alice):
    statement = Statement.parse(Envelope.from_head(bundle[: 64 * 1024]).statement)
    with pytest.raises(UntrustedError, match="verification_summary") as caught:
        receipt.check(signed(edited(), alice), statement, alice.public)
    assert caught.value.rule == "receipt.predicate"


def test_a_rotation_passed_off_as_a_checkpoint(edited, tmp_path):
    key = HostKey.of(tmp_path / "host")
    with pytest.raises(UntrustedError, match="predicateType: expected") as caught:
        Checkpoint.check(key.sign(edited()), key.public)
    assert caught.value.rule == "checkpoint.form"


@pytest.mark.parametrize("role", [role for role in ROLES if role != TRUST])
def test_no_other_role_changes_a_policy(store, edited, refused, alice, bob, *, role):
    for one in (alice, bob):
        store.add(one.name, one.public, roles=(role,))
    made = signed(edited(threshold=1), alice, bob)
    refused(made, "policy.threshold", f"a key for {role}, not for trust")


# --- bytes --------------------------------------------------------------------------------------


def test_round_trip(edited, carol, alice, bob):
    found = Rotation.parse(edited(signers=signers(alice, bob, carol)).statement)
    assert Rotation.parse(found.to_bytes()) == found
    assert set(found.keys) == {key.key_id for one in (alice, bob, carol) for key in one.public}
    assert found.read_policy("x").version == 2


def test_a_file_of_its_own(edited, tmp_path, alice):
    path = tmp_path / "policy-2.rotation"
    RotationFile(path).write(edited())
    assert rotation.is_rotation(path)
    RotationFile(path).write(signed(RotationFile(path).read(), alice))
    assert len(RotationFile(path).read().signatures) == 2


def test_a_file_that_is_no_envelope(bundle, tmp_path):
    path = tmp_path / "x.rotation"
    for content in (b"", b"{}", b"[]", b"\x00" * 10, bundle):
        path.write_bytes(content)
        with pytest.raises(UntrustedError, match=f"no rotation .*'{path}'") as caught:
            RotationFile(path).read()
        assert caught.value.rule == "rotation.form"
        assert isinstance(caught.value.__cause__, DamagedError)
    with pytest.raises(UsageError, match="cannot read"):
        RotationFile(tmp_path / "nowhere").read()


def test_a_bundle_is_no_rotation(bundle, tmp_path):
    path = tmp_path / "bundle.tar.zst"
    path.write_bytes(bundle)
    assert not rotation.is_rotation(path)
    with pytest.raises(UsageError, match="cannot read"):
        rotation.is_rotation(tmp_path / "nowhere")


def test_a_host_without_trust_gets_none_by_a_rotation(tmp_path, edited, alice, bob):
    """First trust rests on paper; a rotation needs a policy that it replaces."""
    nowhere = TrustStore(tmp_path / "nowhere")
    with pytest.raises(UntrustedError, match="no trust store in") as caught:
        rotation.apply(nowhere, signed(edited(), alice, bob), NOW)
    assert caught.value.rule == "trust.missing"
    assert not nowhere.folder.exists()


def test_expiry_of_keys_by_the_later_of_clock_and_newest(store, edited, alice, bob):
    """A clock that was set back does not revive a key that signs rotations."""
    store.add("alice", alice.public, roles=BOTH, expires="2026-03-01T00:00:00Z")
    made = signed(edited(threshold=1), alice, bob)
    back = datetime(2026, 2, 1, tzinfo=UTC)
    before = content_of(store.folder)
    with pytest.raises(UntrustedError, match="a key that expired on 2026-03-01"):
        rotation.apply(store, made, Accepted({}, "2026-05-01T00:00:00Z").now(back))
    assert content_of(store.folder) == before


def test_a_receipt_key_is_none_of_the_policys_signers_for_bundles(store, edited, alice, bob, carol):
    """A host enrolled at the builder's for receipts raises no quorum."""
    host = Signer(
        "ward-7",
        (carol.keys[0].public.algorithm,),
        {carol.public[0].key_id: TrustedKey(carol.public[0], (RECEIPT,))},
    )
    made = signed(edited(signers={**signers(alice, bob), "ward-7": host}), alice, bob, carol)
    assert sorted(rotation.apply(store, made, NOW).signers) == ["alice", "bob", "ward-7"]
