"""The head: one form for one content, and which signatures in it count."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from airgap import limits, signing, strict_json
from airgap.envelope import Envelope, Signature
from airgap.errors import UntrustedError, UsageError
from airgap.keys import ECDSA_P384, ED25519, ML_DSA_87, P384_ORDER


def envelope_of(bundle):
    return Envelope.from_head(bundle[: limits.HEAD_SLOT])


def value_of(bundle):
    return json.loads(bundle[8 : limits.HEAD_SLOT])


def with_head(bundle, head):
    return head + bundle[limits.HEAD_SLOT :]


def with_signatures(bundle, signatures):
    """The bundle with other signatures over the same statement."""
    statement = envelope_of(bundle).statement
    return with_head(bundle, Envelope(statement, tuple(sorted(signatures))).to_head())


def key_of(person, algorithm):
    return next(key for key in person.keys if key.public.algorithm == algorithm)


@pytest.fixture
def form(bundle, head_of, refused):
    """A head of this content, before a sound bundle, is refused for its form."""

    def form(content, saying="canonical form"):
        refused(with_head(bundle, head_of(content)), "head.form", saying)

    return form


def test_the_value_itself_is_accepted(bundle, head_of, verified, trusting_alice):
    """The fixture above changes nothing on its own."""
    again = with_head(bundle, head_of(value_of(bundle)))
    assert again == bundle
    verified(again, trusting_alice)


def test_a_spare_bit_of_base64(bundle, form):
    """The last digit before the padding has bits that decode to nothing (R in attacks)."""
    value = value_of(bundle)
    signature = next(one for one in value["signatures"] if one["sig"].endswith("=="))
    last = signature["sig"][-3]
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = digits[digits.index(last) ^ 1]
    spare = signature["sig"][:-3] + other + "=="
    assert base64.b64decode(spare) == base64.b64decode(signature["sig"])
    signature["sig"] = spare
    form(value)


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text[:-2] + "\n" + text[-2:],
        lambda text: text.rstrip("="),
        lambda text: text + "=",
        lambda text: text.replace("A", "-", 1),
        lambda text: text[:5] + "é" + text[5:],
        lambda text: "====" + text,
        lambda text: text + "====",
        lambda text: 7,
        lambda text: None,
        lambda text: [text],
    ],
)
def test_other_base64(bundle, head_of, refused, edit):
    value = value_of(bundle)
    value["payload"] = edit(value["payload"])
    refused(with_head(bundle, head_of(value)), "head.form", "is damaged or forged")


def test_keys_in_another_order(bundle, form):
    value = value_of(bundle)
    form(json.dumps(dict(reversed(value.items())), separators=(",", ":")).encode())


def test_keys_of_a_signature_in_another_order(bundle, form):
    value = value_of(bundle)
    value["signatures"][0] = dict(reversed(value["signatures"][0].items()))
    form(json.dumps(value, separators=(",", ":")).encode())


@pytest.mark.parametrize("separators", [(", ", ":"), (",", ": "), (",\n", ":"), ("\t,", ":")])
def test_white_space(bundle, form, separators):
    form(json.dumps(value_of(bundle), sort_keys=True, separators=separators).encode())


def test_a_space_at_the_start(bundle, form):
    form(b" " + strict_json.compact(value_of(bundle)))


def test_an_escape_that_needs_not_be(bundle, form):
    form(strict_json.compact(value_of(bundle)).replace(b"payloadType", b"payload\\u0054ype"))


def test_an_escaped_solidus(bundle, form):
    form(strict_json.compact(value_of(bundle)).replace(b"vnd.in-toto", b"vnd.in\\u002dtoto"))


@pytest.mark.parametrize("where", ["top", "signature"])
def test_an_extra_key(bundle, form, where):
    value = value_of(bundle)
    (value if where == "top" else value["signatures"][0])["note"] = "x"
    form(value, "'note' is not known here")


@pytest.mark.parametrize("key", ["payload", "payloadType", "signatures"])
def test_a_missing_key(bundle, form, key):
    value = value_of(bundle)
    del value[key]
    form(value, f"'{key}' is missing")


def test_a_duplicate_key(bundle, form):
    content = strict_json.compact(value_of(bundle))
    form(content.replace(b'{"payload":', b'{"payload":"e30=","payload":', 1), "names a key twice")


@pytest.mark.parametrize(
    "kind", ["application/vnd.in-toto+JSON", "application/json", "", "text/plain", None]
)
def test_another_payload_type(bundle, form, kind):
    form({**value_of(bundle), "payloadType": kind}, "payloadType: expected application/vnd.in-toto")


def test_a_signature_twice(bundle, form):
    value = value_of(bundle)
    value["signatures"].insert(0, value["signatures"][0])
    form(value, "not sorted by key, one for each")


def test_two_signatures_of_one_key(bundle, form, alice):
    """Ed25519 makes one signature, ECDSA as many as one likes: one key is one all the same."""
    value = value_of(bundle)
    key = key_of(alice, ECDSA_P384)
    again = key.sign(envelope_of(bundle).message)
    value["signatures"].append(
        {"keyid": again.key_id, "sig": base64.b64encode(again.value).decode()}
    )
    value["signatures"].sort(key=lambda one: one["keyid"])
    form(value, "not sorted by key, one for each")


def test_signatures_in_another_order(bundle, form):
    value = value_of(bundle)
    value["signatures"].reverse()
    form(value, "not sorted by key")


@pytest.mark.parametrize("key_id", ["", "0" * 63, "0" * 65, "A" * 64, "g" * 64, 5])
def test_what_is_no_key_id(bundle, form, key_id):
    value = value_of(bundle)
    value["signatures"][0]["keyid"] = key_id
    form(value, "signatures[0].keyid: expected 64 hex digits")


def test_more_signatures_than_the_limit(bundle, form):
    value = value_of(bundle)
    value["signatures"] = [{"keyid": f"{n:064x}", "sig": "AA=="} for n in range(33)]
    form(value, "a list of at most 32")


@pytest.mark.parametrize(
    ("content", "saying"),
    [
        (b"", "Expecting value"),
        (b"[]", "it: expected an object, found []"),
        (b"null", "expected an object"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"\xff{}", "not UTF-8 at byte 0"),
        (b"[" * 20_000, "nested too deeply"),
        (b"[" * 17 + b"]" * 17, "nested more than 16 deep"),
        (b'{"payload":NaN}', "NaN is not an integer"),
        (b'{"payload":-Infinity}', "not an integer"),
        (b'{"payload":1.5}', "1.5 is not an integer"),
        (b'{"payload":1e9}', "1e9 is not an integer"),
        (b'{"payload":' + b"9" * 60_000 + b"}", "out of range"),
        (b'{"payload":"\x01"}', "Invalid control character"),
        (b"{}{}", "Extra data"),
        (b"{'payload':1}", "property name"),
        (b'{"payload":"\\ud800"}', "is damaged or forged"),
    ],
)
def test_json_tricks(form, content, saying):
    form(content, saying)


@pytest.mark.parametrize(
    "start", [b"\x51\x2a\x4d\x18", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x19", b"PK\x03\x04"]
)
def test_another_magic(bundle, refused, start):
    refused(start + bundle[4:], "head.magic", f"found {start.hex()}")


@pytest.mark.parametrize("size", [0, 65527, 65529, 0xFFFFFFFF])
def test_another_slot_size(bundle, refused, size):
    wrong = bundle[:4] + size.to_bytes(4, "little") + bundle[8:]
    refused(wrong, "head.magic", "starts with 502a4d18f8ff0000")


def test_all_signatures_removed(bundle, refused):
    refused(
        with_signatures(bundle, ()),
        "policy.threshold",
        "nobody has signed it",
        error=UntrustedError,
    )


@pytest.mark.parametrize("removed", [ED25519, ECDSA_P384])
def test_one_of_a_signers_signatures_removed(bundle, refused, alice, removed):
    gone = key_of(alice, removed).public.key_id
    left = [one for one in envelope_of(bundle).signatures if one.key_id != gone]
    refused(
        with_signatures(bundle, left),
        "signature.incomplete",
        f"'alice' must sign with all of the algorithms that the policy lists; without a valid "
        f"signature: {removed}",
        error=UntrustedError,
    )


def test_a_complete_signer_does_not_excuse_an_incomplete_one(
    recipe, refused, alice, bob, policy_of
):
    """Threshold one, alice whole, one of bob's taken away: someone meddled."""
    data = recipe.build(alice, bob)
    gone = key_of(bob, ED25519).public.key_id
    left = [one for one in envelope_of(data).signatures if one.key_id != gone]
    refused(
        with_signatures(data, left),
        "signature.incomplete",
        "'bob' must sign",
        error=UntrustedError,
        policy=policy_of(alice, bob, threshold=1),
    )


