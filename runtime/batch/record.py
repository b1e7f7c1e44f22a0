"""`airgap-run.json`: which text is of which recording, and what made it.

One lies in every folder that texts were written into, and speaks of those alone.
Docs: docs/transcribing.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from airgap import limits, strict_json
from airgap.digest import is_sha256
from airgap.errors import UsageError
from airgap.provenance import Provenance
from airgap.strict_json import Fields, is_time

NAME: Final = "airgap-run.json"
SCHEMA: Final = "airgap/run/v1"

RECORD_FILE: Final = 256 * limits.MIB
"""A record: half a kilobyte for each text."""

_TEXTS: Final = RECORD_FILE // 256


@dataclass(frozen=True)
class Text:
    """A text that a run has written.

    Attributes:
        file: its name in the record's folder.
        format: by its name on the command line.
        sha256: of its bytes as they were written, hex; a person may have mended it since.
        recording: its path, from the record's folder.
        audio: SHA-256 of the recording's bytes, hex.
        milliseconds: length of the recording.
        damaged_packets: of the recording: what they held is missing from the text.
        made_by: id of the provenance.
        time: when it was written.
        attestation: name of the file with this host's signature; None where nobody asked.
    """

    file: str
    format: str
    sha256: str
    recording: str
    audio: str
    milliseconds: int
    damaged_packets: int
    made_by: str
    time: str
    attestation: str | None

    def to_json(self) -> dict[str, Any]:
        """The object."""
        return {
            "file": self.file,
            "format": self.format,
            "sha256": self.sha256,
            "recording": self.recording,
            "audio": self.audio,
            "milliseconds": self.milliseconds,
            "damaged_packets": self.damaged_packets,
            "made_by": self.made_by,
            "time": self.time,
            "attestation": self.attestation,
        }

    @classmethod
    def read(cls, fields: Fields) -> Text:
        """Take the object apart; defects go where `fields` collects them."""
        text = cls(
            file=fields.text("file", _is_file_name, "a file's name"),
            format=fields.text("format"),
            sha256=fields.text("sha256", is_sha256, "64 hex digits"),
            recording=fields.text("recording"),
            audio=fields.text("audio", is_sha256, "64 hex digits"),
            milliseconds=fields.integer("milliseconds"),
            damaged_packets=fields.integer("damaged_packets"),
            made_by=fields.text("made_by", is_sha256, "64 hex digits"),
            time=fields.text("time", is_time, "a time"),
            attestation=fields.optional_text("attestation", _is_file_name, "a file's name"),
        )
        fields.close()
        return text


@dataclass
class Record:
    """All texts of a folder, what made them, and what failed.

    `Record.parse(record.to_bytes())` is equal to `record`, but for provenances that no text names.

    Attributes:
        texts: by the names of their files.
        made_by: provenances by their ids; those that no text names are not written.
        failed: why a recording has no text, by its path from the record's folder.
    """

    texts: dict[str, Text] = field(default_factory=dict)
    made_by: dict[str, Provenance] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, text: Text, provenance: Provenance) -> None:
        """Note a text that was written; its recording has not failed any more."""
        self.texts[text.file] = text
        self.made_by[text.made_by] = provenance
        self.failed.pop(text.recording, None)

    def to_bytes(self) -> bytes:
        """The file, for people as well: sorted, indented."""
        named = {text.made_by for text in self.texts.values()}
        return strict_json.readable(
            {
                "schema": SCHEMA,
                "made_by": {
                    key: one.to_json() for key, one in self.made_by.items() if key in named
                },
                "texts": [self.texts[name].to_json() for name in sorted(self.texts)],
                "failed": self.failed,
            }
        )

    @classmethod
    def parse(cls, content: bytes, where: str) -> Record:
        """Read what `to_bytes` wrote.

        Args:
            content: the file, already bounded.
            where: its path, for the error.

        Raises:
            UsageError: it is anything else.
        """
        defects: list[str] = []
        try:
            fields = Fields(strict_json.parse(content), "", defects)
        except strict_json.JsonError as error:
            raise _unreadable(where, str(error)) from error
        fields.text("schema", SCHEMA.__eq__, SCHEMA)
        makers, failed = fields.inner("made_by"), fields.inner("failed")
        texts = [Text.read(one) for one in fields.objects("texts", _TEXTS)]
        record = cls(
            {text.file: text for text in texts},
            {key: Provenance.read(makers.inner(key)) for key in makers.keys()},  # noqa: SIM118 - not a dict
            {key: failed.text(key) for key in failed.keys()},  # noqa: SIM118 - not a dict
        )
        fields.close()
        defects += _contradictions(texts, record.made_by)
        if defects:
            raise _unreadable(where, "; ".join(sorted(defects)[: limits.NAMED]))
        return record


def _contradictions(texts: list[Text], made_by: Mapping[str, Provenance]) -> list[str]:
    names = {text.file for text in texts}
    twice = ["a file is named twice"] if len(names) < len(texts) else []
    wrong = [f"made_by.{key}: it is {one.id}" for key, one in made_by.items() if one.id != key]
    lacking = sorted({text.made_by for text in texts} - made_by.keys())
    return [*twice, *wrong, *(f"made_by: '{key}' is missing" for key in lacking)]


def _is_file_name(text: str) -> bool:
    return "/" not in text and text not in {"", ".", ".."}


def _unreadable(where: str, why: str) -> UsageError:
    return UsageError(
        f"'{where}' is no record of a run: {why}",
        hint="move it away; what lies there is then transcribed again, into another --out",
    )
