"""A transcript in a file, with the attestation that came with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airgap import jcs, strict_json
from airgap.attestation import (
    ATTESTATION_FILE,
    AUTHORITY,
    BYTES_FORM,
    EXTENSION,
    MEMBER,
    RESPONSE_FILE,
    Transcribed,
)
from airgap.envelope import Envelope
from airgap.errors import DamagedError, UntrustedError, UsageError
from airgap.files import read_bounded


@dataclass(frozen=True)
class Response:
    """What a host answered, and the envelope over it; nothing is checked yet.

    Attributes:
        path: the transcript.
        content: its bytes.
        envelope: statement and signatures.
    """

    path: Path
    content: bytes
    envelope: Envelope

    @classmethod
    def read(cls, path: Path, attestation: Path | None) -> Response:
        """Read a transcript with its attestation.

        Args:
            path: the transcript.
            attestation: the envelope's file. None: `FILE.attestation.json` beside the transcript,
                or else the transcript's own member `attestation`.

        Raises:
            UsageError: a file is not there or too large, or nowhere is an attestation.
            UntrustedError: what should be the attestation is no envelope.
        """
        content = read_bounded(path, RESPONSE_FILE, "a transcript")
        beside = path.with_name(f"{path.name}{EXTENSION}")
        if attestation is None and beside.exists():
            attestation = beside
        if attestation is not None:
            raw = read_bounded(attestation, ATTESTATION_FILE, "an attestation")
            # Whoever takes it out of a header with a shell has a newline behind it.
            return cls(path, content, _envelope(raw.rstrip(b"\r\n"), attestation))
        return cls(path, content, _envelope(_embedded(content, path, beside), path))

    def transcribed(self, form: str) -> Transcribed:
        """The transcript, hashed in a form of an attestation.

        Raises:
            DamagedError: it was signed as JSON, and is none, or holds another attestation than the
                one that it is checked by: no digest covers that member.
        """
        if form == BYTES_FORM:
            return Transcribed.of_bytes(self.content)
        document = _document(self.content)
        if isinstance(document, strict_json.JsonError):
            raise DamagedError(
                f"'{self.path}' was signed as JSON, and is none: {document}",
                rule="attestation.transcript",
                authority=AUTHORITY,
                hint="ask for the file as it came from the host",
            ) from document
        if MEMBER in document and strict_json.compact(document[MEMBER]) != self.envelope.to_json():
            raise DamagedError(
                f"'{self.path}' holds another '{MEMBER}' than the one that it was checked by",
                rule="attestation.transcript",
                authority=AUTHORITY,
                hint="ask for the file as it came from the host; or, if it came with that: "
                "airgap verify --response, without a file beside it",
            )
        return Transcribed.of_json(document)


def _document(content: bytes) -> dict[str, Any] | strict_json.JsonError:
    """The JSON object that a transcript is, or why it is none."""
    try:
        value = jcs.parse(content)
    except strict_json.JsonError as error:
        return error
    return value if isinstance(value, dict) else strict_json.JsonError("it is no object")


def _embedded(content: bytes, path: Path, beside: Path) -> bytes:
    """The envelope inside a transcript, in its one form whatever a client made of it."""
    document = _document(content)
    if isinstance(document, strict_json.JsonError) or MEMBER not in document:
        raise UsageError(
            f"'{path}' came without an attestation: there is no '{beside.name}' beside it, and no "
            f"member '{MEMBER}' in it",
            hint="--attestation FILE; or have it made: airgap transcribe --attest, airgap serve "
            "--attest",
        )
    return strict_json.compact(document[MEMBER])


def _envelope(raw: bytes, path: Path) -> Envelope:
    try:
        return Envelope.from_json(raw)
    except DamagedError as error:
        raise UntrustedError(
            f"'{path}' holds no attestation: {error.message}",
            rule="attestation.form",
            authority=AUTHORITY,
            hint="ask for the file as it came from the host",
        ) from error
