"""What a generation's own model makes of a recording."""

from __future__ import annotations

from typing import BinaryIO

from airgap.console import Advance, quietly
from airgap.errors import AirgapError, UsageError
from runtime import models
from runtime.engine.audio import decode
from runtime.engine.hardware import find_hardware
from runtime.engine.options import TranscribeOptions
from runtime.generation import Generation
from runtime.verified_load import VerifiedLoad


def hear(one: Generation, recording: BinaryIO, name: str, advance: Advance = quietly) -> str:
    """The text of a recording, by the first model of the role asr.

    Args:
        one: the generation, served or not.
        recording: open for reading.
        name: of the recording, for errors.
        advance: told the bytes of the model that are loaded.

    Raises:
        DamagedError: the model is not what was signed.
        UsageError: the bundle has no such model, or the recording cannot be decoded.
        AirgapError: it does not load, or hears nothing.
    """
    artifact = next((found for found in one.manifest.artifacts if found.role == "asr"), None)
    if artifact is None:
        raise UsageError(f"'{one.manifest.title}' carries no model of the role asr")
    hardware = find_hardware("auto", "auto")
    engine = models.load(one, artifact, hardware, VerifiedLoad.PATH, advance)
    text = engine.transcribe(decode(recording, name).samples, TranscribeOptions()).text.strip()
    if not text:
        raise AirgapError(
            f"'{artifact.id}' of '{one.manifest.title}' heard nothing in '{name}'",
            hint="try a recording with clear speech: --sample FILE",
        )
    return text