def test_one_signer_of_two(bundle, refused, alice, bob, policy_of):
    refused(
        bundle,
        "policy.threshold",
        "wants 2 signer(s) of alice, bob; found: signed by alice",
        error=UntrustedError,
        policy=policy_of(alice, bob),
    )


def test_signed_by_a_stranger_alone(recipe, refused, mallory):
    refused(
        recipe.build(mallory),
        "policy.threshold",
        "a key that is not known here",
        error=UntrustedError,
    )


def test_no_message_proposes_a_key_of_the_bundle(recipe, mallory, verified, trusting_alice):
    """First trust rests on paper: the way out is a fingerprint that a person types."""
    with pytest.raises(UntrustedError) as caught:
        verified(recipe.build(mallory), trusting_alice)
    assert "--fingerprint FPR" in caught.value.hint
    assert not any(key.key_id in caught.value.hint for key in mallory.public)


def test_an_unknown_keys_signature_counts_for_nothing(bundle, mallory, verified, trusting_alice):
    """It may be there, good or bad, and is reported."""
    envelope = envelope_of(bundle)
    strangers = [key.sign(b"something else") for key in mallory.keys]
    added = with_head(bundle, envelope.signed_also(strangers).to_head())
    found = verified(added, trusting_alice)
    found.bundle.check_contents()
    assert found.verdict.signers == {"alice": (ECDSA_P384, ED25519)}
    assert set(found.verdict.unknown) == {key.key_id for key in mallory.public}


