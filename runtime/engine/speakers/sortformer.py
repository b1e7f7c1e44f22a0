"""Who speaks, by NeMo's Sortformer: one model that hears up to four speakers, also at once.

A streaming model (version 2) hears a recording of any length in pieces, and remembers the voices;
one of version 1 compares every moment with every other, and takes minutes only.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from airgap.errors import UsageError
from runtime.engine.audio import SAMPLE_RATE, Samples
from runtime.engine.hardware import Hardware
from runtime.engine.speakers.diarizer import Diarizer, SpeakerHints
from runtime.engine.speakers.nemo_models import (
    library,
    nemo_errors,
    nemo_file,
    restore,
    without_bars,
)
from runtime.engine.speakers.turns import numbered
from runtime.engine.transcript import Turn

CLASS: Final = "SortformerEncLabelModel"

LONGEST_WHOLE: Final = 12 * 60
"""Seconds that a model takes which does not stream. Its memory grows with the square: NVIDIA gives
12 minutes for 48 GB."""

BLOCK: Final = 60
"""Seconds of which a streaming model's spectrogram is made at once."""

HOP: Final = SAMPLE_RATE // 100
"""Samples from one frame of a spectrogram to the next: 10 ms."""

MARGIN: Final = 4
"""Frames that are made on either side of a block, and discarded: a window reaches two."""


def load(files: Mapping[str, Path], hardware: Hardware) -> Diarizer:
    """Load the back end, and run it once: what it compiles on first use takes seconds.

    Args:
        files: the absolute folder of the role `diarization`, which nobody else can write; it
            holds one `.nemo`, which is not read after loading.
        hardware: what it computes on.

    Raises:
        AirgapError: the file is missing or of another class, or NeMo is not installed or cannot
            load it.
    """
    path = nemo_file(files, "diarization")
    model = restore(path, CLASS, hardware)
    without_bars("nemo.collections.asr.models.sortformer_diar_models")
    with nemo_errors(f"'{path}' does not work"):
        model.preprocessor.featurizer.pad_to = 0  # as the library does before it diarizes
        diarizer = SortformerDiarizer(model, most=int(model.sortformer_modules.n_spk))
    diarizer.diarize(np.zeros(2 * SAMPLE_RATE, np.float32), SpeakerHints())
    return diarizer


@dataclass
class SortformerDiarizer:
    """The loaded back end. Recordings wait for each other, which bounds their memory."""

    _model: Any
    most: int | None
    name: str = "sortformer"
    _turn: threading.Lock = field(default_factory=threading.Lock)

    @property
    def streams(self) -> bool:
        """Whether a recording may be of any length."""
        return bool(self._model.streaming_mode)

    def diarize(self, samples: Samples, hints: SpeakerHints) -> tuple[Turn, ...]:
        """Who speaks when; see Diarizer."""
        self._check(samples, hints)
        padded = np.pad(samples, (0, max(0, SAMPLE_RATE - len(samples))))
        torch = library("torch")
        with self._turn, nemo_errors("diarization by Sortformer failed"), torch.inference_mode():
            heard = list(self._stretches(self._probabilities(padded)))
        return numbered(heard, len(samples) / SAMPLE_RATE)

    def _check(self, samples: Samples, hints: SpeakerHints) -> None:
        """Refuse what the model cannot do: it takes no hints, and has its own bound."""
        hints.check()
        most = self.most or 0
        if hints.number is not None or (hints.at_least or 1) > 1 or (hints.at_most or most) < most:
            raise UsageError(
                f"Sortformer cannot be told how many speakers there are; it hears up to {most}",
                hint="give no number, or use a bundle with another diarization back end",
            )
        if not self.streams and len(samples) > LONGEST_WHOLE * SAMPLE_RATE:
            raise UsageError(
                f"this Sortformer takes up to {LONGEST_WHOLE // 60} minutes at once, found "
                f"{len(samples) / SAMPLE_RATE / 60:.0f}: it is not of the streaming kind",
                hint="cut the recording, or use a bundle with diar_streaming_sortformer_4spk-v2",
            )

    def _probabilities(self, samples: Samples) -> Any:
        """How likely it is that each speaker speaks: a tensor of shape (frames, speakers)."""
        torch = library("torch")
        if not self.streams:
            length = torch.tensor([len(samples)], device=self._model.device)
            return self._model(audio_signal=self._signal(samples), audio_signal_length=length)[0]
        features = self._features(samples)
        length = torch.tensor([features.shape[2]], device=self._model.device)
        return self._model.forward_streaming(features, length)[0]

    def _features(self, samples: Samples) -> Any:
        """The spectrogram, made in blocks: at once it takes some gigabytes an hour in passing."""
        torch = library("torch")
        parts, margin = [], MARGIN * HOP
        for start in range(0, len(samples), BLOCK * SAMPLE_RATE):
            before = min(start, margin)
            piece = samples[start - before : start + BLOCK * SAMPLE_RATE + margin]
            length = torch.tensor([len(piece)], device=self._model.device)
            made, frames = self._model.process_signal(self._signal(piece), length)
            skipped = before // HOP
            end = min(int(frames[0]), skipped + BLOCK * SAMPLE_RATE // HOP)
            parts.append(made[:, :, skipped:end])
        return torch.cat(parts, dim=2)

    def _signal(self, samples: Samples) -> Any:
        torch = library("torch")
        signal = torch.from_numpy(np.ascontiguousarray(samples, np.float32))
        return signal[None].to(self._model.device)

    def _stretches(self, probabilities: Any) -> Iterator[Turn]:
        """Turns by the library's own post-processing and its defaults."""
        vad = without_bars("nemo.collections.asr.parts.utils.vad_utils")
        frames = int(self._model.encoder.subsampling_factor)
        for speaker in range(probabilities.shape[1]):
            times = vad.ts_vad_post_processing(
                probabilities[:, speaker].cpu(),
                cfg_vad_params=vad.load_postprocessing_from_yaml(None),
                unit_10ms_frame_count=frames,
                bypass_postprocessing=False,
            )
            yield from (Turn(start, end, str(speaker)) for start, end in times.tolist())
