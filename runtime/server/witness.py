"""Where an answer comes from, in its headers and its JSON, signed where this host signs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from airgap import attestation, strict_json
from airgap.attestation import MEMBER, Transcribed
from airgap.host_key import HostKey
from airgap.provenance import Provenance

HEADER: Final = "X-Airgap-Attestation"
"""The envelope over an answer that has no place for it, in one line of JSON."""


@dataclass(frozen=True)
class Witness:
    """What is said of one answer.

    Attributes:
        provenance: by what the recording becomes the answer.
        audio: SHA-256 of the recording's bytes, hex.
        key: this host's; None where it does not sign.
    """

    provenance: Provenance
    audio: str
    key: HostKey | None

    @property
    def headers(self) -> dict[str, str]:
        """Those of every answer, known before the first word."""
        return self.provenance.headers(self.audio)

    @property
    def member(self) -> dict[str, Any]:
        """The object `airgap` of a JSON answer."""
        return self.provenance.beside(self.audio)

    def signed(self, document: Mapping[str, Any], form: str) -> dict[str, Any]:
        """A JSON document with its attestation inside, where this host signs.

        Args:
            document: the answer.
            form: the name of its format.
        """
        if self.key is None:
            return {**document}
        envelope = self._envelope(self.key, Transcribed.of_json(document), form)
        return {**document, MEMBER: strict_json.parse(envelope)}

    def header(self, transcript: Transcribed, form: str) -> dict[str, str]:
        """The attestation of an answer that has no place for it."""
        if self.key is None:
            return {}
        return {HEADER: self._envelope(self.key, transcript, form).decode()}

    def _envelope(self, key: HostKey, transcript: Transcribed, form: str) -> bytes:
        return attestation.make(key, self.provenance, self.audio, transcript, form).to_json()