def test_a_bad_signature_of_a_known_key_next_to_good_ones(recipe, refused, alice, bob, policy_of):
    """Enough good ones are there; that one does not hold is reason enough."""
    data = recipe.build(alice)
    wrong = [key.sign(b"something else") for key in bob.keys]
    refused(
        with_head(data, envelope_of(data).signed_also(wrong).to_head()),
        "signature.bad",
        "signature of 'bob'",
        error=UntrustedError,
        policy=policy_of(alice, bob, threshold=1),
    )


def test_signatures_of_two_keys_exchanged(bundle, refused):
    """Each is good over the statement, and neither is that key's."""
    first, second = envelope_of(bundle).signatures
    swapped = [Signature(first.key_id, second.value), Signature(second.key_id, first.value)]
    refused(with_signatures(bundle, swapped), "signature.bad", "of 'alice'", error=UntrustedError)


def test_a_signature_over_the_bare_statement(bundle, refused, alice):
    """DSSE signs the PAE: without the type in it, one document could pass for another."""
    statement = envelope_of(bundle).statement
    bare = [key.sign(statement) for key in alice.keys]
    refused(with_signatures(bundle, bare), "signature.bad", "of 'alice'", error=UntrustedError)


def der(*integers):
    """A DER sequence of integers, written by hand so that it can be wrong."""
    body = b"".join(b"\x02" + bytes([len(one)]) + one for one in integers)
    return b"\x30" + bytes([len(body)]) + body


