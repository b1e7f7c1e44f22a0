"""Real weights on real speech: two people are told apart, for turns and for words."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.engine.audio import read_recording
from runtime.engine.hardware import Hardware
from runtime.engine.speakers import pyannote
from runtime.engine.speakers.diarizer import Diarizer, SpeakerHints

pytestmark = [pytest.mark.speakers, pytest.mark.heavy]


@pytest.fixture(scope="module")
def loaded(borrowed: Path) -> Diarizer:
    return pyannote.load({"diarization": borrowed}, Hardware("cpu", "float32", 2))


@pytest.fixture(scope="module")
def samples(two_people: tuple[Path, Path]) -> Any:
    return read_recording(two_people[0]).samples


def error_rate(turns: Any, rttm: Path, **options: Any) -> float:
    """pyannote.metrics' diarization error rate, over the thirty seconds."""
    from pyannote.core import Annotation, Segment, Timeline

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyannote.metrics.diarization import DiarizationErrorRate

    said, heard = Annotation(), Annotation()
    for line in rttm.read_text().splitlines():
        words = line.split()
        start, length, who = float(words[3]), float(words[4]), words[7]
        said[Segment(start, start + length), len(said)] = who
    for number, turn in enumerate(turns):
        heard[Segment(turn.start, turn.end), number] = turn.speaker
    rate = DiarizationErrorRate(**options)
    return float(rate(said, heard, uem=Timeline([Segment(0, 30)])))


def test_two_people_are_told_apart(
    loaded: Diarizer, samples: Any, two_people: tuple[Path, Path]
) -> None:
    turns = loaded.diarize(samples, SpeakerHints(number=2))
    assert {turn.speaker for turn in turns} == {"SPEAKER_00", "SPEAKER_01"}
    rttm = two_people[1]
    assert error_rate(turns, rttm, collar=0.5, skip_overlap=True) < 0.06
    assert error_rate(turns, rttm) < 0.25


def test_a_longer_recording_keeps_its_speakers(loaded: Diarizer, samples: Any) -> None:
    """The same half minute three times over: each person keeps the same label throughout."""
    once = loaded.diarize(samples, SpeakerHints(number=2))
    thrice = loaded.diarize(np.tile(samples, 3), SpeakerHints(number=2))
    for again in range(3):
        middle = [turn for turn in once if turn.end - turn.start > 1]
        for turn in middle:
            at = (turn.start + turn.end) / 2 + again * 30
            assert turn.speaker in {one.speaker for one in thrice if one.start < at < one.end}


def test_noise_is_nobody(loaded: Diarizer) -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, 48_000).astype(np.float32)
    assert loaded.diarize(noise, SpeakerHints()) == ()
