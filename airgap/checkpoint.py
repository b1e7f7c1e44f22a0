"""A checkpoint: this host's signature over the audit log up to one event.

An in-toto statement in DSSE, like a bundle's, with a predicate type of its own. Its subject is
the SHA-256 of the event's line, which through `prev` stands for every line before. The log
carries such signatures among its lines, and an export ends with one.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from airgap import strict_json
from airgap.audit_line import AuditLine, Fact, is_moment
from airgap.digest import is_sha256
from airgap.envelope import Envelope, Signature
from airgap.errors import UntrustedError
from airgap.host_key import HostKey
from airgap.keys import PublicKey
from airgap.statement import STATEMENT_TYPE
from airgap.strict_json import Fields

PREDICATE_TYPE: Final = "urn:airgap-bundler:audit-checkpoint:v1"

EVENT: Final = "checkpoint"
"""The log's own event, which carries a checkpoint over all lines before it."""


@dataclass(frozen=True)
class Checkpoint:
    """What the host vouches for: at `time`, the log had `n` events, the last with this digest.

    `Checkpoint.parse(checkpoint.statement()) == checkpoint`, and no other bytes parse.
    """

    n: int
    head: str
    time: str

    @classmethod
    def before(cls, line: AuditLine) -> Checkpoint:
        """The checkpoint that an event `checkpoint` carries: over all that stands before it."""
        return cls(line.n - 1, line.prev, line.time)

    def statement(self) -> bytes:
        """The statement, in canonical JSON."""
        return strict_json.compact(
            {
                "_type": STATEMENT_TYPE,
                "predicateType": PREDICATE_TYPE,
                "subject": [{"name": f"log.jsonl:{self.n}", "digest": {"sha256": self.head}}],
                "predicate": {"n": self.n, "time": self.time},
            }
        )

    def sign(self, key: HostKey) -> Envelope:
        """The envelope with this host's signature. Ed25519: the same key makes the same one."""
        return key.sign(Envelope(self.statement(), ()))

    def facts(self, key: HostKey) -> dict[str, Fact]:
        """The facts of the event `checkpoint`: this host's signature."""
        (signature,) = self.sign(key).signatures
        return {"key": signature.key_id, "signature": base64.b64encode(signature.value).decode()}

    def envelope(self, facts: Mapping[str, Fact]) -> Envelope | None:
        """The envelope that the facts of an event `checkpoint` stand for; None if for none."""
        match facts:
            case {"key": str(key_id), "signature": str(encoded), **rest} if not rest:
                pass
            case _:
                return None
        try:
            value = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            return None
        if base64.b64encode(value).decode() != encoded:  # a spare bit of base64
            return None
        return Envelope(self.statement(), (Signature(key_id, value),))

    @classmethod
    def check(cls, envelope: Envelope, key: PublicKey) -> Checkpoint:
        """The checkpoint of an envelope that `key` alone has signed.

        Raises:
            UntrustedError: another key signed it, or it is no checkpoint.
        """
        found = [one.key_id for one in envelope.signatures]
        if found != [key.key_id]:
            raise _refused(
                f"expected a signature of this host's key {key.key_id[:16]}, found "
                f"{', '.join(key_id[:16] for key_id in found) or 'none'}",
                "checkpoint.key",
            )
        if not key.verifies(envelope.signatures[0].value, envelope.message):
            raise _refused("its signature is bad", "checkpoint.signature")
        return cls.parse(envelope.statement)

    @classmethod
    def parse(cls, content: bytes) -> Checkpoint:
        """Parse the very bytes that a signature check returned. Raises UntrustedError."""
        defects: list[str] = []
        try:
            checkpoint = cls._read(strict_json.parse(content), defects)
        except strict_json.JsonError as error:
            raise _refused(str(error), "checkpoint.form") from error
        if not defects and checkpoint.statement() != content:
            defects.append("it is not in canonical form")
        if defects:
            raise _refused("; ".join(sorted(defects)), "checkpoint.form")
        return checkpoint

    @classmethod
    def _read(cls, value: Any, defects: list[str]) -> Checkpoint:
        top = Fields(value, "", defects)
        top.text("_type", STATEMENT_TYPE.__eq__, STATEMENT_TYPE)
        top.text("predicateType", PREDICATE_TYPE.__eq__, PREDICATE_TYPE)
        head = ""
        for one in top.objects("subject", 1):
            one.text("name")
            digest = one.inner("digest")
            head = digest.text("sha256", is_sha256, "64 hex digits")
            digest.close()
            one.close()
        predicate = top.inner("predicate")
        checkpoint = cls(predicate.integer("n"), head, predicate.text("time", is_moment, "a time"))
        predicate.close()
        top.close()
        return checkpoint


def _refused(why: str, rule: str) -> UntrustedError:
    return UntrustedError(
        f"this is no checkpoint of this host's audit log: {why}",
        rule=rule,
        hint="airgap audit key shows this host's key; compare it with your paper",
    )
