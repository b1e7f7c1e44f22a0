"""The scores of each segment of a transcript. Nothing here needs torch, but the models do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from runtime.engine.audio import Samples
from runtime.engine.emotion.stretches import stretches
from runtime.engine.transcript import Emotion, Segment, Transcript

if TYPE_CHECKING:
    from runtime.engine.emotion.model import EmotionModel


def emotions_of(
    models: Sequence[EmotionModel], samples: Samples, segments: Iterable[Segment]
) -> Iterator[Emotion]:
    """How each segment sounds, one after the other, in memory that does not grow.

    What is heard for a segment, `runtime.engine.emotion.stretches` says; of several stretches
    the scores are averaged, each by its length.

    Args:
        models: at least one; of two that score the same, the later one counts.
        samples: the whole recording, 16 kHz mono.
        segments: of its transcript.

    Raises:
        AirgapError: a model failed; there is no partial result.
    """
    for segment in segments:
        parts = stretches(segment, len(samples))
        emotion = Emotion()
        for model in models:
            scores = _averaged(model, [samples[part] for part in parts])
            if model.is_dimensional:
                emotion = replace(
                    emotion,
                    arousal=scores["arousal"],
                    dominance=scores["dominance"],
                    valence=scores["valence"],
                )
            else:
                best_first = sorted(scores.items(), key=lambda one: (-one[1], one[0]))
                emotion = replace(emotion, categories=tuple(best_first))
        yield emotion


def with_emotions(
    transcript: Transcript, models: Sequence[EmotionModel], samples: Samples
) -> Transcript:
    """The transcript, each segment with how it sounds.

    Raises:
        AirgapError: a model failed.
    """
    heard = emotions_of(models, samples, transcript.segments)
    segments = zip(transcript.segments, heard, strict=True)
    return replace(
        transcript, segments=tuple(replace(segment, emotion=one) for segment, one in segments)
    )


def _averaged(model: EmotionModel, parts: Sequence[Samples]) -> dict[str, float]:
    """The mean of each score over the parts, by their lengths."""
    scored = [model.scores(part) for part in parts]
    lengths = [len(part) for part in parts]
    return {
        label: float(np.average([one[label] for one in scored], weights=lengths))
        for label in model.labels
    }
