"""An open recording -> its transcript, which says of which bytes: what was hashed is heard."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from airgap.console import console
from airgap.errors import AirgapError
from runtime.engine import audio
from runtime.engine.transcript import Transcript
from runtime.engine.whisper import Heard
from runtime.recordings import sha256_of
from runtime.transcriber import Transcriber


@dataclass(frozen=True)
class Recording:
    """An open recording, hashed.

    Attributes:
        path: its file.
        stream: the file, open.
        sha256: of its bytes, hex.
        state: what changes whenever somebody writes into the file, from before it was hashed.
    """

    path: Path
    stream: BinaryIO
    sha256: str
    state: tuple[int, int, int]

    @classmethod
    def hashed(cls, path: Path, stream: BinaryIO) -> Recording:
        """Read it once. Raises AirgapError where the disk fails."""
        state = _state(stream)
        return cls(path, stream, sha256_of(stream, str(path)), state)

    def transcribed(self, transcriber: Transcriber, heard: Heard) -> tuple[Transcript, int]:
        """The transcript, with its origin, and how many packets of the recording did not decode.

        Args:
            transcriber: what hears it.
            heard: told how far it is, in seconds of the recording.

        Raises:
            AirgapError: it cannot be decoded, or was changed since it was hashed.
        """
        self.stream.seek(0)
        recording = audio.decode(self.stream, str(self.path))
        if _state(self.stream) != self.state:
            raise AirgapError(
                f"'{self.path}' was changed while it was read",
                hint="run it again when it is complete",
            )
        if damage := recording.damage(str(self.path)):
            console.warn(damage)
        transcript = transcriber.transcribe(recording.samples, heard)
        origin = transcriber.provenance.beside(self.sha256)
        transcript = replace(transcript, recording=self.path.stem, origin=origin)
        return transcript, recording.damaged_packets


def _state(stream: BinaryIO) -> tuple[int, int, int]:
    found = os.fstat(stream.fileno())
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns
