"""The engine from Python: a mounted model in three lines.

    import runtime

    model = runtime.open("demo")
    print(model.transcribe("meeting.m4a").text)

The model's bytes are compared with the signed manifest as they are loaded, as by every verb.
The process is the caller's: it does not leave the network by itself. Who wants that calls
`runtime.offline.leave_network()` first, before anything that starts a thread is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from airgap import places
from runtime import generation, models
from runtime.engine.audio import Samples, decode, read_recording
from runtime.engine.hardware import find_hardware
from runtime.engine.options import TranscribeOptions
from runtime.engine.transcript import Segment, Transcript
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

    @property
    def languages(self) -> tuple[str, ...]:
        """ISO 639-1 codes that it knows, sorted."""
        return self._engine.languages

    def transcribe(self, audio: Audio, options: TranscribeOptions | None = None) -> Transcript:
        """What is said, whole.

        Args:
            audio: a recording of any usual kind.
            options: how; None for the defaults.

        Raises:
            UsageError: it is no recording, or the model cannot do what the options ask.
            AirgapError: the engine failed; there is no partial result.
        """
        return self._engine.transcribe(_samples(audio), options)

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

    Raises:
        UsageError: nothing is mounted, there is no such model, or no such device.
        DamagedError: a file is not the one that was signed.
        AirgapError: the engine cannot load it.
    """
    hardware = find_hardware(device, compute_type, workers=workers)
    place = places.isolated_root(Path(root) if root is not None else None)
    with generation.current(place, bundle) as mounted:
        artifact = mounted.artifact("asr", model)
        engine = models.load(mounted, artifact, hardware, VerifiedLoad(verified_load))
        return Model(
            engine.name, mounted.statement.title, mounted.approval_code, engine, Hold(mounted)
        )


def _samples(audio: Audio) -> Samples:
    if isinstance(audio, str | os.PathLike):
        return read_recording(Path(audio)).samples
    return decode(audio, getattr(audio, "name", "recording")).samples
