"""Which samples are heard for a segment: not too few to judge, nor so many that memory grows."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from runtime.engine.audio import SAMPLE_RATE
from runtime.engine.transcript import Segment

SHORTEST: Final = 1 * SAMPLE_RATE
"""Samples. A single "yes" is heard with what is around it; under 25 ms the network fails."""

LONGEST: Final = 10 * SAMPLE_RATE
"""Samples at once. The models learnt from utterances of 3 to 11 seconds, and the memory of the
network's attention grows with the square of the length."""


def stretches(segment: Segment, total: int) -> tuple[slice, ...]:
    """The stretches to be heard for a segment, in order, without gap or overlap.

    A segment under `SHORTEST` is widened on both sides, within the recording; one above `LONGEST`
    is cut into equal parts.

    Args:
        segment: its times may lie beyond the recording's end.
        total: samples of the recording, at least 1.

    Returns:
        Slices of the samples; one that is under `SHORTEST` is the whole recording.
    """
    first = min(round(segment.start * SAMPLE_RATE), total)
    last = min(round(segment.end * SAMPLE_RATE), total)
    if last - first < SHORTEST:
        first = max(0, min((first + last - SHORTEST) // 2, total - SHORTEST))
        last = min(first + SHORTEST, total)
    parts = -(-(last - first) // LONGEST)
    borders = [first + (last - first) * part // parts for part in range(parts + 1)]
    return tuple(slice(*pair) for pair in pairwise(borders))
