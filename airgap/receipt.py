"""A receipt: this host's signed word that it verified, or mounted, one bundle.

An in-toto statement in DSSE with SLSA's predicate for exactly that, a verification summary
(https://slsa.dev/spec/v1.0/verification_summary). It travels back across the gap, where it is
checked against the bundle that was sent. Its subject is the bundle's statement, whose SHA-256
is the approval code: `sha256sum NAME-VERSION/statement.json` prints the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from airgap import __version__, limits, strict_json
from airgap.audit_line import is_moment
from airgap.digest import grouped, is_sha256
from airgap.envelope import Envelope
from airgap.errors import AirgapError, DamagedError
from airgap.files import read_bounded, share_folder, write_whole
from airgap.host_key import HostKey
from airgap.keys import PublicKey
from airgap.statement import STATEMENT_TYPE, Statement
from airgap.strict_json import Fields, is_name
from airgap.testimony import Testimony

PREDICATE_TYPE: Final = "https://slsa.dev/verification_summary/v1"

EXTENSION: Final = "urn:airgap-bundler:receipt:v1"
"""Our own fields, under one name; extensions are named by URIs (in-toto, parsing rules)."""

POLICY: Final = "urn:airgap-bundler:policy"
HOST: Final = "urn:airgap-bundler:host:"
"""A verifier is named by the id of its key, so that no other key can speak for it."""

LEVEL: Final = "AIRGAP_SIGNATURES"
"""What a host vouches for; no level of SLSA's, whose names start with `SLSA_`."""

RECEIPT_FILE: Final = 64 * limits.KIB
LIST_ITEMS: Final = 256
"""Signers, or overrides, in a receipt."""

Action = Literal["verify", "mount"]


@dataclass(frozen=True)
class Receipt:
    """What a host says about one bundle.

    `Receipt.parse(receipt.statement()) == receipt`, and no other bytes parse.

    Attributes:
        action: what was done: `verify` or `mount`.
        passed: whether the bundle satisfied the host's policy.
        time: by the host's clock.
        name, version, sequence: of the bundle.
        bundle: SHA-256 of its statement, hex.
        policy: SHA-256 of the policy that judged, hex.
        signers: whose signatures counted.
        overrides: rules that a person overrode, each with the reason.
        host: id of the host's key.
        airgap: version of the program that judged.
    """

    action: str
    passed: bool
    time: str
    name: str
    version: str
    sequence: int
    bundle: str
    policy: str
    signers: tuple[str, ...]
    overrides: Mapping[str, str]
    host: str
    airgap: str

    @property
    def title(self) -> str:
        """`NAME-VERSION` of the bundle."""
        return f"{self.name}-{self.version}"

    @property
    def approval_code(self) -> str:
        """The digest of the bundle's statement in short groups, as it stands on paper."""
        return grouped(self.bundle)

    def statement(self) -> bytes:
        """The one serialisation: canonical JSON."""
        return strict_json.compact(
            {
                "_type": STATEMENT_TYPE,
                "predicateType": PREDICATE_TYPE,
                "subject": [
                    {"name": f"{self.title}/statement.json", "digest": {"sha256": self.bundle}}
                ],
                "predicate": {
                    "verifier": {
                        "id": f"{HOST}{self.host}",
                        "version": {"airgap-bundler": self.airgap},
                    },
                    "timeVerified": self.time,
                    "resourceUri": f"urn:airgap-bundler:bundle:{self.title}",
                    "policy": {"uri": POLICY, "digest": {"sha256": self.policy}},
                    "verificationResult": "PASSED" if self.passed else "FAILED",
                    "verifiedLevels": [LEVEL if self.passed else "FAILED"],
                    EXTENSION: {
                        "action": self.action,
                        "approval_code": self.approval_code,
                        "name": self.name,
                        "version": self.version,
                        "sequence": self.sequence,
                        "signers": list(self.signers),
                        "overrides": dict(self.overrides),
                    },
                },
            }
        )

    @classmethod
    def parse(cls, content: bytes) -> Receipt:
        """Parse the very bytes that a signature check returned.

        Raises:
            UntrustedError: it is another kind of statement, or says something that we do not
                understand.
        """
        return _TESTIMONY.parse(content)


