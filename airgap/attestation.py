"""An attestation: this host's signed word that one recording became one transcript here.

An in-toto statement in DSSE with a predicate type of its own. Its subjects are the recording and
the transcript, by SHA-256; the predicate says of which bundle, models, libraries and options, and
has a digest of each part of a transcript in JSON, so that a check can say which one was changed.
Docs: docs/attestation.md; why so: docs/decisions/attestation.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from airgap import jcs, limits, strict_json
from airgap.audit_line import is_moment
from airgap.digest import is_sha256
from airgap.envelope import Envelope
from airgap.errors import DamagedError
from airgap.host_key import HostKey
from airgap.keys import PublicKey
from airgap.provenance import Provenance
from airgap.statement import STATEMENT_TYPE
from airgap.strict_json import Fields
from airgap.testimony import Testimony

PREDICATE_TYPE: Final = "urn:airgap-bundler:attestation:v1"

MEMBER: Final = "attestation"
"""The member of a JSON transcript that holds the envelope; no digest covers it."""

EXTENSION: Final = ".attestation.json"
"""What is added to a transcript's name for the file beside it."""

JSON_FORM: Final = "rfc8785"
BYTES_FORM: Final = "bytes"
"""How a transcript was hashed: as the canonical form of its JSON values, or byte for byte."""

AUTHORITY: Final = "who handed it to you"
"""Who could change a transcript after it was signed."""

ATTESTATION_FILE: Final = 64 * limits.KIB
RESPONSE_FILE: Final = 64 * limits.MIB
"""A transcript: a day of speech in JSON with every word timed. It is parsed before the signature
inside it can be checked, so it is bounded closely."""


@dataclass(frozen=True)
class Transcribed:
    """A transcript as it is signed for.

    Attributes:
        form: how it was hashed.
        sha256: of the whole of it, hex.
        parts: SHA-256 of its parts by their names, where it is JSON: of a member, of a member's
            own members (`usage.seconds`), or of one key in each row of a list (`segments.text`).
    """

    form: str
    sha256: str
    parts: Mapping[str, str]

    @classmethod
    def of_bytes(cls, content: bytes) -> Transcribed:
        """A text, or subtitles."""
        return cls(BYTES_FORM, hashlib.sha256(content).hexdigest(), MappingProxyType({}))

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> Transcribed:
        """A JSON document, without its member `attestation`."""
        covered = {key: value for key, value in document.items() if key != MEMBER}
        parts = {
            name: jcs.digest(value)
            for key, member in covered.items()
            for name, value in _parts(key, member)
        }
        return cls(JSON_FORM, jcs.digest(covered), MappingProxyType(parts))

    def differing(self, other: Transcribed) -> list[str]:
        """Names of the parts that are not the same in the other, sorted; none where it fits."""
        if self == other:
            return []
        names = sorted(self.parts.keys() | other.parts.keys())
        return [one for one in names if self.parts.get(one) != other.parts.get(one)] or ["content"]


@dataclass(frozen=True)
class Attestation:
    """What a host says about one transcript.

    `Attestation.parse(one.statement()) == one`, and no other bytes parse.

    Attributes:
        audio: SHA-256 of the recording's bytes, hex.
        transcript: what it became.
        format: by its name in the API or on the command line.
        provenance: by what.
        time: by the host's clock.
        host: id of the host's key.
    """

    audio: str
    transcript: Transcribed
    format: str
    provenance: Provenance
    time: str
    host: str

    def statement(self) -> bytes:
        """The one serialisation: canonical JSON."""
        return strict_json.compact(
            {
                "_type": STATEMENT_TYPE,
                "predicateType": PREDICATE_TYPE,
                "subject": [
                    {"name": "audio", "digest": {"sha256": self.audio}},
                    {"name": "transcript", "digest": {"sha256": self.transcript.sha256}},
                ],
                "predicate": {
                    "format": self.format,
                    "form": self.transcript.form,
                    "parts": dict(self.transcript.parts),
                    "provenance": self.provenance.to_json(),
                    "time": self.time,
                    "host": self.host,
                },
            }
        )

    @classmethod
    def parse(cls, content: bytes) -> Attestation:
        """Parse the very bytes that a signature check returned.

        Raises:
            UntrustedError: it is another kind of statement, or says something that we do not
                understand.
        """
        return _TESTIMONY.parse(content)


