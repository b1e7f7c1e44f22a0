"""Sortformer as a back end, streaming and not, on untrained models of the real class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airgap.errors import AirgapError, UsageError
from runtime.engine.hardware import Hardware
from runtime.engine.speakers import sortformer
from runtime.engine.speakers.diarizer import Diarizer, SpeakerHints
from runtime.engine.speakers.nemo_models import library

pytestmark = [pytest.mark.speakers, pytest.mark.heavy]

CPU = Hardware("cpu", "float32", 1)


@pytest.fixture(scope="module", params=["sortformer", "streaming"])
def loaded(request: pytest.FixtureRequest, models: Mapping[str, Path]) -> Diarizer:
    return sortformer.load({"diarization": models[request.param]}, CPU)


@pytest.fixture(scope="module")
def streaming(models: Mapping[str, Path]) -> Diarizer:
    return sortformer.load({"diarization": models["streaming"]}, CPU)


def test_turns_are_in_order_and_the_same_again(
    loaded: Diarizer, conversation: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    samples, _ = conversation
    turns = loaded.diarize(samples, SpeakerHints())
    assert turns
    assert turns == loaded.diarize(samples, SpeakerHints(at_most=4))
    assert [turn.start for turn in turns] == sorted(turn.start for turn in turns)
    assert all(type(turn.start) is float and 0 <= turn.start < turn.end <= 30 for turn in turns)
    assert loaded.most == 4
    assert capfd.readouterr() == ("", "")


def test_the_library_itself_hears_the_same(loaded: Any, conversation: Any) -> None:
    """By its own `diarize`, which is for whole recordings and has no private copy of samples."""
    samples, _ = conversation
    with library("torch").inference_mode():
        (lines,) = loaded._model.diarize(
            audio=samples.copy(), sample_rate=16_000, batch_size=1, num_workers=0, verbose=False
        )
    theirs = sorted(tuple(map(float, line.split()[:2])) for line in lines)
    ours = sorted((turn.start, turn.end) for turn in loaded.diarize(samples, SpeakerHints()))
    assert len(ours) == len(theirs)
    assert np.abs(np.array(ours) - np.array(theirs)).max() < 0.1


def test_blocks_give_the_spectrogram_of_the_whole(streaming: Any, conversation: Any) -> None:
    torch = library("torch")
    samples = np.tile(conversation[0], 5)[: 16_000 * 130]
    with torch.inference_mode():
        blocks = streaming._features(samples)
        signal = torch.from_numpy(samples)[None]
        whole, frames = streaming._model.process_signal(signal, torch.tensor([len(samples)]))
    assert blocks.shape[2] == int(frames[0])
    assert float((blocks - whole[:, :, : blocks.shape[2]]).abs().max()) < 1e-5


def test_short_recordings(loaded: Diarizer, conversation: Any) -> None:
    for length in (1, 100, 1_600):
        turns = loaded.diarize(conversation[0][:length], SpeakerHints())
        assert all(turn.end <= length / 16_000 for turn in turns)


@pytest.mark.parametrize(
    "hints", [SpeakerHints(number=2), SpeakerHints(at_least=2), SpeakerHints(at_most=3)]
)
def test_hints_are_refused(streaming: Diarizer, silence: Any, hints: SpeakerHints) -> None:
    with pytest.raises(UsageError, match="cannot be told how many speakers there are"):
        streaming.diarize(silence, hints)


def test_a_long_recording_needs_the_streaming_kind(models: Mapping[str, Path]) -> None:
    whole = sortformer.load({"diarization": models["sortformer"]}, CPU)
    with pytest.raises(UsageError, match="up to 12 minutes at once, found 13") as caught:
        whole.diarize(np.zeros(13 * 60 * 16_000, np.float32), SpeakerHints())
    assert "streaming" in str(caught.value.hint)


def test_a_model_of_another_class_is_named(models: Mapping[str, Path]) -> None:
    with pytest.raises(AirgapError, match="EncDecSpeakerLabelModel: expected Sortformer"):
        sortformer.load({"diarization": models["titanet"]}, CPU)
    with pytest.raises(AirgapError, match="'diarization'"):
        sortformer.load({"vad": models["windows"]}, CPU)
