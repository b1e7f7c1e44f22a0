"""minisign's files: a public key, and a signature over a file, by an Ed25519 key of ours.

The key number is the first eight bytes of our key id, so whoever has the PEM can make the public
key's file with openssl alone. Source: https://jedisct1.github.io/minisign/ (signature format,
`ED`: prehashed with BLAKE2b-512).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from airgap.keys import PublicKey

_KEY_NUMBER: Final = 8  # bytes
_RAW_KEY: Final = 32  # bytes; they end the DER of an Ed25519 key (RFC 8410)
_UNTRUSTED: Final = "untrusted comment: "
_TRUSTED: Final = "trusted comment: "


def public_key(key: PublicKey) -> bytes:
    """The file for `minisign -V -p FILE`, of an Ed25519 key."""
    body = base64.b64encode(b"Ed" + _number(key) + key.der[-_RAW_KEY:]).decode()
    return f"{_UNTRUSTED}airgap key {key.key_id[:16]}\n{body}\n".encode()


@dataclass(frozen=True)
class FileSignature:
    """A minisign signature. `FileSignature.parse(signature.to_bytes()) == signature`.

    Attributes:
        key_number: the first eight bytes of the key's id.
        value: Ed25519 over the BLAKE2b-512 of the file.
        comment: one line that is signed too.
        comment_value: Ed25519 over `value` and the comment.
    """

    key_number: bytes
    value: bytes
    comment: str
    comment_value: bytes

    def to_bytes(self) -> bytes:
        """The file for `minisign -V -x FILE`."""
        body = base64.b64encode(b"ED" + self.key_number + self.value).decode()
        last = base64.b64encode(self.comment_value).decode()
        said = f"{_UNTRUSTED}by the key whose SHA-256 starts with {self.key_number.hex()}"
        return f"{said}\n{body}\n{_TRUSTED}{self.comment}\n{last}\n".encode()

    @classmethod
    def parse(cls, content: bytes) -> FileSignature | None:
        """Read a signature file; None where it is not one in this form."""
        try:
            _said, body, comment, last = content.decode().splitlines()
            raw = base64.b64decode(body, validate=True)
            signature = cls(
                raw[2 : 2 + _KEY_NUMBER],
                raw[2 + _KEY_NUMBER :],
                comment.removeprefix(_TRUSTED),
                base64.b64decode(last, validate=True),
            )
        except (ValueError, binascii.Error):
            return None
        return signature if signature.to_bytes() == content else None

    def is_by(self, key_id: str) -> bool:
        """Whether it claims to be of this key; nothing is checked."""
        return bytes.fromhex(key_id)[:_KEY_NUMBER] == self.key_number

    def holds(self, file: bytes, comment: str, key: PublicKey) -> bool:
        """Whether it is this key's, over the file and this very comment."""
        return (
            self.comment == comment
            and key.verifies(self.value, hashlib.blake2b(file).digest())
            and key.verifies(self.comment_value, self.value + comment.encode())
        )


def sign(
    file: bytes, comment: str, key: PublicKey, signed: Callable[[bytes], bytes]
) -> FileSignature:
    """Sign a file with an Ed25519 key.

    Args:
        file: its bytes.
        comment: one line that is signed too.
        key: the public half.
        signed: makes the key's raw signature over a message.
    """
    value = signed(hashlib.blake2b(file).digest())
    return FileSignature(_number(key), value, comment, signed(value + comment.encode()))


def _number(key: PublicKey) -> bytes:
    return bytes.fromhex(key.key_id)[:_KEY_NUMBER]
