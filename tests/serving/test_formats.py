"""The formats: read back by parsers that are not ours."""

import html
import json
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace

import pytest
import srt
import webvtt
from hypothesis import given
from hypothesis import strategies as st
from openai.types.audio import TranscriptionDiarized

from airgap.errors import UsageError
from runtime.engine.formats import FORMATS
from runtime.engine.transcript import Emotion, Segment, Transcript, Turn, Word


def segment(start: float, end: float, text: str, *words: Word) -> Segment:
    return Segment(
        id=1,
        seek=0,
        start=start,
        end=end,
        text=text,
        words=words,
        tokens=(50363, 843),
        avg_logprob=-0.25,
        compression_ratio=1.5,
        no_speech_prob=0.01,
        temperature=0.0,
    )


def transcript(*segments: Segment) -> Transcript:
    return Transcript("tiny.en", "transcribe", "en", 1.0, 9000.0, segments)


def written(name: str, *segments: Segment) -> str:
    return FORMATS[name].render(transcript(*segments))


TWO = (segment(0.0, 8.02, " And so,"), segment(8.02, 10.5, " my fellow Americans."))


def test_text_is_a_line_for_each_segment() -> None:
    assert written("text", *TWO) == "And so,\nmy fellow Americans.\n"


def test_srt() -> None:
    assert written("srt", *TWO) == (
        "1\n00:00:00,000 --> 00:00:08,020\nAnd so,\n\n"
        "2\n00:00:08,020 --> 00:00:10,500\nmy fellow Americans.\n\n"
    )


def test_vtt() -> None:
    assert written("vtt", *TWO) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:08.020\nAnd so,\n\n"
        "00:00:08.020 --> 00:00:10.500\nmy fellow Americans.\n\n"
    )


def test_tsv() -> None:
    rows = "start\tend\ttext\n0\t8020\tAnd so,\n8020\t10500\tmy fellow Americans.\n"
    assert written("tsv", *TWO) == rows


def test_json_has_whispers_keys_and_words() -> None:
    word = Word(0.0, 0.5, " And", 0.9)
    document = json.loads(written("json", segment(0.0, 8.02, " And", word)))
    assert document == {
        "text": "And",
        "task": "transcribe",
        "language": "en",
        "language_probability": 1.0,
        "duration": 9000.0,
        "model": "tiny.en",
        "segments": [
            {
                "id": 1,
                "seek": 0,
                "start": 0.0,
                "end": 8.02,
                "text": " And",
                "words": [{"word": " And", "start": 0.0, "end": 0.5, "probability": 0.9}],
                "tokens": [50363, 843],
                "avg_logprob": -0.25,
                "compression_ratio": 1.5,
                "no_speech_prob": 0.01,
                "temperature": 0.0,
            }
        ],
    }


def test_json_has_emotion_where_it_was_asked_for() -> None:
    scores = Emotion(arousal=0.5, dominance=0.25, valence=0.75)
    words = Emotion(categories=(("calm", 0.9), ("sad", 0.1)))
    segments = [replace(one, emotion=how) for one, how in zip(TWO, (scores, words), strict=True)]
    first, second = json.loads(written("json", *segments))["segments"]
    assert first["emotion"] == {"arousal": 0.5, "dominance": 0.25, "valence": 0.75}
    assert second["emotion"] == {"categories": {"calm": 0.9, "sad": 0.1}}
    assert list(second["emotion"]["categories"]) == ["calm", "sad"]


@pytest.mark.parametrize(
    ("seconds", "clock"),
    [
        (0.0004, "00:00:00,000"),
        (59.9994, "00:00:59,999"),
        (59.9996, "00:01:00,000"),
        (3599.9996, "01:00:00,000"),
        (3661.5, "01:01:01,500"),
        (359_999.9996, "100:00:00,000"),
    ],
)
def test_clock(seconds: float, clock: str) -> None:
    line = written("srt", segment(seconds, seconds + 1, "x")).splitlines()[1]
    assert line.split(" --> ")[0] == clock
    line = written("vtt", segment(seconds, seconds + 1, "x")).splitlines()[2]
    assert line.split(" --> ")[0] == clock.replace(",", ".")


def test_text_that_looks_like_markup() -> None:
    odd = segment(0, 1, " a --> b\n\n<i>c</i> & d\t\u2028e ")
    assert written("srt", odd).splitlines()[2] == "a -> b <i>c</i> & d e"
    assert written("vtt", odd).splitlines()[3] == "a --&gt; b &lt;i&gt;c&lt;/i&gt; &amp; d e"
    assert written("tsv", odd).splitlines()[1] == "0\t1000\ta --> b <i>c</i> & d e"
    assert written("text", odd) == "a --> b <i>c</i> & d e\n"


def test_segments_without_text_leave_no_cue() -> None:
    segments = (segment(0, 1, " "), segment(1, 2, "x"), segment(2, 3, "\n"))
    assert written("srt", *segments) == "1\n00:00:01,000 --> 00:00:02,000\nx\n\n"
    assert written("text", *segments) == "x\n"
    assert len(json.loads(written("json", *segments))["segments"]) == 3


def test_nothing_said() -> None:
    assert [FORMATS[name].render(transcript()) for name in ("text", "srt", "vtt", "tsv")] == [
        "",
        "",
        "WEBVTT\n\n",
        "start\tend\ttext\n",
    ]


def test_extensions_are_distinct() -> None:
    extensions = [form.extension for form in FORMATS.values()]
    assert len(set(extensions)) == len(FORMATS)


def with_speakers(*parts: tuple[str | None, Segment]) -> Transcript:
    segments = tuple(
        replace(
            one,
            id=number,
            speaker=speaker,
            words=tuple(replace(each, speaker=speaker) for each in one.words),
        )
        for number, (speaker, one) in enumerate(parts, start=1)
    )
    heard = (Turn(0.0, 8.02, "SPEAKER_00"), Turn(7.5, 10.5, "SPEAKER_01"))
    return replace(transcript(*segments), turns=heard, recording="ward round")


SPOKEN = with_speakers(
    ("SPEAKER_00", TWO[0]), ("SPEAKER_01", TWO[1]), (None, segment(11, 12, " x"))
)


def test_text_and_srt_name_the_speaker_of_each_line() -> None:
    text = FORMATS["text"].render(SPOKEN)
    assert text == "SPEAKER_00: And so,\nSPEAKER_01: my fellow Americans.\nUNKNOWN: x\n"
    cues = list(srt.parse(FORMATS["srt"].render(SPOKEN)))
    assert [cue.content for cue in cues] == text.splitlines()


def test_vtt_has_voices() -> None:
    text = FORMATS["vtt"].render(SPOKEN)
    assert text.splitlines()[3::3] == [
        "<v SPEAKER_00>And so,",
        "<v SPEAKER_01>my fellow Americans.",
        "x",
    ]
    captions = list(webvtt.from_buffer(StringIO(text)))
    assert [caption.voice for caption in captions] == ["SPEAKER_00", "SPEAKER_01", None]
    assert captions[0].text == "And so,"


def test_tsv_has_a_column_for_speakers_only_where_asked() -> None:
    assert FORMATS["tsv"].render(SPOKEN) == (
        "start\tend\tspeaker\ttext\n"
        "0\t8020\tSPEAKER_00\tAnd so,\n"
        "8020\t10500\tSPEAKER_01\tmy fellow Americans.\n"
        "11000\t12000\tUNKNOWN\tx\n"
    )


def test_json_has_speakers_of_segments_and_words_and_the_turns() -> None:
    one = with_speakers(("SPEAKER_00", segment(0, 1, " a", Word(0, 1, " a", 0.9))), (None, TWO[1]))
    document = json.loads(FORMATS["json"].render(one))
    assert [part["speaker"] for part in document["segments"]] == ["SPEAKER_00", "UNKNOWN"]
    assert document["segments"][0]["words"][0]["speaker"] == "SPEAKER_00"
    assert document["turns"][1] == {"start": 7.5, "end": 10.5, "speaker": "SPEAKER_01"}


def test_rttm_is_read_back_by_pyannote() -> None:
    text = FORMATS["rttm"].render(SPOKEN)
    util = pytest.importorskip("pyannote.database.util", reason="airgap-bundler[pyannote]")
    found = util.load_rttm(StringIO(text))["ward_round"]
    assert [(span.start, span.end, who) for span, _, who in found.itertracks(yield_label=True)] == [
        (0.0, 8.02, "SPEAKER_00"),
        (7.5, 10.5, "SPEAKER_01"),
    ]


