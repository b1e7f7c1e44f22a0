"""Where somebody speaks, by NeMo's frame classifiers: samples -> stretches of speech.

NeMo's diarizer runs only classifiers of whole windows; of a frame classifier (MarbleNet 2) it
takes the result. The probabilities become stretches by NeMo's own functions, and a long
recording is heard in blocks, so that memory stays flat.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from runtime.engine.audio import SAMPLE_RATE, Samples
from runtime.engine.hardware import Hardware
from runtime.engine.speakers.nemo_models import library, nemo_errors, restore, without_bars

FRAME_CLASS: Final = "EncDecFrameClassificationModel"

BLOCK: Final = 60
"""Seconds that are heard at once."""

CONTEXT: Final = 2
"""Seconds that are heard before and behind a block, and discarded: MarbleNet sees 1.4 s each way."""

POSTPROCESSING: Final = {
    "onset": 0.5,
    "offset": 0.3,
    "pad_onset": 0.2,
    "pad_offset": 0.2,
    "min_duration_on": 0.5,
    "min_duration_off": 0.5,
    "filter_speech_first": 1.0,
}
"""When speech begins and ends: probabilities, and seconds. What NVIDIA tuned for diarization
across domains (`diar_infer_general.yaml`); its values for the frame classifier are untuned."""

Stretch = tuple[float, float]
"""Start and end, in seconds."""


class FrameVad:
    """A loaded frame classifier.

    Attributes:
        step: seconds from one probability to the next.
    """

    def __init__(self, path: Path, hardware: Hardware) -> None:
        """Load it. Raises AirgapError as `restore` does."""
        self._model = restore(path, FRAME_CLASS, hardware)
        self._segmented = without_bars("nemo.collections.asr.parts.utils.vad_utils")
        silence = np.zeros(BLOCK * SAMPLE_RATE, np.float32)
        with nemo_errors(f"'{path}' does not work"):  # once, for what it compiles when first used
            self.step = round(BLOCK / len(self._heard(silence)), 3)
            self.speech(silence[:SAMPLE_RATE])

    def speech(self, samples: Samples) -> tuple[Stretch, ...]:
        """The stretches in which somebody speaks, in order, never overlapping."""
        with nemo_errors("voice detection by NeMo failed"):
            table = self._segmented.generate_vad_segment_table_per_tensor(
                self.probabilities(samples), {**POSTPROCESSING, "frame_length_in_sec": self.step}
            )
            duration = len(samples) / SAMPLE_RATE
            stretches = [(float(row[0]), min(float(row[1]), duration)) for row in table]
        return tuple((start, end) for start, end in stretches if start < end)

    def probabilities(self, samples: Samples) -> Any:
        """How likely it is that somebody speaks, a torch tensor with one number a `step`."""
        torch = library("torch")
        context, parts = CONTEXT * SAMPLE_RATE, []
        for start in range(0, len(samples), BLOCK * SAMPLE_RATE):
            before = min(start, context)
            heard = self._heard(samples[start - before : start + BLOCK * SAMPLE_RATE + context])
            skipped = round(before / SAMPLE_RATE / self.step)
            parts.append(heard[skipped : skipped + round(BLOCK / self.step)])
        return torch.cat(parts)

    def _heard(self, samples: Samples) -> Any:
        torch = library("torch")
        with torch.inference_mode():
            signal = torch.from_numpy(np.ascontiguousarray(samples, np.float32))[None]
            logits = self._model(
                input_signal=signal.to(self._model.device),
                input_signal_length=torch.tensor([len(samples)], device=self._model.device),
            )
            return torch.softmax(logits.float(), dim=-1)[0, :, 1].cpu()
