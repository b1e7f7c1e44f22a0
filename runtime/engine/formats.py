"""A transcript as a file: text, srt, vtt, tsv, json, as openai-whisper writes them.

Where a text could be taken for markup (an arrow, a blank line, a tag) it is written so that
a strict reader gets one cue for each segment. Segments without text, which would end a file
for some readers, are left to json.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Final

from runtime.engine.transcript import Segment, Transcript


@dataclass(frozen=True, slots=True)
class Format:
    """A way to write a transcript down.

    Attributes:
        extension: of its files, with the dot.
        render: the whole file, ending in a newline where the format has lines.
    """

    extension: str
    render: Callable[[Transcript], str]


def text(transcript: Transcript) -> str:
    """A line for each segment; nothing where nobody spoke."""
    return "".join(f"{line}\n" for _, line in _spoken(transcript))


def srt(transcript: Transcript) -> str:
    """SubRip: numbered cues, `HH:MM:SS,mmm`. An arrow in the text loses a dash, as in Whisper."""
    cues = (
        f"{number}\n{_span(segment, ',')}\n{line.replace('-->', '->')}\n\n"
        for number, (segment, line) in enumerate(_spoken(transcript), start=1)
    )
    return "".join(cues)


def vtt(transcript: Transcript) -> str:
    """WebVTT (W3C): `HH:MM:SS.mmm`, hours always; `&`, `<` and `>` escaped."""
    cues = (f"{_span(segment, '.')}\n{_escaped(line)}\n\n" for segment, line in _spoken(transcript))
    return "WEBVTT\n\n" + "".join(cues)


def tsv(transcript: Transcript) -> str:
    """Tab-separated start, end (whole milliseconds) and text, under a line of headings."""
    rows = (
        "{}\t{}\t{}\n".format(*_milliseconds(segment), line.replace("\t", " "))
        for segment, line in _spoken(transcript)
    )
    return "start\tend\ttext\n" + "".join(rows)


def as_json(transcript: Transcript) -> str:
    """Whisper's JSON (text, segments, language) with model, task and duration; times in seconds.

    Words lie in their segments, under the key `word` for their text, as Whisper has it.
    """
    document = {
        "text": transcript.text,
        "task": transcript.task,
        "language": transcript.language,
        "language_probability": transcript.language_probability,
        "duration": transcript.duration,
        "model": transcript.model,
        "segments": [_segment_object(segment) for segment in transcript.segments],
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        "text": Format(".txt", text),
        "srt": Format(".srt", srt),
        "vtt": Format(".vtt", vtt),
        "tsv": Format(".tsv", tsv),
        "json": Format(".json", as_json),
    }
)
"""Every format by its name on the command line."""


def _spoken(transcript: Transcript) -> Iterator[tuple[Segment, str]]:
    """Segments that say something, each with its text in one line.

    A blank line ends a cue in srt and vtt, so no line break of any kind may stay inside one.
    """
    for segment in transcript.segments:
        line = " ".join(part.strip() for part in segment.text.splitlines() if part.strip())
        if line:
            yield segment, line


def _segment_object(segment: Segment) -> dict[str, object]:
    fields = asdict(segment)
    if segment.speaker is None:  # nobody asked: the keys are Whisper's
        del fields["speaker"]
    del fields["emotion"]
    if segment.emotion is not None:
        fields["emotion"] = segment.emotion.as_json()
    fields["words"] = [
        {"word": word.text, "start": word.start, "end": word.end, "probability": word.probability}
        for word in segment.words
    ]
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
