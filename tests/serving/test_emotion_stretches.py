"""What is heard for a segment: laws that hold for any segment of any recording."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from runtime.engine.emotion.stretches import LONGEST, SHORTEST, stretches
from runtime.engine.transcript import Segment

SECONDS = st.floats(0, 400, allow_nan=False)


def segment(start: float, end: float) -> Segment:
    return Segment(1, 0, start, end, " Well.", (), (), -0.1, 1.0, 0.0, 0.0)


@given(start=SECONDS, length=SECONDS, total=st.integers(1, 6_400_000))
@example(start=9.99, length=0.0, total=160_000)
@example(start=400.0, length=400.0, total=1)
def test_stretches_are_bounded_whole_and_inside(start: float, length: float, total: int) -> None:
    parts = stretches(segment(start, start + length), total)
    assert parts
    assert parts[0].start >= 0
    assert parts[-1].stop <= total
    for part, after in pairwise(parts):
        assert part.stop == after.start
    for part in parts:
        assert min(SHORTEST, total) <= part.stop - part.start <= LONGEST
    first, last = min(round(start * 16_000), total), min(round((start + length) * 16_000), total)
    assert parts[0].start <= first
    assert parts[-1].stop >= last
    if last - first >= SHORTEST:
        assert (parts[0].start, parts[-1].stop) == (first, last)


def test_a_word_is_heard_with_what_is_around_it() -> None:
    assert stretches(segment(5.0, 5.2), 160_000) == (slice(73_600, 89_600),)
    assert stretches(segment(0.0, 0.2), 160_000) == (slice(0, 16_000),)
    assert stretches(segment(9.9, 10.0), 160_000) == (slice(144_000, 160_000),)


def test_a_long_segment_is_heard_in_equal_parts() -> None:
    parts = stretches(segment(0.0, 25.0), 480_000)
    assert [part.stop - part.start for part in parts] == [133_333, 133_333, 133_334]
