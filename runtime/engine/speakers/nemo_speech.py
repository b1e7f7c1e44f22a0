"""Where somebody speaks, by NeMo's classifiers: samples -> stretches of speech.

There are two kinds: of frames (MarbleNet 2, which NeMo's diarizer does not run) and of windows
(MarbleNet 1, which it does). Both are heard here, in blocks, so that memory stays flat; their
probabilities become stretches by NeMo's own functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from runtime.engine.audio import SAMPLE_RATE, Samples
from runtime.engine.hardware import Hardware
from runtime.engine.speakers.nemo_models import (
    check_class,
    library,
    nemo_errors,
    restore,
    without_bars,
)

FRAME_CLASS: Final = "EncDecFrameClassificationModel"
WINDOW_CLASS: Final = "EncDecClassificationModel"

BLOCK: Final = 60
"""Seconds that are heard at once."""

CONTEXT: Final = 2
"""Seconds that are heard on either side of a block, and discarded: MarbleNet 2 sees 1.4 of them."""

WINDOW: Final = int(0.64 * SAMPLE_RATE)
"""Samples of a window: 0.63 s, as NVIDIA has it, made a multiple of the shift."""

SHIFT: Final = int(0.08 * SAMPLE_RATE)
"""Samples from one window to the next."""

WHEN: Final = {
    "onset": 0.5,
    "offset": 0.3,
    "pad_onset": 0.2,
    "pad_offset": 0.2,
    "min_duration_on": 0.5,
    "min_duration_off": 0.5,
    "filter_speech_first": 1.0,
}
"""When speech begins and ends: probabilities, and seconds. What NVIDIA tuned for diarization
across domains (`diar_infer_general.yaml`); its values for frame classifiers are untuned."""

Stretch = tuple[float, float]
"""Start and end, in seconds."""


class SpeechDetector:
    """A loaded classifier of either kind.

    Attributes:
        step: seconds from one probability to the next.
    """

    def __init__(self, path: Path, hardware: Hardware) -> None:
        """Load it, and run it once. Raises AirgapError as `restore` does."""
        kind = check_class(path, (FRAME_CLASS, WINDOW_CLASS))
        self._by_frames = kind == FRAME_CLASS
        self._model = restore(path, kind, hardware)
        self._vad = without_bars("nemo.collections.asr.parts.utils.vad_utils")
        silence = np.zeros(BLOCK * SAMPLE_RATE, np.float32)
        with nemo_errors(f"'{path}' does not work"):
            self.step = round(BLOCK / len(self._heard(silence)), 3)
        self.speech(silence)

    def speech(self, samples: Samples) -> tuple[Stretch, ...]:
        """The stretches in which somebody speaks, in order, never overlapping."""
        with nemo_errors("voice detection by NeMo failed"):
            table = self._vad.generate_vad_segment_table_per_tensor(
                self.probabilities(samples), {**WHEN, "frame_length_in_sec": self.step}
            )
            duration = len(samples) / SAMPLE_RATE
            stretches = [(float(row[0]), min(float(row[1]), duration)) for row in table]
        return tuple((start, end) for start, end in stretches if start < end)

    def probabilities(self, samples: Samples) -> Any:
        """How likely it is that somebody speaks, a torch tensor with one number a `step`."""
        context, parts = CONTEXT * SAMPLE_RATE, []
        for start in range(0, len(samples), BLOCK * SAMPLE_RATE):
            before = min(start, context)
            heard = self._heard(samples[start - before : start + BLOCK * SAMPLE_RATE + context])
            skipped = round(before / SAMPLE_RATE / self.step)
            parts.append(heard[skipped : skipped + round(BLOCK / self.step)])
        return library("torch").cat(parts)

    def _heard(self, samples: Samples) -> Any:
        torch = library("torch")
        signal = torch.from_numpy(np.ascontiguousarray(samples, np.float32))[None]
        if not self._by_frames:  # each window around the moment that it speaks for
            padded = torch.nn.functional.pad(signal, (WINDOW // 2, WINDOW // 2))
            signal = padded[0].unfold(0, WINDOW, SHIFT)
            signal = signal[: max(1, len(signal) - 1)]  # the last begins the next block
        with torch.inference_mode():
            lengths = torch.full((len(signal),), signal.shape[1], device=self._model.device)
            logits = self._model(
                input_signal=signal.to(self._model.device), input_signal_length=lengths
            )
            speech = torch.softmax(logits.float(), dim=-1)[..., 1].cpu()
        return speech[0] if self._by_frames else speech
