"""The engine from Python: a mounted model in three lines.

    import runtime

    model = runtime.open("demo")
    print(model.transcribe("meeting.m4a").text)

Who wants to know who speaks opens it with `diarization="auto"`, and asks with hints:

    for segment in model.transcribe("meeting.m4a", speakers=SpeakerHints()).segments:
        print(segment.speaker, segment.text)

The model's bytes are compared with the signed manifest as they are loaded, as by every verb.
The process is the caller's: it does not leave the network by itself. Who wants that calls
`runtime.offline.leave_network()` first, before anything that starts a thread is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from airgap import places
from airgap.errors import UsageError
from runtime import diarization as back_ends
from runtime import environments, generation, models
from runtime.engine.audio import Samples, decode, read_recording
from runtime.engine.hardware import find_hardware
from runtime.engine.options import TranscribeOptions
from runtime.engine.speakers import choosing
from runtime.engine.speakers.choosing import Diarization
from runtime.engine.speakers.conversation import Conversation
from runtime.engine.speakers.diarizer import Diarizer, SpeakerHints
from runtime.engine.transcript import Segment, Transcript, Turn
from runtime.engine.whisper import WhisperEngine
from runtime.generation import Hold
from runtime.verified_load import VerifiedLoad

Audio = str | os.PathLike[str] | BinaryIO
"""A path, or an open, seekable file."""


@dataclass(frozen=True)
class Model:
    """A mounted model, loaded. Several threads may use it at once.

    Attributes:
        name: its id in the bundle.
        bundle: the bundle's name and version.
        approval_code: as on the officer's paper.
    """

    name: str
    bundle: str
    approval_code: str
    _engine: WhisperEngine
    _hold: Hold
    _diarizer: Diarizer | None = None

    @property
    def languages(self) -> tuple[str, ...]:
        """ISO 639-1 codes that it knows, sorted."""
        return self._engine.languages

    def transcribe(
        self,
        audio: Audio,
        options: TranscribeOptions | None = None,
        *,
        speakers: SpeakerHints | None = None,
    ) -> Transcript:
        """What is said, whole.

        Args:
            audio: a recording of any usual kind.
            options: how; None for the defaults.
            speakers: what is known about them, `SpeakerHints()` where that is nothing; None where
                nobody wants to know who speaks.

        Raises:
            UsageError: it is no recording, or the model cannot do what is asked.
            AirgapError: the engine or the back end failed; there is no partial result, and no
                transcript without the speakers that were asked for.
        """
        if speakers is None:
            return self._engine.transcribe(_samples(audio), options)
        both = Conversation(self._engine, self._back_end())
        return both.transcribe(_samples(audio), options or TranscribeOptions(), speakers)

    def diarize(self, audio: Audio, speakers: SpeakerHints | None = None) -> tuple[Turn, ...]:
        """Who speaks when, by start; empty where nobody speaks.

        Args:
            audio: a recording of any usual kind.
            speakers: what is known about them.

        Raises:
            UsageError: it is no recording, it is too short, or a hint cannot be honoured.
            AirgapError: the back end failed.
        """
        hints = speakers or SpeakerHints()
        hints.check()
        return self._back_end().diarize(_samples(audio), hints)

    def _back_end(self) -> Diarizer:
        if self._diarizer is None:
            raise UsageError(
                f"'{self.name}' was opened without diarization, and is asked who speaks",
                hint='runtime.open(…, diarization="auto")',
            )
        return self._diarizer

    def segments(self, audio: Audio, options: TranscribeOptions | None = None) -> Iterator[Segment]:
        """The same, a segment at a time: taking one is what computes it.

        Raises:
            UsageError: it is no recording, or the model cannot do what the options ask.
            AirgapError: the engine failed; also from the iterator.
        """
        return self._engine.listen(_samples(audio), options or TranscribeOptions()).segments


def load(
    bundle: str | None = None,
    *,
    model: str | None = None,
    root: str | os.PathLike[str] | None = None,
    device: str = "auto",
    compute_type: str = "auto",
    workers: int = 1,
    verified_load: str = "buffer",
    diarization: str = "none",
) -> Model:
    """Load a model of a mounted bundle; `runtime.open` is this.

    Args:
        bundle: the bundle's name, where several are mounted.
        model: the model's id, where the bundle has several.
        root: the host's root; None as `airgap` finds it.
        device: `auto`, `cpu` or `cuda`.
        compute_type: `auto`, or an arithmetic of CTranslate2's.
        workers: transcriptions that compute at once, in threads of the caller's.
        verified_load: `buffer` or `path`, as `airgap transcribe --verified-load`.
        diarization: `none`, `auto`, `pyannote`, `nemo` or `sortformer`: what tells speakers apart.

    Raises:
        UsageError: nothing is mounted, there is no such model, or no such device; the bundle
            carries no such back end, or its library is not installed.
        DamagedError: a file is not the one that was signed.
        AirgapError: the engine cannot load it.
    """
    hardware = find_hardware(device, compute_type, workers=workers)
    place = places.isolated_root(Path(root) if root is not None else None)
    with generation.current(place, bundle) as mounted:
        artifact = mounted.artifact("asr", model)
        wish = Diarization(diarization)
        brings = partial(environments.what_brings, mounted)
        choice = (
            None if wish is Diarization.NONE else choosing.choose(mounted.manifest, wish, brings)
        )
        engine = models.load(mounted, artifact, hardware, VerifiedLoad(verified_load))
        diarizer = back_ends.load(mounted, choice, hardware) if choice else None
        title, code = mounted.statement.title, mounted.approval_code
        return Model(engine.name, title, code, engine, Hold(mounted), diarizer)


def _samples(audio: Audio) -> Samples:
    if isinstance(audio, str | os.PathLike):
        return read_recording(Path(audio)).samples
    return decode(audio, getattr(audio, "name", "recording")).samples
