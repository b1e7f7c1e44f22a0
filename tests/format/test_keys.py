"""Public keys: one id for one key, our algorithms alone, and nothing private by mistake."""

import hashlib
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from airgap import keys, signing
from airgap.errors import UsageError


def run(*command, data=b""):
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def openssl(foreign):
    return foreign("openssl")


def public_pem(material):
    return material.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("algorithm", keys.ALGORITHMS)
def test_a_key_is_read_back_from_its_pem(algorithm):
    key = signing.generate(algorithm).public
    assert key.algorithm == algorithm
    assert keys.load_public_keys(key.pem.encode(), "x") == (key,)


@pytest.mark.parametrize("algorithm", [keys.ED25519, keys.ECDSA_P384])
def test_openssl_computes_the_same_id(openssl, algorithm):
    key = signing.generate(algorithm).public
    der = run(openssl, "pkey", "-pubin", "-outform", "DER", data=key.pem.encode())
    assert hashlib.sha256(der).hexdigest() == key.key_id
    assert run(openssl, "pkey", "-pubin", data=key.pem.encode()).decode() == key.pem


def test_keys_that_openssl_made(openssl):
    for arguments, algorithm in (
        (["ed25519"], keys.ED25519),
        (["EC", "-pkeyopt", "ec_paramgen_curve:P-384"], keys.ECDSA_P384),
    ):
        private = run(openssl, "genpkey", "-algorithm", *arguments)
        public = run(openssl, "pkey", "-pubout", data=private)
        assert keys.load_public_keys(public, "x")[0].algorithm == algorithm


def test_a_file_with_several_keys_and_text(alice, bob):
    pems = [key.pem for key in (*alice.public, *bob.public)]
    content = "alice and bob\n" + "\n# next\n".join(pems)
    assert keys.load_public_keys(content.encode(), "x") == (*alice.public, *bob.public)


@pytest.mark.parametrize(
    ("content", "saying"),
    [
        (b"", "'x' holds no PEM public key"),
        (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI", "'x' holds no PEM public key"),
        (b"-----BEGIN PUBLIC KEY-----\n", "'x' holds no PEM public key"),
        (
            b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            "'x' holds a public key that cannot be read",
        ),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "'x' holds a certificate; expected public keys alone",
        ),
        (
            b"-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n",
            "'x' holds a public key that cannot be read",
        ),
    ],
)
def test_what_is_no_public_key(content, saying):
    with pytest.raises(UsageError) as caught:
        keys.load_public_keys(content, "x")
    assert caught.value.message.startswith(saying)
    assert caught.value.exit_code == 2


def test_a_private_key_by_mistake():
    pem = signing.generate(keys.ED25519).to_pem(None)
    with pytest.raises(UsageError, match="'x' holds a private key; expected public keys alone"):
        keys.load_public_keys(pem, "x")
    with pytest.raises(UsageError, match="holds a encrypted private key"):
        keys.load_public_keys(signing.generate(keys.ED25519).to_pem(b"secret"), "x")


def test_keys_of_other_algorithms():
    for material, kind in (
        (rsa.generate_private_key(65537, 2048), "RSAPublicKey"),
        (ec.generate_private_key(ec.SECP256R1()), "ECPublicKey"),
        (ec.generate_private_key(ec.SECP521R1()), "ECPublicKey"),
    ):
        with pytest.raises(UsageError, match=f"expected a key of ed25519, .*; found {kind}"):
            keys.load_public_keys(public_pem(material), "x")


@pytest.mark.parametrize("curve", ["secp112r1", "brainpoolP384t1"])
def test_a_curve_that_cryptography_does_not_know(openssl, curve):
    """It raises UnsupportedAlgorithm there, which is no ValueError."""
    made = run(openssl, "genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}")
    public = run(openssl, "pkey", "-pubout", data=made)
    with pytest.raises(UsageError, match="'x' holds a public key that cannot be read"):
        keys.load_public_keys(public, "x")


def test_explicit_parameters_do_not_make_a_second_id(openssl):
    """A P-384 key whose file spells the curve out is that key, or is refused: no twin."""
    made = run(openssl, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384")
    public = run(openssl, "pkey", "-pubout", data=made)
    spelled = run(openssl, "ec", "-pubout", "-param_enc", "explicit", data=made)
    assert spelled != public
    named = keys.load_public_keys(public, "x")
    try:
        found = keys.load_public_keys(spelled, "x")
    except UsageError:
        return
    assert found == named


def test_a_compressed_point_has_the_same_id(openssl):
    made = run(openssl, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384")
    public = run(openssl, "pkey", "-pubout", data=made)
    compressed = run(openssl, "ec", "-pubout", "-conv_form", "compressed", data=made)
    assert compressed != public
    assert keys.load_public_keys(compressed, "x") == keys.load_public_keys(public, "x")


def test_a_fingerprint_is_what_sha256sum_prints(alice):
    one = alice.public[:1]
    assert keys.fingerprint(one) == one[0].key_id
    lines = "".join(f"{key_id}\n" for key_id in sorted(key.key_id for key in alice.public))
    assert keys.fingerprint(alice.public) == hashlib.sha256(lines.encode()).hexdigest()
    assert keys.fingerprint(reversed(alice.public)) == keys.fingerprint(alice.public)


def test_what_is_typed_from_paper(alice, bob):
    number = keys.fingerprint(alice.public)
    groups = " ".join(number[at : at + 4] for at in range(0, 64, 4))
    for typed in ([number], [groups], [groups.upper()], [groups.replace(" ", ":")]):
        assert keys.matches_paper(alice.public, typed)
    assert keys.matches_paper(alice.public, [key.key_id for key in alice.public])
    for typed in ([], [""], [number[:-1]], [alice.public[0].key_id], [number, number[::-1]]):
        assert not keys.matches_paper(alice.public, typed)
    assert not keys.matches_paper(alice.public, [keys.fingerprint(bob.public)])


@pytest.mark.parametrize("algorithm", keys.ALGORITHMS)
def test_a_private_key_survives_its_file(algorithm):
    """Through PKCS #8, as `signing.load` reads it."""
    key = signing.generate(algorithm)
    assert key.public.verifies(key.sign(b"m").value, b"m")
    assert b"PRIVATE KEY" in key.to_pem(None)
    assert b"ENCRYPTED PRIVATE KEY" in key.to_pem(b"secret")


def test_an_ecdsa_signature_is_always_in_its_low_form():
    key = signing.generate(keys.ECDSA_P384)
    for message in range(20):
        value = key.sign(b"%d" % message).value
        assert keys.lowest_form(value) == value


def test_an_algorithm_that_is_not_ours():
    with pytest.raises(UsageError, match="'rsa' is none of ed25519, ecdsa-p384, ml-dsa-87"):
        signing.generate("rsa")


def test_der_of_a_private_key_is_no_public_key():
    material = ec.generate_private_key(ec.SECP384R1())
    pem = material.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    with pytest.raises(UsageError, match="holds a ec private key"):
        keys.load_public_keys(pem, "x")
