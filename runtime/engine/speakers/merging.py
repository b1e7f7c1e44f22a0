"""Who said each word: turns onto a transcript, by one rule for every back end and every output.

1. A word is the speaker's whose turns cover most of it.
2. Where several cover as much of it (they speak at once), it is the speaker's of the word before
   it in its segment, if that is one of them; else of the one whose turn began first.
3. A word that no turn covers is the nearest turn's, if that is no further than `NEAREST`; of two as
   near, as in 2.
4. A word further from every turn goes with the word before it in its segment, else with the next
   one that has a speaker. A segment that is far from every turn as a whole has no speaker.
5. A segment whose words are of several speakers is split where they change. No word is moved,
   left out or said twice, and nothing is smoothed: a "Yes" between two words of another is real.

A segment without words (the engine could not align it), or whose words are not its text, is
treated as one word.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from runtime.engine.speakers.turns import joined
from runtime.engine.transcript import Segment, Transcript, Turn, Word

NEAREST: Final = 0.5
"""Seconds. Word times are off by a few tenths, and voice detection trims turns by as much."""

_AS_MUCH: Final = 0.001
"""Seconds, below which two shares of a word are the same."""


def with_speakers(
    transcript: Transcript, turns: Iterable[Turn], *, keep_words: bool = True
) -> Transcript:
    """The transcript with who said what, and its turns.

    Args:
        transcript: with word times.
        turns: as a `Diarizer` gives them.
        keep_words: whether the words stay in it; they are needed here, also where nobody wants
            to see them.

    Returns:
        Its text is unchanged; segments are numbered anew, and no longer carry tokens where they
        were split.
    """
    spoken = tuple(turns)
    speakers = Speakers(spoken, keep_words=keep_words)
    segments = tuple(part for segment in transcript.segments for part in speakers.parts(segment))
    return replace(transcript, segments=segments, turns=spoken)


class Speakers:
    """Gives the segments of one recording their speakers, one segment after the other."""

    def __init__(self, turns: Iterable[Turn], *, keep_words: bool) -> None:
        self._voices = _voices(turns)
        self._keep_words = keep_words
        self._next_id = 1

    def parts(self, segment: Segment) -> Iterator[Segment]:
        """The next segment: itself with its speaker, or one part for each stretch of a speaker."""
        for part in self._split(segment):
            words = part.words if self._keep_words else ()
            yield replace(part, id=self._next_id, words=words)
            self._next_id += 1

    def _split(self, segment: Segment) -> Iterator[Segment]:
        if not segment.words or segment.text != "".join(word.text for word in segment.words):
            speaker = self._speaker(segment.start, segment.end, None)
            words = tuple(replace(word, speaker=speaker) for word in segment.words)
            yield replace(segment, words=words, speaker=speaker)
            return
        stretches = [
            (speaker, tuple(words))
            for speaker, words in groupby(self._labelled(segment.words), lambda word: word.speaker)
        ]
        if len(stretches) == 1:
            ((speaker, words),) = stretches
            yield replace(segment, words=words, speaker=speaker)
            return
        last = len(stretches) - 1
        for place, (speaker, words) in enumerate(stretches):
            start = segment.start if place == 0 else words[0].start
            end = segment.end if place == last else words[-1].end
            yield replace(
                segment,
                start=start,
                end=max(start, end),
                text="".join(word.text for word in words),
                words=words,
                tokens=(),  # which of them are whose is not known
                speaker=speaker,
            )

    def _labelled(self, words: Sequence[Word]) -> list[Word]:
        """The words of a segment, with their speakers."""
        found: list[str | None] = []
        for word in words:
            before = found[-1] if found else None
            found.append(self._speaker(word.start, word.end, before) or before)
        first = next(filter(None, found), None)  # for those before the first that has one
        return [replace(word, speaker=who or first) for word, who in zip(words, found, strict=True)]

    def _speaker(self, start: float, end: float, before: str | None) -> str | None:
        """Who speaks in a span, by rules 1 to 3; None where nobody is near."""
        shares = [(voice.share(start, end), voice) for voice in self._voices]
        most = max((share for share, _voice in shares), default=0.0)
        if most > 0:
            best = [voice for share, voice in shares if share >= most - _AS_MUCH and share > 0]
        else:
            gaps = [(voice.gap(start, end), voice) for voice in self._voices]
            least = min((gap for gap, _voice in gaps), default=NEAREST + 1)
            if least > NEAREST:
                return None
            best = [voice for gap, voice in gaps if gap <= least + _AS_MUCH]
        if before in {voice.speaker for voice in best}:
            return before
        return min(best, key=lambda voice: voice.began(start)).speaker


@dataclass(frozen=True, slots=True)
class _Voice:
    """The turns of one speaker, none of which overlap: `starts` and `ends` both ascend."""

    speaker: str
    starts: tuple[float, ...]
    ends: tuple[float, ...]

    def share(self, start: float, end: float) -> float:
        """How many seconds of a span lie in a turn."""
        seconds = 0.0
        for place in range(bisect_right(self.ends, start), len(self.starts)):
            if self.starts[place] >= end:
                break
            seconds += min(end, self.ends[place]) - max(start, self.starts[place])
        return seconds

    def gap(self, start: float, end: float) -> float:
        """How many seconds lie between a span and the nearest turn; 0 where they touch."""
        place = bisect_right(self.ends, start)
        after = self.starts[place] - end if place < len(self.starts) else float("inf")
        before = start - self.ends[place - 1] if place else float("inf")
        return max(0.0, min(before, after))

    def began(self, start: float) -> float:
        """When the turn began that is being spoken, or was the last to be spoken, at a time."""
        place = bisect_right(self.starts, start)
        return self.starts[place - 1] if place else self.starts[0]


def _voices(turns: Iterable[Turn]) -> tuple[_Voice, ...]:
    """The speakers."""
    of: dict[str, list[Turn]] = {}
    for turn in joined(turns):
        of.setdefault(turn.speaker, []).append(turn)
    return tuple(
        _Voice(speaker, tuple(turn.start for turn in own), tuple(turn.end for turn in own))
        for speaker, own in of.items()
    )