def _read(top: Fields) -> Attestation:
    subjects = {one.text("name"): one.inner("digest") for one in top.objects("subject", 2)}
    digests = {
        name: one.text("sha256", is_sha256, "64 hex digits") for name, one in subjects.items()
    }
    predicate = top.inner("predicate")
    parts = predicate.inner("parts")
    return Attestation(
        audio=digests.get("audio", ""),
        transcript=Transcribed(
            predicate.text("form", {JSON_FORM, BYTES_FORM}.__contains__, "a form"),
            digests.get("transcript", ""),
            MappingProxyType(
                {name: parts.text(name, is_sha256, "64 hex digits") for name in parts.keys()}  # noqa: SIM118 - not a dict
            ),
        ),
        format=predicate.text("format"),
        provenance=Provenance.read(predicate.inner("provenance")),
        time=predicate.text("time", is_moment, "a time"),
        host=predicate.text("host", is_sha256, "64 hex digits"),
    )


_TESTIMONY: Final = Testimony(
    "attestation", PREDICATE_TYPE, "attestation by a host that is trusted here", _read
)


def make(
    key: HostKey, provenance: Provenance, audio: str, transcript: Transcribed, output_format: str
) -> Envelope:
    """A signed attestation.

    Args:
        key: this host's.
        provenance: by what the recording became the transcript.
        audio: SHA-256 of the recording's bytes, hex.
        transcript: what it became.
        output_format: by its name.
    """
    said = Attestation(
        audio=audio,
        transcript=transcript,
        format=output_format,
        provenance=provenance,
        time=strict_json.to_time(datetime.now(UTC)),
        host=key.public.key_id,
    )
    return key.sign(Envelope(said.statement(), ()))


def check(envelope: Envelope, trusted: Iterable[PublicKey]) -> Attestation:
    """The attestation in an envelope, if a trusted host signed it.

    The signature is checked first; nothing is parsed before.

    Args:
        envelope: what came with the transcript.
        trusted: keys of hosts, with the role `attestation`.

    Raises:
        UntrustedError: nobody trusted signed it, a signature is bad, it is another kind of
            statement, or it speaks for another host.
    """
    return _TESTIMONY.check(envelope, trusted)


def require_fits(said: Attestation, found: Transcribed, audio: str | None, what: str) -> None:
    """Compare what was signed for with what is there; all that differs is told at once.

    Args:
        said: the attestation.
        found: the transcript as it is there, hashed in the form that `said` names.
        audio: SHA-256 of the recording; None where nobody gave it.
        what: the transcript, for the error.

    Raises:
        DamagedError: a part differs.
    """
    differing = said.transcript.differing(found)
    more = [f"{len(differing) - limits.NAMED} more"] if len(differing) > limits.NAMED else []
    defects = [f"its {', '.join(differing[: limits.NAMED] + more)}"] if differing else []
    if audio is not None and audio != said.audio:
        defects.append(f"the audio (expected SHA-256 {said.audio[:16]}…, found {audio[:16]}…)")
    if defects:
        raise DamagedError(
            f"'{what}' is not what that host signed; these do not fit: {'; '.join(defects)}",
            rule="attestation.transcript" if differing else "attestation.audio",
            authority=AUTHORITY,
            hint="someone changed it after it was signed, or gave another recording with it; ask "
            "for the file as it came from the host",
        )


def _parts(key: str, member: Any) -> Iterable[tuple[str, Any]]:
    """A member of a document by the names of its parts; what has none is one."""
    if isinstance(member, dict) and member:
        return [(f"{key}.{inner}", value) for inner, value in member.items()]
    if isinstance(member, list) and member and all(isinstance(row, dict) for row in member):
        columns = sorted({inner for row in member for inner in row})
        return [
            (f"{key}.{inner}", [[row[inner]] if inner in row else [] for row in member])
            for inner in columns
        ]
    return [(key, member)]
