"""Public keys: load them from PEM, name them, check signatures with them.

A key's id is the SHA-256 of its DER SubjectPublicKeyInfo (RFC 5280), re-encoded by us, so that
one key has one id however its file was written. `openssl pkey -pubin -outform DER | sha256sum`
prints the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from airgap.digest import ungrouped
from airgap.errors import UsageError

ED25519: Final = "ed25519"
ECDSA_P384: Final = "ecdsa-p384"
ML_DSA_87: Final = "ml-dsa-87"
ALGORITHMS: Final = (ED25519, ECDSA_P384, ML_DSA_87)

P384_ORDER: Final = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf"
    "581a0db248b0a77aecec196accc52973",
    16,
)
"""The order of the group of NIST P-384 (FIPS 186-5, SP 800-186)."""

_PEM: Final = re.compile(rb"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)

_Material = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | mldsa.MLDSA87PublicKey


@dataclass(frozen=True)
class PublicKey:
    """A public key of one of our algorithms.

    Attributes:
        algorithm: `ed25519`, `ecdsa-p384` (with SHA-384) or `ml-dsa-87`.
        key_id: SHA-256 of the DER SubjectPublicKeyInfo, 64 hex digits.
        pem: the key as PEM, as openssl writes it.
    """

    algorithm: str
    key_id: str
    pem: str
    _material: _Material

    @property
    def der(self) -> bytes:
        """The key as DER SubjectPublicKeyInfo, whose SHA-256 is `key_id`."""
        return self._material.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature`, in its one accepted encoding, is this key's over `message`."""
        try:
            if isinstance(self._material, ec.EllipticCurvePublicKey):
                if signature != lowest_form(signature):
                    return False
                self._material.verify(signature, message, ec.ECDSA(hashes.SHA384()))
            else:
                self._material.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def lowest_form(signature: bytes) -> bytes:
    """An ECDSA P-384 signature in its one accepted encoding: DER, with the smaller s.

    (r, s) and (r, n-s) both verify, for anyone to turn one into the other: without a rule, a
    bundle could change without being damaged. Empty where the bytes are no such signature.
    """
    try:
        r, s = decode_dss_signature(signature)
        return encode_dss_signature(r, min(s, P384_ORDER - s))
    except ValueError:  # no DER, or an s beyond the order, whose counterpart is negative
        return b""


def from_material(material: object) -> PublicKey:
    """The PublicKey around a key of `cryptography`. Raises UsageError for other algorithms."""
    match material:
        case ed25519.Ed25519PublicKey():
            algorithm = ED25519
        case ec.EllipticCurvePublicKey() if isinstance(material.curve, ec.SECP384R1):
            algorithm = ECDSA_P384
        case mldsa.MLDSA87PublicKey():
            algorithm = ML_DSA_87
        case _:
            raise UsageError(
                f"expected a key of {', '.join(ALGORITHMS)}; found {_kind(material)}",
                hint="airgap keygen NAME",
            )
    der = material.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pem = material.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(algorithm, hashlib.sha256(der).hexdigest(), pem.decode(), material)


def load_public_keys(content: bytes, where: str) -> tuple[PublicKey, ...]:
    """Every public key of a PEM file, in order.

    Args:
        content: the file, already bounded by `limits.KEY_FILE`.
        where: its name, for errors.

    Raises:
        UsageError: there is none, one is private, twice there or of another algorithm.
    """
    keys: list[PublicKey] = []
    for block in _PEM.finditer(content):
        if block[1] != b"PUBLIC KEY":
            raise UsageError(
                f"'{where}' holds a {block[1].decode().lower()}; expected public keys alone",
                hint="use the .pub file that `airgap keygen` wrote beside it",
            )
        try:
            material = load_pem_public_key(block[0])
        except (ValueError, UnsupportedAlgorithm) as error:
            raise UsageError(f"'{where}' holds a public key that cannot be read") from error
        keys.append(from_material(material))
    if not keys:
        raise UsageError(f"'{where}' holds no PEM public key", hint="airgap keygen NAME")
    if len({key.key_id for key in keys}) != len(keys):
        raise UsageError(f"'{where}' holds one key twice")
    return tuple(keys)


def fingerprint(keys: Iterable[PublicKey]) -> str:
    """One number for all keys of a signer, for paper: SHA-256 over their sorted ids, a line each.

    For a single key it is the key's id itself, which openssl and sha256sum compute as well.
    """
    ids = sorted(key.key_id for key in keys)
    if len(ids) == 1:
        return ids[0]
    return hashlib.sha256("".join(f"{key_id}\n" for key_id in ids).encode()).hexdigest()


def matches_paper(keys: Iterable[PublicKey], typed: Iterable[str]) -> bool:
    """Whether what was typed from paper names exactly these keys.

    Either the one fingerprint of all, or the id of each; groups, colons and case do not matter.
    """
    keys = tuple(keys)
    numbers = {ungrouped(number) for number in typed}
    return numbers in ({fingerprint(keys)}, {key.key_id for key in keys})


def _kind(material: object) -> str:
    return type(material).__name__.strip("_")
