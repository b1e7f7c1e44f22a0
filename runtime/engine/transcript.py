"""What was said: the one type that every engine makes and every format writes.

Times are seconds from the start of the recording, as plain floats: numpy's, which the
engine counts in, are neither JSON nor cheap to keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Word:
    """A word, with the space and punctuation that the model wrote around it.

    Attributes:
        start: when it begins, in seconds.
        end: when it ends, in seconds.
        text: the word; the texts of a segment's words, joined, are the segment's text.
        probability: mean probability of its tokens, 0 to 1.
        speaker: who says it, by the label of a turn; None where nobody was asked, or heard.
    """

    start: float
    end: float
    text: str
    probability: float
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Emotion:
    """How a stretch of speech sounds to a model; not what its speaker feels.

    Attributes:
        arousal: from calm, 0, to excited, 1; None where no model of the bundle tells.
        dominance: from submissive, 0, to dominant, 1; likewise.
        valence: from negative, 0, to positive, 1; likewise.
        categories: the model's own words with their probabilities, the most likely first; empty
            where no model of the bundle tells.
    """

    arousal: float | None = None
    dominance: float | None = None
    valence: float | None = None
    categories: tuple[tuple[str, float], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The object `emotion` of a segment: what a model told, and no key for the rest."""
        told = {"arousal": self.arousal, "dominance": self.dominance, "valence": self.valence}
        scores: dict[str, Any] = {key: value for key, value in told.items() if value is not None}
        return scores | ({"categories": dict(self.categories)} if self.categories else {})


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech that the model wrote as one.

    Attributes:
        id: its place in the transcript, from 1.
        seek: where its 30-second window starts, in frames of 10 ms after voice detection.
        start: when it begins, in seconds.
        end: when it ends, in seconds.
        text: what was said, as the model wrote it, usually with a leading space.
        words: its words, empty unless word times were asked for.
        tokens: the model's own tokens, timestamps among them.
        avg_logprob: mean log probability of the tokens of its window.
        compression_ratio: zlib's ratio over the text of its window; above 2.4 it repeats itself.
        no_speech_prob: the model's probability that its window holds no speech.
        temperature: the sampling temperature that its window was decoded at.
        speaker: who says it, likewise; a segment whose words are of several is split before.
        emotion: how it sounds; None where nobody asked.
    """

    id: int
    seek: int
    start: float
    end: float
    text: str
    words: tuple[Word, ...]
    tokens: tuple[int, ...]
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    temperature: float
    speaker: str | None = None
    emotion: Emotion | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A stretch in which one speaker speaks. Turns of different speakers may overlap.

    Attributes:
        start: when it begins, in seconds.
        end: when it ends, in seconds.
        speaker: a label that is one person's throughout the recording: `SPEAKER_00`, `SPEAKER_01`,
            numbered in the order in which they first speak, whichever library heard them.
    """

    start: float
    end: float
    speaker: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in one recording, and which model heard it.

    Attributes:
        model: the name of the model.
        task: `transcribe`, or `translate` where the text is English whatever was spoken.
        language: ISO 639-1 code of what was spoken; None where nobody spoke, so that there was
            nothing to detect.
        language_probability: how sure the model was, 0 to 1; 1.0 where it was told.
        duration: length of the recording in seconds.
        segments: what was said, in order; empty where nobody spoke.
        turns: who spoke when, by start; None where nobody asked, empty where nobody was heard.
        recording: what the recording is called, for formats that name it (RTTM).
        origin: where all of it comes from, for formats in JSON; None where nobody says.
    """

    model: str
    task: str
    language: str | None
    language_probability: float
    duration: float
    segments: tuple[Segment, ...]
    turns: tuple[Turn, ...] | None = None
    recording: str = "recording"
    origin: Mapping[str, Any] | None = None

    @property
    def text(self) -> str:
        """All of it in one line, as the model wrote it."""
        return "".join(segment.text for segment in self.segments).strip()
