"""A transcript as a file: text, srt, vtt, tsv, json, as openai-whisper writes them; and who speaks.

Where speakers were asked for (`Transcript.turns` is not None), every format says them.

Where a text could be taken for markup (an arrow, a blank line, a tag) it is written so that
a strict reader gets one cue for each segment. Segments without text, which would end a file
for some readers, are left to json.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Final

from airgap.errors import UsageError
from runtime.engine.speakers import turns
from runtime.engine.transcript import Segment, Transcript, Turn

UNKNOWN: Final = "UNKNOWN"
"""The label, where one must stand, of what was said while no speaker was heard."""


@dataclass(frozen=True, slots=True)
class Format:
    """A way to write a transcript down.

    Attributes:
        extension: of its files, with the dot.
        render: the whole file, ending in a newline where the format has lines.
        needs_speakers: whether it says nothing without them; it then raises UsageError.
    """

    extension: str
    render: Callable[[Transcript], str]
    needs_speakers: bool = False


def text(transcript: Transcript) -> str:
    """A line for each segment, behind its speaker where asked; nothing where nobody spoke."""
    return "".join(
        f"{_named(transcript, segment)}{line}\n" for segment, line in _spoken(transcript)
    )


def srt(transcript: Transcript) -> str:
    """SubRip: numbered cues, `HH:MM:SS,mmm`, the speaker before the text where asked.

    An arrow in the text loses a dash, as in Whisper.
    """
    cues = (
        f"{number}\n{_span(segment, ',')}\n"
        f"{_named(transcript, segment)}{line.replace('-->', '->')}\n\n"
        for number, (segment, line) in enumerate(_spoken(transcript), start=1)
    )
    return "".join(cues)


def vtt(transcript: Transcript) -> str:
    """WebVTT (W3C): `HH:MM:SS.mmm`, hours always; `&`, `<` and `>` escaped.

    A cue with a known speaker is a voice span, `<v SPEAKER_00>`; it ends with its cue.
    """
    cues = (
        f"{_span(segment, '.')}\n{f'<v {segment.speaker}>' if segment.speaker else ''}"
        f"{_escaped(line)}\n\n"
        for segment, line in _spoken(transcript)
    )
    return "WEBVTT\n\n" + "".join(cues)


def tsv(transcript: Transcript) -> str:
    """Tab-separated start, end (whole milliseconds) and text, under a line of headings.

    The speaker stands before the text where asked.
    """
    asked = transcript.turns is not None
    rows = (
        (
            *map(str, _milliseconds(segment)),
            *((segment.speaker or UNKNOWN,) if asked else ()),
            line.replace("\t", " "),
        )
        for segment, line in _spoken(transcript)
    )
    headings = ("start", "end", *(("speaker",) if asked else ()), "text")
    return "".join("\t".join(row) + "\n" for row in (headings, *rows))


def as_json(transcript: Transcript) -> str:
    """Whisper's JSON (text, segments, language) with model, task and duration; times in seconds.

    Words lie in their segments, under the key `word` for their text, as Whisper has it. Where
    speakers were asked for, segments and words have `speaker`, and `turns` says who spoke when.
    """
    asked = transcript.turns is not None
    document = {
        "text": transcript.text,
        "task": transcript.task,
        "language": transcript.language,
        "language_probability": transcript.language_probability,
        "duration": transcript.duration,
        "model": transcript.model,
        "segments": [_segment_object(segment, asked=asked) for segment in transcript.segments],
    }
    if transcript.turns is not None:
        document["turns"] = [asdict(turn) for turn in transcript.turns]
    return _in_json(transcript, document)


def rttm(transcript: Transcript) -> str:
    """Who spoke when, without the words: every turn as it was heard, overlaps among them."""
    return turns.rttm(_asked_for(transcript, "rttm"), transcript.recording)


def diarized_json(transcript: Transcript) -> str:
    """OpenAI's `diarized_json`."""
    return _in_json(transcript, diarized(transcript))


def diarized(transcript: Transcript) -> dict[str, Any]:
    """The document of OpenAI's `diarized_json`: its segments are those with a text.

    Raises:
        UsageError: nobody asked for speakers.
    """
    _asked_for(transcript, "diarized_json")
    return {
        "task": transcript.task,
        "duration": transcript.duration,
        "text": transcript.text,
        "segments": [diarized_segment(one) for one in transcript.segments if one.text.strip()],
    }


def diarized_segment(segment: Segment) -> dict[str, Any]:
    """One of its segments, which is also an event of its stream. The label is never null there."""
    return {
        "type": "transcript.text.segment",
        "id": f"seg_{segment.id:03}",
        "start": segment.start,
        "end": segment.end,
        "text": segment.text.strip(),
        "speaker": segment.speaker or UNKNOWN,
    }


FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        "text": Format(".txt", text),
        "srt": Format(".srt", srt),
        "vtt": Format(".vtt", vtt),
        "tsv": Format(".tsv", tsv),
        "json": Format(".json", as_json),
        "rttm": Format(".rttm", rttm, needs_speakers=True),
        "diarized_json": Format(".diarized.json", diarized_json, needs_speakers=True),
    }
)
"""Every format by its name on the command line."""


def _in_json(transcript: Transcript, document: dict[str, Any]) -> str:
    """A file, with the member `airgap` of the server's answers where it is known."""
    if transcript.origin is not None:
        document["airgap"] = transcript.origin
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _asked_for(transcript: Transcript, name: str) -> tuple[Turn, ...]:
    """The turns; a file without them would say that nobody spoke."""
    if transcript.turns is None:
        raise UsageError(f"format '{name}' says who speaks, and nobody asked for speakers")
    return transcript.turns


def _named(transcript: Transcript, segment: Segment) -> str:
    """What stands before a line: each has a label where speakers were asked for."""
    return "" if transcript.turns is None else f"{segment.speaker or UNKNOWN}: "


def _spoken(transcript: Transcript) -> Iterator[tuple[Segment, str]]:
    """Segments that say something, each with its text in one line.

    A blank line ends a cue in srt and vtt, so no line break of any kind may stay inside one.
    """
    for segment in transcript.segments:
        line = " ".join(part.strip() for part in segment.text.splitlines() if part.strip())
        if line:
            yield segment, line


def _segment_object(segment: Segment, *, asked: bool) -> dict[str, object]:
    """A segment; where nobody asked for speakers, the keys are Whisper's."""
    fields = asdict(segment)
    del fields["emotion"]
    if segment.emotion is not None:
        fields["emotion"] = segment.emotion.as_json()
    fields["words"] = [
        {
            "word": word.text,
            "start": word.start,
            "end": word.end,
            "probability": word.probability,
            **({"speaker": word.speaker or UNKNOWN} if asked else {}),
        }
        for word in segment.words
    ]
    if asked:
        fields["speaker"] = segment.speaker or UNKNOWN
    else:
        del fields["speaker"]
    return fields


def _milliseconds(segment: Segment) -> tuple[int, int]:
    """Start and end, rounded; a cue lasts a millisecond at least, which WebVTT demands."""
    start = round(segment.start * 1000)
    return start, max(round(segment.end * 1000), start + 1)


def _span(segment: Segment, mark: str) -> str:
    start, end = _milliseconds(segment)
    return f"{_clock(start, mark)} --> {_clock(end, mark)}"


def _clock(milliseconds: int, mark: str) -> str:
    """`HH:MM:SS` and milliseconds behind `mark`; a hundred hours take three digits."""
    seconds, rest = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}{mark}{rest:03}"


def _escaped(line: str) -> str:
    """Text as WebVTT's cue payload; `&` first, or the others would be escaped twice."""
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
