"""Everything of a mount that a run of `airgap transcribe` needs, loaded: recordings -> transcripts.

What is loaded, and what its licences forbid, is told as it happens.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from airgap.console import console
from airgap.provenance import Provenance, Work
from runtime import diarization, emotion_models, environments, models
from runtime.engine.audio import Samples
from runtime.engine.emotion.segments import with_emotions
from runtime.engine.hardware import find_hardware
from runtime.engine.options import TranscribeOptions, check_options
from runtime.engine.speakers import choosing
from runtime.engine.speakers.choosing import Choice, Diarization
from runtime.engine.speakers.conversation import Conversation
from runtime.engine.speakers.diarizer import Diarizer, SpeakerHints
from runtime.engine.transcript import Transcript, Turn
from runtime.engine.whisper import Heard, WhisperEngine, unwatched
from runtime.generation import Generation
from runtime.origin import Origin
from runtime.verified_load import VerifiedLoad

if TYPE_CHECKING:
    from runtime.engine.emotion.model import EmotionModel


@dataclass(frozen=True)
class Wish:
    """What a run asks for, of every recording. Fields as the options of `airgap transcribe`.

    Attributes:
        workers: recordings that are computed at once.
        diarization: the back end; None where nobody asks who speaks.
        hints: what is known about the speakers.
    """

    options: TranscribeOptions
    model: str | None = None
    device: str = "auto"
    compute_type: str = "auto"
    workers: int = 1
    verified_load: VerifiedLoad = VerifiedLoad.BUFFER
    diarization: Diarization | None = None
    hints: SpeakerHints = field(default_factory=SpeakerHints)
    emotion: bool = False


@dataclass(frozen=True)
class Transcriber:
    """A wish with the models that fulfil it. Several threads may use it at once.

    Attributes:
        provenance: of every transcript that it makes.
    """

    wish: Wish
    provenance: Provenance
    _engine: WhisperEngine
    _diarizer: Diarizer | None
    _emotions: tuple[EmotionModel, ...]

    @staticmethod
    def work(mounted: Generation, wish: Wish) -> Work:
        """What would make every transcript, before anything is loaded.

        Raises:
            UsageError: the bundle has no such model, or this host not its library.
        """
        choice = _choice(mounted, wish)
        emotions = emotion_models.carried(mounted) if wish.emotion else ()
        return Origin.of(mounted, choice).work(
            mounted.artifact("asr", wish.model).id,
            wish.options,
            wish.hints if choice else None,
            [one.id for one in emotions],
        )

    @classmethod
    def load(cls, mounted: Generation, root: Path, wish: Wish) -> Transcriber:
        """Load what is wished for, from bytes that were signed, and note it in the audit log.

        Raises:
            UsageError: the bundle has no such model, or that cannot do what is asked.
            DamagedError: a file is not the one that was signed.
            AirgapError: a library cannot load one of them.
        """
        choice = _choice(mounted, wish)
        engine = _load_engine(mounted, wish)
        check_options(wish.options, engine.name, engine.languages)
        _record(mounted, root, engine.name)
        diarizer = _load_diarizer(mounted, root, choice, engine) if choice else None
        emotions = _load_emotions(mounted, root, engine) if wish.emotion else ()
        provenance = Origin.of(mounted, choice).provenance(
            engine.name,
            engine.hardware,
            wish.options,
            wish.hints if choice else None,
            [one.name for one in emotions],
        )
        return cls(wish, provenance, engine, diarizer, emotions)

    def transcribe(self, samples: Samples, heard: Heard = unwatched) -> Transcript:
        """What was said, whole, with who said it and how it sounds where that is wished for.

        Args:
            samples: 16 kHz mono float32.
            heard: told how far it is, in seconds of the recording.

        Raises:
            UsageError: a wish cannot be fulfilled for this recording.
            AirgapError: a model failed; there is no partial result.
        """
        options = self.wish.options
        if self._diarizer is None:
            transcript = self._engine.transcribe(samples, options, heard)
        else:
            both = Conversation(self._engine, self._diarizer)
            transcript = both.transcribe(samples, options, self.wish.hints, heard)
        return with_emotions(transcript, self._emotions, samples) if self._emotions else transcript


class _OneAtATime:
    """A back end that several threads may ask; its libraries were not made for that."""

    def __init__(self, diarizer: Diarizer) -> None:
        self.name, self.most = diarizer.name, diarizer.most
        self._diarizer, self._turn = diarizer, threading.Lock()

    def diarize(self, samples: Samples, hints: SpeakerHints) -> tuple[Turn, ...]:
        with self._turn:
            return self._diarizer.diarize(samples, hints)


def _choice(mounted: Generation, wish: Wish) -> Choice | None:
    asked = wish.diarization
    brings = partial(environments.what_brings, mounted)
    return choosing.choose(mounted.manifest, asked, brings) if asked else None


def _load_engine(mounted: Generation, wish: Wish) -> WhisperEngine:
    artifact = mounted.artifact("asr", wish.model)
    hardware = find_hardware(wish.device, wish.compute_type, workers=wish.workers)
    size = sum(file.size for file in mounted.manifest.files_of(artifact))
    with console.progress("load", size) as bar:
        engine = models.load(mounted, artifact, hardware, wish.verified_load, bar.advance)
    console.say(models.announced(engine, mounted))
    return engine


def _load_diarizer(
    mounted: Generation, root: Path, choice: Choice, engine: WhisperEngine
) -> Diarizer:
    size = sum(file.size for one in choice.artifacts for file in mounted.manifest.files_of(one))
    with console.progress("load", size) as bar:
        diarizer = diarization.load(mounted, choice, engine.hardware, bar.advance)
    console.say(diarization.announced(choice, mounted))
    _record(mounted, root, *(artifact.id for artifact in choice.artifacts))
    return _OneAtATime(diarizer)


def _load_emotions(
    mounted: Generation, root: Path, engine: WhisperEngine
) -> tuple[EmotionModel, ...]:
    with console.progress("load", emotion_models.size(mounted)) as bar:
        emotions = emotion_models.load(mounted, engine.hardware, bar.advance)
    for one in emotions:
        console.say(models.announced(one, mounted))
    for warning in emotion_models.licence_warnings(mounted):
        console.warn(warning)
    _record(mounted, root, *(one.name for one in emotions))
    return emotions


def _record(mounted: Generation, root: Path, *names: str) -> None:
    """Note in the audit log which models answer, or say why not."""
    for name in names:
        if unrecorded := models.record(name, mounted, root):
            console.warn(unrecorded)