def test_diarized_json_is_what_openai_s_own_types_take() -> None:
    document = json.loads(FORMATS["diarized_json"].render(SPOKEN))
    read = TranscriptionDiarized.model_validate(document, strict=True)
    assert (read.duration, read.text) == (9000.0, "And so, my fellow Americans. x")
    assert [(one.id, one.speaker, one.text) for one in read.segments] == [
        ("seg_001", "SPEAKER_00", "And so,"),
        ("seg_002", "SPEAKER_01", "my fellow Americans."),
        ("seg_003", "UNKNOWN", "x"),
    ]


@pytest.mark.parametrize("name", ["rttm", "diarized_json"])
def test_a_format_of_speakers_is_no_empty_file_where_nobody_asked(name: str) -> None:
    assert FORMATS[name].needs_speakers
    with pytest.raises(UsageError, match=f"format '{name}' says who speaks, and nobody asked"):
        written(name, *TWO)


def test_nobody_heard_is_not_nobody_asked() -> None:
    silent = replace(transcript(), turns=())
    assert FORMATS["rttm"].render(silent) == ""
    assert json.loads(FORMATS["diarized_json"].render(silent))["segments"] == []
    assert json.loads(FORMATS["json"].render(silent))["turns"] == []


# What a model can write: no surrogates and no control characters but breaks and tabs.
texts = st.lists(
    st.one_of(
        st.characters(exclude_categories=("Cs", "Cc")),
        st.sampled_from("\n\r\t\x0b\x0c\x1c\x85\u2028"),
        st.sampled_from(["-->", "<", ">", "&", "1", "00:00:01.000 --> 00:00:02.000", "NOTE"]),
    ),
    max_size=20,
).map("".join)


@st.composite
def recordings(draw: st.DrawFn) -> tuple[Segment, ...]:
    times = draw(st.lists(st.floats(0, 400_000), max_size=12).map(sorted))
    pairs = zip(times[::2], times[1::2], strict=False)
    return tuple(segment(start, end, draw(texts)) for start, end in pairs)


def expected(segments: tuple[Segment, ...]) -> list[SimpleNamespace]:
    """The cues that a reader should find: whole milliseconds, and words without white space."""
    return [
        SimpleNamespace(
            start=round(one.start * 1000),
            end=max(round(one.end * 1000), round(one.start * 1000) + 1),
            words=one.text.split(),
        )
        for one in segments
        if one.text.strip()
    ]


@given(recordings())
def test_srt_reads_back(segments: tuple[Segment, ...]) -> None:
    cues = [
        SimpleNamespace(
            start=cue.start // timedelta(milliseconds=1),
            end=cue.end // timedelta(milliseconds=1),
            words=cue.content.split(),
        )
        for cue in srt.parse(written("srt", *segments))
    ]
    wanted = expected(segments)
    for cue in wanted:
        cue.words = [word.replace("-->", "->") for word in cue.words]
    assert cues == wanted


@given(recordings())
def test_vtt_reads_back(segments: tuple[Segment, ...]) -> None:
    cues = [
        SimpleNamespace(
            start=round(cue.start_in_seconds * 1000) + cue.start_time.milliseconds,
            end=round(cue.end_in_seconds * 1000) + cue.end_time.milliseconds,
            words=html.unescape(cue.text).split(),  # which WebVTT asks of a player
        )
        for cue in webvtt.from_buffer(StringIO(written("vtt", *segments)))
    ]
    assert cues == expected(segments)


@given(recordings())
def test_tsv_and_json_read_back(segments: tuple[Segment, ...]) -> None:
    rows = [row.split("\t") for row in written("tsv", *segments).split("\n")[1:-1]]
    assert [(int(a), int(b), c.split()) for a, b, c in rows] == [
        (cue.start, cue.end, cue.words) for cue in expected(segments)
    ]
    document = json.loads(written("json", *segments))
    assert [(s["start"], s["end"], s["text"]) for s in document["segments"]] == [
        (s.start, s.end, s.text) for s in segments
    ]
