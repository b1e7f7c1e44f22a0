"""What is signed: an in-toto statement that names the digests of table, manifest and payload.

The predicate holds what a policy needs before anything is decompressed.
Source: https://github.com/in-toto/attestation (Statement v1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from airgap import limits, strict_json
from airgap.digest import HASHES, grouped
from airgap.errors import UntrustedError
from airgap.strict_json import Fields, is_name, is_time

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:airgap-bundler:bundle:v1"

REQUIRED_SUBJECTS: Final = ("manifest.json", "payload", "table")
BOOTSTRAP: Final = "bootstrap.sh"
BOOTSTRAP_SUMS: Final = "bootstrap/SHA256SUMS"
"""What lies beside a bundle with a runtime, for hosts that have no airgap yet."""

SUBJECTS: Final = frozenset({*REQUIRED_SUBJECTS, BOOTSTRAP, BOOTSTRAP_SUMS})


@dataclass(frozen=True)
class Base:
    """The full bundle that a delta leaves files to: its name, version and manifest's digest."""

    name: str
    version: str
    manifest: str

    @property
    def title(self) -> str:
        """`NAME-VERSION`, as the base's file is called."""
        return f"{self.name}-{self.version}"

    def to_json(self) -> dict[str, str]:
        """The object that stands in statement and manifest."""
        return {"manifest": self.manifest, "name": self.name, "version": self.version}

    @classmethod
    def read(cls, fields: Fields) -> Base:
        """Take the object apart; defects go where `fields` collects them."""
        base = cls(
            fields.text("name", is_name, "a name"),
            fields.text("version", is_name, "a version"),
            fields.text("manifest", _is_digest, "a digest"),
        )
        fields.close()
        return base


@dataclass(frozen=True)
class Statement:
    """What the signers of a bundle vouch for.

    `Statement.parse(statement.to_bytes()) == statement`, and no other bytes parse.

    Attributes:
        subjects: digest, hex, of each thing vouched for; names from `SUBJECTS`.
        name, version: of the bundle.
        sequence: an integer that only grows, for one bundle name.
        created, expires: times as `strict_json.to_time` writes them; expires may be None.
        base: what a delta builds on, None for a full bundle.
        hash: of table, frames and manifest: `sha256` or `sha384`.
        table_size, manifest_size: in bytes; of the table's content, and of `manifest.json`.
        frames: how many follow the table, the manifest's own counted.
        plain_total: bytes of the tar, uncompressed.
    """

    subjects: Mapping[str, str]
    name: str
    version: str
    sequence: int
    created: str
    expires: str | None
    base: Base | None
    hash: str
    table_size: int
    manifest_size: int
    frames: int
    plain_total: int

    @property
    def title(self) -> str:
        """`NAME-VERSION`, as the file is called."""
        return f"{self.name}-{self.version}"

    def to_bytes(self) -> bytes:
        """The one serialisation: canonical JSON."""
        return strict_json.compact(
            {
                "_type": STATEMENT_TYPE,
                "predicateType": PREDICATE_TYPE,
                "subject": [
                    {"name": name, "digest": {self.hash: digest}}
                    for name, digest in sorted(self.subjects.items())
                ],
                "predicate": {
                    "name": self.name,
                    "version": self.version,
                    "sequence": self.sequence,
                    "created": self.created,
                    "expires": self.expires,
                    "base": self.base.to_json() if self.base else None,
                    "hash": self.hash,
                    "table_size": self.table_size,
                    "manifest_size": self.manifest_size,
                    "frames": self.frames,
                    "plain_total": self.plain_total,
                },
            }
        )

    @classmethod
    def parse(cls, content: bytes) -> Statement:
        """Parse the very bytes that a signature check returned.

        Raises:
            UntrustedError: it says something that we do not understand; a statement of another
                predicate type (a receipt, a rotation) never stands for a bundle.
        """
        defects: list[str] = []
        try:
            statement = cls._read(strict_json.parse(content), defects)
        except strict_json.JsonError as error:
            raise _not_ours([str(error)]) from error
        if defects:
            raise _not_ours(defects)
        if statement.to_bytes() != content:
            raise _not_ours(["it is not in canonical form"])
        return statement

    @classmethod
    def _read(cls, value: Any, defects: list[str]) -> Statement:
        top = Fields(value, "", defects)
        top.text("_type", STATEMENT_TYPE.__eq__, STATEMENT_TYPE)
        top.text("predicateType", PREDICATE_TYPE.__eq__, PREDICATE_TYPE)
        predicate = top.inner("predicate")
        algorithm = predicate.text("hash", HASHES.__contains__, " or ".join(HASHES))
        base = predicate.optional_inner("base")
        statement = cls(
            subjects=_read_subjects(top, algorithm),
            name=predicate.text("name", is_name, "a name"),
            version=predicate.text("version", is_name, "a version"),
            sequence=predicate.integer("sequence"),
            created=predicate.text("created", is_time, "a time"),
            expires=predicate.optional_text("expires", is_time, "a time"),
            base=Base.read(base) if base else None,
            hash=algorithm,
            table_size=predicate.integer("table_size"),
            manifest_size=predicate.integer("manifest_size", 2, limits.MANIFEST_SIZE),
            frames=predicate.integer("frames", 2, limits.FRAMES),
            plain_total=predicate.integer("plain_total"),
        )
        predicate.close()
        top.close()
        return statement


def approval_code(statement: bytes) -> str:
    """The SHA-256 of a statement's bytes in short groups, to be compared on paper."""
    return grouped(hashlib.sha256(statement).hexdigest())


def _read_subjects(top: Fields, algorithm: str) -> dict[str, str]:
    subjects: dict[str, str] = {}
    for one in top.objects("subject", len(SUBJECTS)):
        name = one.text("name", SUBJECTS.__contains__, "a subject of a bundle")
        digest = one.inner("digest")
        if name in subjects:
            one.reject("name", "each subject once", name)
        subjects[name] = digest.text(algorithm, _is_digest, "a digest")
        digest.close()
        one.close()
    for missing in sorted(set(REQUIRED_SUBJECTS) - subjects.keys()):
        top.reject("subject", f"'{missing}'", None)
    return subjects


def _is_digest(text: str) -> bool:
    return len(text) in (64, 96) and not set(text) - set("0123456789abcdef")


def _not_ours(defects: list[str]) -> UntrustedError:
    return UntrustedError(
        "what was signed is no statement about a bundle that this version reads: "
        + "; ".join(sorted(defects)),
        rule="statement.form",
        hint="airgap --version; a newer bundle needs a newer airgap on this host",
    )
