"""A receipt proves that one host judged one bundle, and proves nothing else."""

import hashlib
import json
import subprocess
from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap import receipt as receipts
from airgap import signing
from airgap.checkpoint import Checkpoint
from airgap.envelope import Envelope
from airgap.errors import RefusedError, UntrustedError, UsageError
from airgap.host_key import HostKey
from airgap.keys import ED25519
from airgap.receipt import PREDICATE_TYPE, Receipt
from airgap.statement import Statement

NOW = "2026-06-01T12:30:00Z"
POLICY = "5" * 64
STATEMENT = Statement(
    subjects=MappingProxyType({"manifest.json": "1" * 64, "payload": "2" * 64, "table": "3" * 64}),
    name="ward",
    version="1.0.0",
    sequence=7,
    created="2026-01-02T03:04:05Z",
    expires=None,
    base=None,
    hash="sha256",
    table_size=112,
    manifest_size=1000,
    frames=2,
    plain_total=4096,
)


@pytest.fixture
def key(tmp_path):
    return HostKey.of(tmp_path)


@pytest.fixture
def make(key):
    def make(**changes):
        given = {
            "action": "mount",
            "statement": STATEMENT,
            "time": NOW,
            "policy": POLICY,
            "signers": ["bob", "alice"],
            "overrides": {"expiry": "the clock's battery is dead"},
        }
        return receipts.make(key, **{**given, **changes})

    return make


def signed(key, value):
    """An envelope of the host over any JSON value."""
    content = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    return key.sign(Envelope(content, ()))


def test_what_a_receipt_says(key, make):
    found = receipts.check(make(), STATEMENT, [key.public])
    assert (found.action, found.passed, found.title) == ("mount", True, "ward-1.0.0")
    assert found.signers == ("alice", "bob")
    assert found.overrides == {"expiry": "the clock's battery is dead"}
    assert (found.time, found.policy, found.host) == (NOW, POLICY, key.public.key_id)
    assert found.bundle == hashlib.sha256(STATEMENT.to_bytes()).hexdigest()


def test_it_is_a_verification_summary(key, make):
    """The required fields of SLSA's schema (spec/v1.0/verification_summary)."""
    value = json.loads(make().statement)
    assert value["_type"] == "https://in-toto.io/Statement/v1"
    assert value["predicateType"] == "https://slsa.dev/verification_summary/v1"
    digest = hashlib.sha256(STATEMENT.to_bytes()).hexdigest()
    assert value["subject"] == [{"name": "ward-1.0.0/statement.json", "digest": {"sha256": digest}}]
    predicate = value["predicate"]
    assert predicate["verifier"]["id"] == f"urn:airgap-bundler:host:{key.public.key_id}"
    assert predicate["timeVerified"] == NOW
    assert predicate["resourceUri"] == "urn:airgap-bundler:bundle:ward-1.0.0"
    assert predicate["policy"] == {"uri": receipts.POLICY, "digest": {"sha256": POLICY}}
    assert predicate["verificationResult"] == "PASSED"
    assert not any(level.startswith("SLSA_") for level in predicate["verifiedLevels"])
    extensions = predicate.keys() - {
        *("verifier", "timeVerified", "resourceUri", "policy"),
        *("verificationResult", "verifiedLevels"),
    }
    assert extensions == {"urn:airgap-bundler:receipt:v1"}  # extensions are named by URIs


def test_a_refusal_has_a_receipt_too(key, make):
    found = receipts.check(make(passed=False, signers=[]), STATEMENT, [key.public])
    assert not found.passed
    assert json.loads(found.statement())["predicate"]["verifiedLevels"] == ["FAILED"]


@settings(deadline=None)
@given(
    action=st.sampled_from(["verify", "mount"]),
    passed=st.booleans(),
    sequence=st.integers(0, 1 << 53),
    signers=st.lists(st.text(max_size=10), max_size=4).map(tuple),
    overrides=st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3),
)
def test_a_receipt_round_trips(action, passed, sequence, signers, overrides):
    receipt = Receipt(
        action=action,
        passed=passed,
        time=NOW,
        name="ward",
        version="1.0.0",
        sequence=sequence,
        bundle="a" * 64,
        policy=POLICY,
        signers=signers,
        overrides=overrides,
        host="b" * 64,
        airgap="0.1.0",
    )
    assert Receipt.parse(receipt.statement()) == receipt


