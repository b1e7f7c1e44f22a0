"""Turns onto words: exact examples of every rule, and properties of whatever comes."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.engine.speakers.merging import NEAREST, Speakers, with_speakers
from runtime.engine.speakers.turns import numbered, rttm
from runtime.engine.transcript import Segment, Transcript, Turn, Word

A, B, C = "SPEAKER_00", "SPEAKER_01", "SPEAKER_02"


def segment(*words: Word, start: float | None = None, end: float | None = None) -> Segment:
    return Segment(
        id=7,
        seek=0,
        start=words[0].start if start is None else start,
        end=words[-1].end if end is None else end,
        text="".join(word.text for word in words),
        words=words,
        tokens=(1, 2, 3),
        avg_logprob=-0.25,
        compression_ratio=1.5,
        no_speech_prob=0.01,
        temperature=0.0,
    )


def transcript(*segments: Segment) -> Transcript:
    return Transcript("tiny.en", "transcribe", "en", 1.0, 100.0, segments)


def word(start: float, end: float, text: str = " x") -> Word:
    return Word(start, end, text, 0.9)


def labels(words: tuple[Word, ...], *turns: Turn) -> list[str | None]:
    """Who says each word of one segment."""
    merged = with_speakers(transcript(segment(*words)), turns)
    return [one.speaker for part in merged.segments for one in part.words]


def test_a_word_is_whose_turn_covers_most_of_it() -> None:
    turns = (Turn(0, 1.2, A), Turn(1.2, 3, B))
    assert labels((word(0, 1), word(1, 1.3), word(1, 1.5), word(2, 3)), *turns) == [A, A, B, B]


def test_several_short_turns_of_one_speaker_count_together() -> None:
    turns = (Turn(0, 0.3, A), Turn(0.3, 0.7, B), Turn(0.7, 1, A))
    assert labels((word(0, 1),), *turns) == [A]


def test_a_fast_turn_is_kept_and_splits_the_segment() -> None:
    turns = (Turn(0, 2, A), Turn(2, 2.2, B), Turn(2.2, 4, A))
    words = (word(0, 2, " Shall we"), word(2, 2.2, " Yes"), word(2.2, 4, " then"))
    merged = with_speakers(transcript(segment(*words, start=-0.5, end=5)), turns)
    assert [(one.id, one.start, one.end, one.text, one.speaker) for one in merged.segments] == [
        (1, -0.5, 2, " Shall we", A),
        (2, 2, 2.2, " Yes", B),
        (3, 2.2, 5, " then", A),
    ]
    assert [one.tokens for one in merged.segments] == [(), (), ()]
    assert merged.text == "Shall we Yes then"


def test_who_speaks_on_keeps_the_words_that_both_speak_at_once() -> None:
    turns = (Turn(0, 4, A), Turn(2, 6, B))
    words = (word(1, 2), word(2.5, 3), word(3, 3.9), word(4, 5), word(3.5, 4))
    assert labels(words, *turns) == [A, A, A, B, B]


def test_where_nobody_spoke_before_it_is_whose_turn_began_first() -> None:
    assert labels((word(2.5, 3),), Turn(2, 6, A), Turn(0, 4, B)) == [B]
    assert labels((word(4, 5),), Turn(0, 1, A), Turn(2, 6, B), Turn(3, 6, A)) == [B]


def test_a_word_in_a_gap_is_the_nearest_turns() -> None:
    turns = (Turn(0, 1, A), Turn(2, 3, B))
    assert labels((word(1.1, 1.3),), *turns) == [A]
    assert labels((word(1.7, 1.9),), *turns) == [B]
    assert labels((word(1.25, 1.75),), *turns) == [A], "as near: the turn that began first"


@pytest.mark.parametrize(("gap", "speaker"), [(NEAREST, A), (NEAREST + 0.01, None)])
def test_the_nearest_turn_has_a_bound(gap: float, speaker: str | None) -> None:
    assert labels((word(1 + gap, 2 + gap),), Turn(0, 1, A)) == [speaker]


def test_a_word_far_from_every_turn_goes_with_its_segment() -> None:
    turns = (Turn(10, 11, A), Turn(20, 21, B))
    assert labels((word(5, 6), word(10, 11), word(15, 16), word(20, 21)), *turns) == [A, A, A, B]
    assert labels((word(10, 11), word(20, 21), word(25, 26)), *turns) == [A, B, B]


def test_a_word_without_length_is_in_the_turn_around_it() -> None:
    assert labels((word(1, 1), word(3, 3)), Turn(0, 2, A), Turn(2.5, 4, B)) == [A, B]


def test_at_a_border_the_word_before_decides() -> None:
    turns = (Turn(0, 1, A), Turn(1, 2, B))
    assert labels((word(0.5, 1.5),), *turns) == [A]
    assert labels((word(1.2, 1.3), word(0.5, 1.5)), *turns) == [B, B]


def test_no_turns_at_all() -> None:
    merged = with_speakers(transcript(segment(word(0, 1))), ())
    assert merged.turns == ()
    assert [(one.speaker, one.words[0].speaker) for one in merged.segments] == [(None, None)]


def test_turns_without_words() -> None:
    merged = with_speakers(transcript(), (Turn(0, 1, A),))
    assert (merged.segments, merged.turns) == ((), (Turn(0, 1, A),))


def test_a_segment_that_was_not_aligned_is_one_word() -> None:
    bare = Segment(1, 0, 0.0, 4.0, " All of it", (), (1, 2), -0.2, 1.0, 0.0, 0.0)
    (merged,) = with_speakers(transcript(bare), (Turn(0, 1, A), Turn(1, 4, B))).segments
    assert (merged.speaker, merged.text, merged.tokens) == (B, " All of it", (1, 2))


def test_an_empty_segment_stays() -> None:
    empty = Segment(1, 0, 0.0, 4.0, "", (), (), -0.2, 1.0, 0.0, 0.0)
    assert len(with_speakers(transcript(empty), (Turn(0, 1, A),)).segments) == 1


def test_words_that_are_not_the_text_cost_no_text() -> None:
    odd = replace(segment(word(0, 1, " a"), word(1, 4, " b")), text=" a b c")
    (merged,) = with_speakers(transcript(odd), (Turn(0, 1, A), Turn(1, 4, B))).segments
    assert (merged.text, merged.speaker) == (" a b c", B)
    assert [one.speaker for one in merged.words] == [B, B]


def test_one_speaker_leaves_the_segment_as_it_was() -> None:
    one = segment(word(1, 2), word(2, 3), start=0.5, end=3.5)
    (merged,) = with_speakers(transcript(one), (Turn(0, 4, A),)).segments
    assert (merged.start, merged.end, merged.tokens, merged.speaker) == (0.5, 3.5, (1, 2, 3), A)


def test_words_that_nobody_wants_to_see_are_dropped() -> None:
    two = segment(word(0, 1, " a"), word(1, 2, " b"))
    turns = (Turn(0, 1, A), Turn(1, 2, B))
    merged = with_speakers(transcript(two), turns, keep_words=False)
    assert [(one.text, one.speaker, one.words) for one in merged.segments] == [
        (" a", A, ()),
        (" b", B, ()),
    ]


texts = st.sampled_from(["", " a", " Yes,", "ç", "\n", " 話"])
times = st.integers(0, 400).map(lambda tenths: tenths / 10)


@st.composite
def spoken(draw: st.DrawFn) -> tuple[Segment, ...]:
    segments = []
    for _ in range(draw(st.integers(0, 4))):
        borders = sorted(draw(st.lists(times, min_size=2, max_size=10)))
        words = tuple(word(start, end, draw(texts)) for start, end in pairwise(borders))
        segments.append(segment(*words))
    return tuple(segments)


heard = st.lists(
    st.builds(Turn, times, times, st.sampled_from([A, B, C])).filter(
        lambda one: one.end > one.start
    ),
    max_size=12,
).map(tuple)


@given(spoken(), heard)
def test_every_word_is_kept_once_and_in_order(
    segments: tuple[Segment, ...], turns: tuple[Turn, ...]
) -> None:
    merged = with_speakers(transcript(*segments), turns)

    def said(some: tuple[Segment, ...]) -> list[tuple[float, float, str]]:
        return [(one.start, one.end, one.text) for part in some for one in part.words]

    assert said(merged.segments) == said(segments)
    assert merged.text == transcript(*segments).text
    for part in merged.segments:
        assert part.text == "".join(one.text for one in part.words)
        assert part.start <= part.end


@given(spoken(), heard)
def test_labels_come_from_turns_and_are_one_a_segment(
    segments: tuple[Segment, ...], turns: tuple[Turn, ...]
) -> None:
    merged = with_speakers(transcript(*segments), turns)
    assert [one.id for one in merged.segments] == list(range(1, len(merged.segments) + 1))
    known = {turn.speaker for turn in turns}
    for part in merged.segments:
        assert {one.speaker for one in part.words} == {part.speaker}
        assert part.speaker is None or part.speaker in known
        if part.speaker is None:
            assert all(
                max(turn.start - one.end, one.start - turn.end) > NEAREST
                for one in part.words
                for turn in turns
            )


@given(spoken(), heard)
def test_segment_by_segment_is_the_same_as_all_at_once(
    segments: tuple[Segment, ...], turns: tuple[Turn, ...]
) -> None:
    speakers = Speakers(turns, keep_words=True)
    streamed = tuple(part for one in segments for part in speakers.parts(one))
    assert streamed == with_speakers(transcript(*segments), turns).segments


def test_labels_are_numbered_by_first_appearance() -> None:
    given_turns = [Turn(5, 6, "z"), Turn(0, 1, "speaker90"), Turn(2, 3, "a"), Turn(7, 8, "a")]
    assert numbered(given_turns) == (
        Turn(0, 1, A),
        Turn(2, 3, B),
        Turn(5, 6, C),
        Turn(7, 8, B),
    )


def test_turns_of_one_speaker_that_touch_are_one_and_empty_ones_none() -> None:
    given_turns = [
        Turn(0, 2, "a"),
        Turn(1, 3, "b"),
        Turn(2, 4, "a"),
        Turn(0.5, 1, "a"),
        Turn(9, 9, "c"),
    ]
    assert numbered(given_turns) == (Turn(0, 4, A), Turn(1, 3, B))


def test_turns_end_with_the_recording() -> None:
    given_turns = [Turn(-0.2, 1, "a"), Turn(9, 10.4, "b"), Turn(10.1, 10.3, "c")]
    assert numbered(given_turns, 10.0) == (Turn(0.0, 1, A), Turn(9, 10.0, B))


@given(st.lists(st.builds(Turn, times, times, st.sampled_from("abcd"))))
def test_numbering_twice_changes_nothing_and_loses_no_speech(turns: list[Turn]) -> None:
    once = numbered(turns)
    assert numbered(once) == once
    assert list(once) == sorted(once, key=lambda one: one.start)
    for tenths in range(0, 400, 7):
        moment = tenths / 10 + 0.05
        speaking = {one.speaker for one in turns if one.start < moment < one.end}
        assert len(speaking) == sum(one.start < moment < one.end for one in once)


def test_rttm_is_what_pyannote_s_own_sample_looks_like() -> None:
    assert rttm((Turn(6.69, 7.12, A), Turn(7.55, 8.35, B)), "my meeting") == (
        "SPEAKER my_meeting 1 6.690 0.430 <NA> <NA> SPEAKER_00 <NA> <NA>\n"
        "SPEAKER my_meeting 1 7.550 0.800 <NA> <NA> SPEAKER_01 <NA> <NA>\n"
    )