def _read(top: Fields) -> Receipt:
    predicate = top.inner("predicate")
    verifier, ours = predicate.inner("verifier"), predicate.inner(EXTENSION)
    overrides = ours.inner("overrides")
    subjects = [one.inner("digest") for one in top.objects("subject", 1)]
    return Receipt(
        action=ours.text("action", {"verify", "mount"}.__contains__, "verify or mount"),
        passed=predicate.text("verificationResult") == "PASSED",
        time=predicate.text("timeVerified", is_moment, "a time"),
        name=ours.text("name", is_name, "a name"),
        version=ours.text("version", is_name, "a version"),
        sequence=ours.integer("sequence"),
        bundle="".join(one.text("sha256", is_sha256, "64 hex digits") for one in subjects),
        policy=predicate.inner("policy").inner("digest").text("sha256", is_sha256, "64 hex digits"),
        signers=ours.texts("signers", LIST_ITEMS),
        overrides={rule: overrides.text(rule) for rule in overrides.keys()},  # noqa: SIM118 - not a dict
        host=verifier.text("id").removeprefix(HOST),
        airgap=verifier.inner("version").text("airgap-bundler"),
    )


_TESTIMONY: Final = Testimony(
    "receipt", PREDICATE_TYPE, "receipt for the bundle that is to be trusted", _read
)


def make(
    key: HostKey,
    action: Action,
    statement: Statement,
    *,
    time: str,
    policy: str,
    signers: Iterable[str],
    overrides: Mapping[str, str],
    passed: bool = True,
) -> Envelope:
    """A signed receipt.

    Args:
        key: this host's.
        action: what was done with the bundle.
        statement: the bundle's.
        time: when, as `strict_json.to_time` writes it.
        policy: SHA-256 of the policy that judged, hex.
        signers: whose signatures counted.
        overrides: rules that a person overrode, each with the reason.
        passed: whether the bundle satisfied the policy.
    """
    receipt = Receipt(
        action=action,
        passed=passed,
        time=time,
        name=statement.name,
        version=statement.version,
        sequence=statement.sequence,
        bundle=hashlib.sha256(statement.to_bytes()).hexdigest(),
        policy=policy,
        signers=tuple(sorted(signers)),
        overrides=overrides,
        host=key.public.key_id,
        airgap=__version__,
    )
    return key.sign(Envelope(receipt.statement(), ()))


def check(envelope: Envelope, statement: Statement, trusted: Iterable[PublicKey]) -> Receipt:
    """The receipt in an envelope, if it is about this bundle and a trusted host signed it.

    The signature is checked first; nothing is parsed before.

    Args:
        envelope: what came back across the gap.
        statement: of the bundle that was sent.
        trusted: keys of hosts, with the role `receipt`.

    Returns:
        The receipt. Whether the bundle passed there, it says itself.

    Raises:
        UntrustedError: nobody trusted signed it, a signature is bad, it is another kind of
            statement, speaks for another host, or is about another bundle.
    """
    receipt = _TESTIMONY.check(envelope, trusted)
    _require_about(receipt, statement)
    return receipt


def write(root: Path, envelope: Envelope) -> Path:
    """Keep a receipt under the host's root, in `receipts`.

    Returns:
        Its path, `NAME-VERSION.ACTION.TIME.DIGEST8.json`: no character that a stick's file
        system refuses, and never the same for two receipts.

    Raises:
        AirgapError: it cannot be written.
    """
    receipt = Receipt.parse(envelope.statement)
    content = envelope.to_json()
    moment = receipt.time.replace("-", "").replace(":", "")
    digest = hashlib.sha256(content).hexdigest()[:8]
    path = root / "receipts" / f"{receipt.title}.{receipt.action}.{moment}.{digest}.json"
    try:
        share_folder(path.parent)
    except OSError as error:
        raise AirgapError(f"cannot write '{path}': {error.strerror}") from error
    write_whole(path, content)
    return path


def read(path: Path) -> Envelope:
    """The envelope of a receipt that came back; nothing in it is checked yet.

    Raises:
        UsageError: the file is not there, or too large.
        UntrustedError: it is no envelope.
    """
    content = read_bounded(path, RECEIPT_FILE, "a receipt")
    try:
        return Envelope.from_json(content)
    except DamagedError as error:
        raise _TESTIMONY.refused(f"'{path}': {error.message}", "form") from error


def _require_about(receipt: Receipt, statement: Statement) -> None:
    sent = hashlib.sha256(statement.to_bytes()).hexdigest()
    if receipt.bundle != sent:
        raise _TESTIMONY.refused(
            f"it is about '{receipt.title}' with the approval code {receipt.approval_code[:19]} …, "
            f"and the bundle '{statement.title}' has {grouped(sent)[:19]} …",
            "bundle",
        )
    ours = (statement.name, statement.version, statement.sequence)
    theirs = (receipt.name, receipt.version, receipt.sequence)
    if theirs != ours:
        raise _TESTIMONY.refused(
            f"it calls the bundle '{receipt.title}', sequence {receipt.sequence}; it is "
            f"'{statement.title}', sequence {statement.sequence}",
            "bundle",
        )
