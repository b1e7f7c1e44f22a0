"""The spectrogram in blocks is faster-whisper's own."""

import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor

from runtime.engine.audio import Samples
from runtime.engine.features import BlockwiseFeatures

FLOAT32_STEP = 1.2e-07


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("length", [0, 1, 200, 16_000, 960_000, 960_037, 2_000_000])
def test_equals_the_spectrogram_made_at_once(mels: int, length: int, tone: Samples) -> None:
    loud = np.arange(2_000_000, dtype=np.float32) / 2_000_000
    samples = (np.resize(tone, 2_000_000) * loud)[:length]
    ours, theirs = BlockwiseFeatures(mels)(samples), FeatureExtractor(mels)(samples)
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    # BLAS may add up a block's last columns in another order.
    assert np.allclose(ours, theirs, rtol=0, atol=2 * FLOAT32_STEP)