def test_openssl_checks_a_receipt(tmp_path, make):
    """With the public half, printf and cat: the DSSE encoding, and nobody's word."""
    envelope = make()
    body = tmp_path / "statement.json"
    body.write_bytes(envelope.statement)
    kind = "application/vnd.in-toto+json"
    preamble = f"DSSEv1 {len(kind)} {kind} {body.stat().st_size} "
    (tmp_path / "pae").write_bytes(preamble.encode() + body.read_bytes())
    (tmp_path / "sig").write_bytes(envelope.signatures[0].value)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-rawin"]
    command += ["-inkey", tmp_path / "audit" / "host.pub"]
    command += ["-sigfile", tmp_path / "sig", "-in"]
    checked = subprocess.run([*command, tmp_path / "pae"], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr
    (tmp_path / "pae").write_bytes(preamble.encode() + body.read_bytes() + b" ")
    assert subprocess.run([*command, tmp_path / "pae"], capture_output=True).returncode != 0  # noqa: PLW1510 - it is to fail


def refusal(envelope, statement, trusted):
    with pytest.raises(UntrustedError) as caught:
        receipts.check(envelope, statement, trusted)
    assert caught.value.exit_code == 3
    assert "no receipt for the bundle that is to be trusted" in caught.value.message
    return caught.value


def test_a_receipt_of_a_host_that_is_not_enrolled(key, make, tmp_path):
    other = HostKey.of(tmp_path / "other")
    refused = refusal(make(), STATEMENT, [other.public])
    assert refused.rule == "receipt.key"
    assert other.public.key_id[:16] in refused.message
    assert refusal(make(), STATEMENT, []).rule == "receipt.key"


def test_a_receipt_that_nobody_signed(key, make):
    refused = refusal(Envelope(make().statement, ()), STATEMENT, [key.public])
    assert refused.rule == "receipt.key"
    assert "found that of nobody" in refused.message


def test_a_bad_signature(key, make):
    envelope = make()
    (one,) = envelope.signatures
    bad = bytes([one.value[0] ^ 1]) + one.value[1:]
    forged = Envelope(envelope.statement, (replace(one, value=bad),))
    assert refusal(forged, STATEMENT, [key.public]).rule == "receipt.signature"
    changed = Envelope(envelope.statement.replace(b"PASSED", b"FAILED"), envelope.signatures)
    assert refusal(changed, STATEMENT, [key.public]).rule == "receipt.signature"


def test_nothing_is_parsed_before_the_signature(key):
    garbage = Envelope(b"\xff{", key.sign(Envelope(b"else", ())).signatures)
    assert refusal(garbage, STATEMENT, [key.public]).rule == "receipt.signature"


def test_another_bundle(key, make):
    other = replace(STATEMENT, version="1.0.1")
    refused = refusal(make(), other, [key.public])
    assert refused.rule == "receipt.bundle"
    assert "it is about 'ward-1.0.0'" in refused.message
    assert "'ward-1.0.1'" in refused.message


@pytest.mark.parametrize(
    "words", [{"name": "other"}, {"version": "9"}, {"sequence": 8}], ids=["name", "version", "seq"]
)
def test_the_right_digest_under_another_name(key, make, words):
    receipt = replace(Receipt.parse(make().statement), **words)
    envelope = key.sign(Envelope(receipt.statement(), ()))
    refused = refusal(envelope, STATEMENT, [key.public])
    assert refused.rule == "receipt.bundle"
    assert "it calls the bundle" in refused.message


def test_one_host_does_not_speak_for_another(key, make, tmp_path):
    """(signer, verifier) pairs: the key that signs is the host that is named."""
    other = HostKey.of(tmp_path / "other")
    envelope = other.sign(Envelope(make().statement, ()))
    refused = refusal(envelope, STATEMENT, [key.public, other.public])
    assert refused.rule == "receipt.host"


def test_a_further_signature_of_a_stranger_counts_for_nothing(key, make):
    stranger = signing.generate(ED25519)
    envelope = make().signed_also([stranger.sign(make().message)])
    assert receipts.check(envelope, STATEMENT, [key.public]).passed


CHANGES = {
    "a field more": lambda value: value["predicate"].update(more=1),
    "a field of ours more": lambda value: value["predicate"][receipts.EXTENSION].update(more=1),
    "a level of SLSA's": lambda value: value["predicate"].update(
        verifiedLevels=["SLSA_BUILD_LEVEL_3"]
    ),
    "another resource": lambda value: value["predicate"].update(resourceUri="urn:x"),
    "another result": lambda value: value["predicate"].update(verificationResult="MAYBE"),
    "a failure that passed": lambda value: value["predicate"].update(verificationResult="FAILED"),
    "another approval code": lambda value: value["predicate"][receipts.EXTENSION].update(
        approval_code="0000"
    ),
    "another action": lambda value: value["predicate"][receipts.EXTENSION].update(action="sell"),
    "two subjects": lambda value: value.update(subject=value["subject"] * 2),
    "no subject": lambda value: value.update(subject=[]),
    "another kind of statement": lambda value: value.update(_type="https://in-toto.io/x"),
    "no time": lambda value: value["predicate"].pop("timeVerified"),
    "an odd time": lambda value: value["predicate"].update(timeVerified="yesterday"),
    "a policy without a digest": lambda value: value["predicate"].update(policy={"uri": "x"}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_other_forms_signed_by_the_right_host(key, make, change):
    value = json.loads(make().statement)
    change(value)
    assert refusal(signed(key, value), STATEMENT, [key.public]).rule == "receipt.form"


def test_no_kind_of_statement_stands_for_another(key, make):
    """Bundle, receipt and checkpoint, all signed by one key, each read as each."""
    made = {
        "bundle": STATEMENT.to_bytes(),
        "receipt": make().statement,
        "checkpoint": Checkpoint(7, "a" * 64, NOW).statement(),
    }
    readers = {
        "bundle": lambda envelope: Statement.parse(envelope.statement),
        "receipt": lambda envelope: receipts.check(envelope, STATEMENT, [key.public]),
        "checkpoint": lambda envelope: Checkpoint.check(envelope, key.public),
    }
    for what, content in made.items():
        envelope = key.sign(Envelope(content, ()))
        for kind, read in readers.items():
            if what == kind:
                read(envelope)
                continue
            with pytest.raises(UntrustedError) as caught:
                read(envelope)
            assert caught.value.rule in {
                "statement.form",
                "receipt.predicate",
                "checkpoint.form",
            }, (what, kind)


def test_a_receipt_with_another_predicate_type_alone(key, make):
    for other in ("urn:airgap-bundler:bundle:v1", PREDICATE_TYPE + "1", PREDICATE_TYPE.upper()):
        value = json.loads(make().statement) | {"predicateType": other}
        refused = refusal(signed(key, value), STATEMENT, [key.public])
        assert refused.rule == "receipt.predicate"
        assert other in refused.message


def test_where_receipts_are_kept(key, make, tmp_path):
    paths = [
        receipts.write(tmp_path, make()),
        receipts.write(tmp_path, make(action="verify")),
        receipts.write(tmp_path, make(overrides={})),  # in the same second
        receipts.write(tmp_path, make()),  # the very same
    ]
    assert paths[0] == paths[3]
    assert len(set(paths)) == 3
    assert sorted(tmp_path.joinpath("receipts").iterdir()) == sorted(set(paths))
    assert paths[0].name.startswith("ward-1.0.0.mount.20260601T123000Z.")
    assert receipts.read(paths[1]) == make(action="verify")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b"null"])
def test_a_file_that_is_no_receipt(tmp_path, content):
    path = tmp_path / "receipt.json"
    path.write_bytes(content)
    with pytest.raises(UntrustedError) as caught:
        receipts.read(path)
    assert caught.value.rule == "receipt.form"


def test_a_file_that_is_too_large(tmp_path, make):
    path = tmp_path / "receipt.json"
    path.write_bytes(make().to_json() + b" " * receipts.RECEIPT_FILE)
    with pytest.raises(UsageError, match="too large"):
        receipts.read(path)


def test_every_flipped_byte_of_a_receipt(key, make, tmp_path):
    path = receipts.write(tmp_path, make())
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(RefusedError):
            receipts.check(receipts.read(path), STATEMENT, [key.public])
