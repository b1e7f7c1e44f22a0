"""Whisper's log-Mel spectrogram, made in blocks: memory stays flat however long the recording.

faster-whisper's own makes each step for the whole recording at once and peaks at 1.7 GB an
hour. Each frame is computed alone, so the result is the same; only the loudest value, which
the scale hangs on, needs all of it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor

from runtime.engine.audio import Samples

_BLOCK: Final = 6_000
"""Frames of 10 ms at once: a minute, some 30 MB of passing memory."""


class BlockwiseFeatures(FeatureExtractor):  # type: ignore[misc]  # faster-whisper has no types
    """A drop-in for `WhisperModel.feature_extractor`."""

    def __call__(
        self,
        waveform: Samples,
        padding: int = 160,
        chunk_length: None = None,  # noqa: ARG002 - faster-whisper passes it, always None here
    ) -> Samples:
        """The spectrogram of a recording.

        Args:
            waveform: 16 kHz mono samples.
            padding: silent samples added at the end.
            chunk_length: None; the length of a window is the model's own.

        Returns:
            Array of shape (mel bands, frames of 10 ms), scaled as Whisper was trained on.
        """
        half = self.n_fft // 2
        padded = np.pad(np.pad(waveform, (0, padding)), half, mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.n_fft)[:: self.hop_length]
        hann = np.hanning(self.n_fft + 1)[:-1].astype(np.float32)
        count = len(windows) - 1  # Whisper leaves out the last
        log_mel = np.empty((len(self.mel_filters), count), np.float32)
        for start in range(0, count, _BLOCK):
            block = slice(start, min(start + _BLOCK, count))
            spectrum = np.fft.rfft(windows[block] * hann).astype(np.complex64, copy=False)
            log_mel[:, block] = self.mel_filters @ (np.abs(spectrum) ** 2).T
        np.log10(np.maximum(log_mel, 1e-10, out=log_mel), out=log_mel)
        np.maximum(log_mel, log_mel.max() - 8.0, out=log_mel)
        log_mel += 4.0
        log_mel /= 4.0
        return log_mel