def unsigned(number):
    return number.to_bytes(number.bit_length() // 8 + 1, "big")


def malleable(value):
    """Other encodings of one ECDSA signature, and things that are none."""
    r, s = decode_dss_signature(value)
    return {
        "high s": encode_dss_signature(r, P384_ORDER - s),
        "leading zero": der(b"\0" + unsigned(r), unsigned(s)),
        "long length": b"\x30\x81" + value[1:],
        "raw r and s": r.to_bytes(48, "big") + s.to_bytes(48, "big"),
        "trailing byte": value + b"\0",
        "a third integer": der(unsigned(r), unsigned(s), b"\x01"),
        "negative r": der(b"\x80" + unsigned(r)[1:], unsigned(s)),
        "s beyond the order": encode_dss_signature(r, s + P384_ORDER),
        "s is the order": encode_dss_signature(r, P384_ORDER),
        "r beyond the order": encode_dss_signature(r + P384_ORDER, s),
        "zeros": encode_dss_signature(0, 0),
        "s is zero": encode_dss_signature(r, 0),
        "empty": b"",
        "cut": value[:-1],
        "sequence of nothing": b"\x30\0",
    }


KINDS = sorted(malleable(signing.generate(ECDSA_P384).sign(b"any").value))


@pytest.mark.parametrize("kind", KINDS)
def test_another_form_of_an_ecdsa_signature(bundle, refused, alice, kind):
    """Anyone can make the high s of a low one: a bundle would change without being damaged."""
    key = key_of(alice, ECDSA_P384)
    signatures = {one.key_id: one.value for one in envelope_of(bundle).signatures}
    other = malleable(signatures[key.public.key_id])[kind]
    assert other != signatures[key.public.key_id]
    signatures[key.public.key_id] = other
    refused(
        with_signatures(bundle, [Signature(*one) for one in signatures.items()]),
        "signature.bad",
        "the ecdsa-p384 signature of 'alice'",
        error=UntrustedError,
    )


@pytest.mark.parametrize("algorithm", [ED25519, ML_DSA_87])
@pytest.mark.parametrize("edit", ["empty", "cut", "longer", "zeros", "flipped", "huge"])
def test_other_signatures_are_just_bad(algorithm, edit):
    key = signing.generate(algorithm)
    good = key.sign(b"message").value
    other = {
        "empty": b"",
        "cut": good[:-1],
        "longer": good + b"\0",
        "zeros": bytes(len(good)),
        "flipped": bytes([good[0] ^ 1]) + good[1:],
        "huge": bytes(40_000),
    }[edit]
    assert key.public.verifies(good, b"message")
    assert not key.public.verifies(other, b"message")
    assert not key.public.verifies(good, b"massage")


def test_ed25519_with_s_beyond_the_order():
    """RFC 8032 wants S < L; S + L would verify with a lax library."""
    order = 2**252 + 27742317777372353535851937790883648493
    key = signing.generate(ED25519)
    good = key.sign(b"message").value
    beyond = (int.from_bytes(good[32:], "little") + order).to_bytes(32, "little")
    assert not key.public.verifies(good[:32] + beyond, b"message")


def test_a_key_of_its_own_does_not_slip_in(bundle, refused, mallory, alice):
    """Mallory's signature under the id of alice's key."""
    theirs = key_of(mallory, ED25519).sign(envelope_of(bundle).message).value
    signatures = [
        Signature(one.key_id, theirs if len(one.value) == 64 else one.value)
        for one in envelope_of(bundle).signatures
    ]
    refused(with_signatures(bundle, signatures), "signature.bad", "alice", error=UntrustedError)


def test_signing_again_replaces_a_keys_signature(bundle, alice):
    envelope = envelope_of(bundle)
    again = signing.sign(envelope, alice.keys)
    assert [one.key_id for one in again.signatures] == [one.key_id for one in envelope.signatures]


def test_a_second_signature_changes_the_head_alone(bundle, alice, bob, policy_of, verified):
    both = signing.sign(envelope_of(bundle), bob.keys)
    signed = with_head(bundle, both.to_head())
    assert signed[limits.HEAD_SLOT :] == bundle[limits.HEAD_SLOT :]
    found = verified(signed, policy_of(alice, bob))
    assert found.approval_code == verified(bundle, policy_of(alice)).approval_code


def test_five_signers_with_ml_dsa_fit(recipe, person, policy_of, verified):
    """The slot was made for that; when it is full, that is told."""
    people = [person(f"officer-{number}", (ED25519, ECDSA_P384, ML_DSA_87)) for number in range(10)]
    data = recipe.build(*people[:5])
    assert len(verified(data, policy_of(*people[:5])).verdict.signers) == 5
    with pytest.raises(UsageError, match=r"30 signatures do not fit into the head: \d+ of 65528"):
        recipe.build(*people)


def test_the_pae_is_the_one_of_dsse():
    """The example of the DSSE specification's protocol page, with our payload type."""
    envelope = Envelope(b"hello world", ())
    assert envelope.message == b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"
