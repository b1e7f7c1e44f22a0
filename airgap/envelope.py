"""The envelope in a bundle's head: one statement and the signatures over it (DSSE v1).

The head has exactly one form for one content: canonical JSON, filled up with spaces. A flipped
spare bit of base64, a reordered key or a second copy of a signature is refused before any
signature is looked at. Source: https://github.com/secure-systems-lab/dsse (v1.0.2).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from airgap import limits, strict_json
from airgap.digest import is_sha256
from airgap.errors import DamagedError, UsageError

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"

HEAD_MAGIC: Final = (0x184D2A50).to_bytes(4, "little")
"""A zstd skippable frame (RFC 8878, 3.1.2): zstd and tar pass over it."""

_HEADER: Final = HEAD_MAGIC + (limits.HEAD_SLOT - 8).to_bytes(4, "little")


@dataclass(frozen=True, order=True)
class Signature:
    """One signature over a statement: whose key, and the bytes."""

    key_id: str
    value: bytes


@dataclass(frozen=True)
class Envelope:
    """The exact bytes of a statement, and signatures over them, sorted by key id.

    `from_head(envelope.to_head()) == envelope`, and no other bytes give that envelope.
    """

    statement: bytes
    signatures: tuple[Signature, ...]

    @property
    def message(self) -> bytes:
        """What is signed: the DSSE pre-authentication encoding (PAE) of the statement."""
        kind = PAYLOAD_TYPE.encode()
        return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(self.statement), self.statement)

    def signed_also(self, signatures: Iterable[Signature]) -> Envelope:
        """This envelope with more signatures; a key's new one replaces its old one."""
        merged = {signature.key_id: signature for signature in self.signatures}
        merged.update({signature.key_id: signature for signature in signatures})
        return Envelope(self.statement, tuple(sorted(merged.values())))

    def to_head(self) -> bytes:
        """The head: a skippable frame of exactly the slot. Raises UsageError where it is full."""
        content = self.to_json()
        room = limits.HEAD_SLOT - len(_HEADER)
        if len(content) > room or len(self.signatures) > limits.SIGNATURES:
            raise UsageError(
                f"{len(self.signatures)} signatures do not fit into the head: {len(content)} of "
                f"{room} bytes, at most {limits.SIGNATURES} signatures"
            )
        return _HEADER + content.ljust(room)

    @classmethod
    def from_head(cls, head: bytes, subject: str = "this") -> Envelope:
        """Parse a head. This is all that an attacker reaches without a signature.

        Args:
            head: its bytes.
            subject: what it is the head of, for the error.

        Raises:
            DamagedError: it is not exactly the one form that `to_head` writes.
        """
        if len(head) != limits.HEAD_SLOT or not head.startswith(_HEADER):
            raise DamagedError(
                f"{subject} is no airgap bundle: expected a head of {limits.HEAD_SLOT} bytes that "
                f"starts with {_HEADER.hex()}, found {head[: len(_HEADER)].hex() or 'nothing'}",
                rule="head.magic",
                hint="check that the file was copied whole, and that it is the .tar.zst itself",
            )
        envelope = cls._parsed(head[len(_HEADER) :])
        if envelope.to_head() != head:
            raise _damaged("it is not in canonical form")
        return envelope

    @classmethod
    def from_json(cls, content: bytes) -> Envelope:
        """Parse an envelope that is a file of its own: a rotation, a receipt, a checkpoint.

        Args:
            content: the file, already bounded.

        Raises:
            DamagedError: it is not exactly the one form that `to_json` writes.
        """
        envelope = cls._parsed(content)
        if envelope.to_json() != content:
            raise _damaged("it is not in canonical form")
        return envelope

    def to_json(self) -> bytes:
        """The envelope as canonical JSON, without anything around it."""
        return strict_json.compact(
            {
                "payload": base64.b64encode(self.statement).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [
                    {"keyid": one.key_id, "sig": base64.b64encode(one.value).decode()}
                    for one in self.signatures
                ],
            }
        )

    @classmethod
    def _parsed(cls, content: bytes) -> Envelope:
        try:
            return cls._read(strict_json.parse(content))
        except (strict_json.JsonError, binascii.Error, ValueError) as error:
            raise _damaged(str(error)) from error

    @classmethod
    def _read(cls, value: object) -> Envelope:
        defects: list[str] = []
        fields = strict_json.Fields(value, "", defects)
        fields.text("payloadType", PAYLOAD_TYPE.__eq__, PAYLOAD_TYPE)
        payload = fields.text("payload")
        signatures = []
        for one in fields.objects("signatures", limits.SIGNATURES):
            key_id = one.text("keyid", is_sha256, "64 hex digits")
            signatures.append(Signature(key_id, base64.b64decode(one.text("sig"), validate=True)))
            one.close()
        fields.close()
        ids = [signature.key_id for signature in signatures]
        if ids != sorted(set(ids)):
            defects.append("signatures are not sorted by key, one for each")
        if defects:
            raise ValueError("; ".join(sorted(defects)))
        return cls(base64.b64decode(payload, validate=True), tuple(signatures))


def _damaged(why: str) -> DamagedError:
    return DamagedError(
        f"the envelope of statement and signatures is damaged or forged: {why}",
        rule="head.form",
        hint="copy it again; if it stays so, ask who made it",
    )
