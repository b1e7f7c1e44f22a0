"""What a generation's own models make of a recording: its words, and who speaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from airgap.errors import AirgapError
from airgap.manifest import Artifact
from runtime import diarization, models, promises
from runtime.engine.audio import Samples, decode
from runtime.engine.hardware import Hardware, find_hardware
from runtime.engine.options import TranscribeOptions
from runtime.engine.speakers.choosing import Choice, Diarization
from runtime.engine.speakers.diarizer import SpeakerHints
from runtime.generation import Generation
from runtime.verified_load import VerifiedLoad


@dataclass(frozen=True)
class Heard:
    """What was made of it.

    Attributes:
        text: by the first model of the role asr.
        speakers: how many were told apart; None where the bundle promises nothing of them.
        by: the back end that told them apart.
    """

    text: str
    speakers: int | None
    by: str | None


def hear(one: Generation, recording: BinaryIO, name: str) -> Heard:
    """Ask everything that a server of this bundle would load, one after the other.

    Args:
        one: the generation, served or not.
        recording: open for reading.
        name: of the recording, for errors.

    Raises:
        DamagedError: a model is not what was signed.
        UsageError: the bundle has no model of the role asr; it promises speakers, and carries no
            back end for them, or none that is installed; or the recording cannot be decoded.
        AirgapError: a model does not load, or hears nothing.
    """
    transcribers = [found.id for found in one.manifest.artifacts if found.role == "asr"]
    promised = promises.kept(one, transcribers, Diarization.AUTO, emotion=False)
    hardware, samples = find_hardware(), decode(recording, name).samples
    texts = [_words(one, model, hardware, samples) for model in promised.transcribers]
    choice = promised.speakers
    if choice is None:
        return Heard(texts[0], None, None)
    speakers = _speakers(one, choice, hardware, samples)
    return Heard(texts[0], speakers, choice.back_end.name)


def _words(one: Generation, model: Artifact, hardware: Hardware, samples: Samples) -> str:
    engine = models.load(one, model, hardware, VerifiedLoad.PATH)
    text = engine.transcribe(samples, TranscribeOptions()).text.strip()
    if not text:
        raise _deaf(one, f"'{model.id}'", "nothing")
    return text


def _speakers(one: Generation, choice: Choice, hardware: Hardware, samples: Samples) -> int:
    turns = diarization.load(one, choice, hardware).diarize(samples, SpeakerHints())
    if not turns:
        raise _deaf(one, choice.back_end.name, "nobody")
    return len({turn.speaker for turn in turns})


def _deaf(one: Generation, by: str, heard: str) -> AirgapError:
    return AirgapError(
        f"{by} of '{one.manifest.title}' heard {heard} in the recording",
        hint="try a recording with clear speech: --sample FILE",
    )
