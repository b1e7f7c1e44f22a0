"""An OpenSSF Model Signing v1.0 signature over the plain tree of a bundle, by an ECDSA key.

`model_signing verify key TREE --signature model.sig --public_key KEY.pub` checks it: every file of
the unpacked tree, no fewer and no more. The digests come from the manifest, so nothing is read
again. Its predicate type keeps it from passing for a bundle's own statement.
Source: https://github.com/ossf/model-signing-spec (v1.0) and the Sigstore bundle format v0.3.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from airgap import strict_json, tar
from airgap.digest import is_sha256
from airgap.envelope import PAYLOAD_TYPE, Envelope
from airgap.keys import PublicKey
from airgap.manifest import Manifest
from airgap.statement import STATEMENT_TYPE

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"

_IGNORED: Final = (".git", ".gitattributes", ".github", ".gitignore")
"""What model_signing leaves out by default. A bundle's tree has none of them at its top."""


@dataclass(frozen=True)
class ModelSignature:
    """A signature over a tree. `ModelSignature.parse(signature.to_bytes()) == signature`.

    Attributes:
        statement: the signed bytes, an in-toto statement with the digest of every file.
        key_id: of the key, as we name keys. The library does not look at it.
        hint: SHA-256 of the key's PEM, by which the library tells keys apart.
        value: ECDSA P-384 with SHA-384 over the statement's DSSE encoding.
    """

    statement: bytes
    key_id: str
    hint: str
    value: bytes

    def to_bytes(self) -> bytes:
        """The file `model.sig`."""
        return strict_json.readable(
            {
                "mediaType": MEDIA_TYPE,
                "verificationMaterial": {"publicKey": {"hint": self.hint}, "tlogEntries": []},
                "dsseEnvelope": {
                    "payload": base64.b64encode(self.statement).decode(),
                    "payloadType": PAYLOAD_TYPE,
                    "signatures": [
                        {"keyid": self.key_id, "sig": base64.b64encode(self.value).decode()}
                    ],
                },
            }
        )

    @classmethod
    def parse(cls, content: bytes) -> ModelSignature | None:
        """Read a signature file; None where it is not one in this form."""
        defects: list[str] = []
        try:
            top = strict_json.Fields(strict_json.parse(content), "", defects)
            envelope = top.inner("dsseEnvelope")
            (one,) = envelope.objects("signatures", 1)
            signature = cls(
                base64.b64decode(envelope.text("payload"), validate=True),
                one.text("keyid", is_sha256, "64 hex digits"),
                top.inner("verificationMaterial").inner("publicKey").text("hint"),
                base64.b64decode(one.text("sig"), validate=True),
            )
        except (strict_json.JsonError, binascii.Error, ValueError):
            return None
        return signature if not defects and signature.to_bytes() == content else None

    def is_by(self, key_id: str) -> bool:
        """Whether it claims to be of this key; nothing is checked."""
        return self.key_id == key_id

    def holds(self, manifest: Manifest, key: PublicKey) -> bool:
        """Whether it is this key's, over the tree of this manifest."""
        return (
            self.hint == _hint(key)
            and self.statement == tree_statement(manifest)
            and key.verifies(self.value, _message(self.statement))
        )


def sign(manifest: Manifest, key: PublicKey, signed: Callable[[bytes], bytes]) -> ModelSignature:
    """Sign the tree of a bundle with an ECDSA P-384 key.

    Args:
        manifest: of the bundle.
        key: the public half.
        signed: makes the key's raw signature over a message.
    """
    statement = tree_statement(manifest)
    return ModelSignature(statement, key.key_id, _hint(key), signed(_message(statement)))


def tree_statement(manifest: Manifest) -> bytes:
    """What is signed: every file that `tar` unpacks, `manifest.json` among them, by name."""
    digests = {file.path: file.sha256 for file in manifest.carried}
    digests[tar.MANIFEST] = hashlib.sha256(manifest.to_bytes()).hexdigest()
    listed = sorted(digests.items())
    whole = hashlib.sha256(b"".join(bytes.fromhex(digest) for _path, digest in listed))
    return strict_json.compact(
        {
            "_type": STATEMENT_TYPE,
            "subject": [
                {
                    "name": f"{manifest.name}-{manifest.version}",
                    "digest": {"sha256": whole.hexdigest()},
                }
            ],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "serialization": {
                    "method": "files",
                    "hash_type": "sha256",
                    "allow_symlinks": False,
                    "ignore_paths": list(_IGNORED),
                },
                "resources": [
                    {"name": path, "algorithm": "sha256", "digest": digest}
                    for path, digest in listed
                ],
            },
        }
    )


def _message(statement: bytes) -> bytes:
    return Envelope(statement, ()).message


def _hint(key: PublicKey) -> str:
    return hashlib.sha256(key.pem.encode()).hexdigest()
