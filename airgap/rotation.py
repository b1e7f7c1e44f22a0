"""A rotation: a new policy for a host, signed by a quorum of the old policy and of the new.

Semantics are those of TUF's root rotation (The Update Framework, 5.3.4 to 5.3.8): the version only
grows, and both policies must be satisfied by signatures of keys with the role `trust`. It is an
in-toto statement in a DSSE envelope, a file of its own that travels beside a bundle; its predicate
type is not a bundle's, so one never stands for the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from airgap import keys, limits, policy_file, strict_json
from airgap.decision import Step, Tell, untold
from airgap.digest import is_sha256
from airgap.envelope import Envelope
from airgap.errors import DamagedError, OutdatedError, UntrustedError, UsageError
from airgap.files import read_bounded, write_whole
from airgap.keys import PublicKey
from airgap.policy import TRUST, Policy
from airgap.statement import STATEMENT_TYPE
from airgap.strict_json import Fields
from airgap.trust import TrustStore

PREDICATE_TYPE: Final = "urn:airgap-bundler:policy:v1"
SUBJECT: Final = "policy.yaml"


@dataclass(frozen=True)
class Rotation:
    """What a rotation says.

    `Rotation.parse(rotation.to_bytes()) == rotation`, and no other bytes parse.

    Attributes:
        policy: the bytes of the new `policy.yaml`.
        keys: every public key that it names, as PEM, by key id.
    """

    policy: bytes
    keys: Mapping[str, str]

    @classmethod
    def of_store(cls, store: TrustStore) -> Rotation:
        """The rotation that makes a host's policy that of `store`, a folder that was edited."""
        policy = store.load()
        public = {
            key_id: key.public.pem
            for signer in policy.signers.values()
            for key_id, key in signer.keys.items()
        }
        return cls(store.policy_bytes(), public)

    def to_bytes(self) -> bytes:
        """The statement: canonical JSON."""
        digest = hashlib.sha256(self.policy).hexdigest()
        return strict_json.compact(
            {
                "_type": STATEMENT_TYPE,
                "predicateType": PREDICATE_TYPE,
                "subject": [{"name": SUBJECT, "digest": {"sha256": digest}}],
                "predicate": {"policy": self.policy.decode(), "keys": dict(self.keys)},
            }
        )

    @classmethod
    def parse(cls, content: bytes) -> Rotation:
        """Parse a statement. Raises UntrustedError where it is another than a rotation."""
        defects: list[str] = []
        try:
            top = Fields(strict_json.parse(content), "", defects)
        except strict_json.JsonError as error:
            raise _not_ours(str(error)) from error
        top.text("_type", STATEMENT_TYPE.__eq__, STATEMENT_TYPE)
        top.text("predicateType", PREDICATE_TYPE.__eq__, PREDICATE_TYPE)
        top.items("subject", 1)
        predicate = top.inner("predicate")
        public = predicate.inner("keys")
        rotation = cls(
            predicate.text("policy").encode(),
            {key_id: public.text(key_id) for key_id in public.keys()},  # noqa: SIM118 - not a dict
        )
        predicate.close()
        top.close()
        if defects:
            raise _not_ours("; ".join(sorted(defects)))
        if rotation.to_bytes() != content:
            raise _not_ours("it is not in canonical form")
        return rotation

    def read_policy(self, source: str) -> Policy:
        """The new policy, with the keys that came along. Raises UsageError for a defective one."""
        return policy_file.read(self.policy, SUBJECT, source, self._find_key)

    def _find_key(self, key_id: str) -> PublicKey | None:
        pem = self.keys.get(key_id)
        if pem is None or not is_sha256(key_id):
            return None
        found = keys.load_public_keys(pem.encode(), SUBJECT)
        return found[0] if [key.key_id for key in found] == [key_id] else None


def apply(store: TrustStore, envelope: Envelope, now: datetime, tell: Tell = untold) -> Policy:
    """Replace a host's policy by a rotation's.

    Args:
        store: the host's.
        envelope: the rotation, signed.
        now: when; keys expire.
        tell: told each rule.

    Returns:
        The policy that is now in force.

    Raises:
        UntrustedError: the old policy or the new is not satisfied.
        OutdatedError: its version is not above the one in force.
    """
    with store.changing() as old:
        old.judge(envelope, now, role=TRUST, tell=tell)
        rotation = Rotation.parse(envelope.statement)
        new = rotation.read_policy("the new policy")
        if new.version <= old.version:
            raise OutdatedError(
                f"the rotation brings version {new.version} of the policy, and this host has "
                f"version {old.version}",
                rule="rotation.version",
                hint="ask for the newest rotation; airgap trust list shows the version in force",
            )
        tell(Step("rotation.version", f"above {old.version}", str(new.version)))
        new.judge(envelope, now, role=TRUST, tell=tell)
        store.replace(rotation.policy, new)
    return store.load()


class RotationFile:
    """A rotation on disk, at `path`, to be signed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Envelope:
        """The envelope in the file. Raises UntrustedError where it is none, UsageError."""
        content = read_bounded(self.path, limits.POLICY_FILE, "a rotation")
        try:
            return Envelope.from_json(content)
        except DamagedError as error:
            raise _not_ours(f"'{self.path}': {error.message}") from error

    def write(self, envelope: Envelope) -> None:
        """Replace the file, whole."""
        write_whole(self.path, envelope.to_json())


def is_rotation(path: Path) -> bool:
    """Whether a file that somebody wants to sign is a rotation: JSON, not a bundle's head."""
    try:
        with path.open("rb") as stream:
            return stream.read(1) == b"{"
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror}") from error


def _not_ours(why: str) -> UntrustedError:
    return UntrustedError(
        f"this is no rotation that this version reads: {why}",
        rule="rotation.form",
        hint="airgap trust rotate takes the file that `airgap trust rotate --make` wrote",
    )
