"""What was said, and by whom: an engine and a back end on one recording."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from runtime.engine.audio import Samples
from runtime.engine.hardware import Hardware
from runtime.engine.options import TranscribeOptions, check_options
from runtime.engine.speakers.diarizer import Diarizer, SpeakerHints
from runtime.engine.speakers.merging import with_speakers
from runtime.engine.transcript import Transcript, Turn
from runtime.engine.whisper import Heard, WhisperEngine, unwatched

MANY_CORES: Final = 8
"""From here on the engine and a back end have cores enough each; below they only share them."""


def overlaps(hardware: Hardware) -> bool:
    """Whether to transcribe and to tell speakers apart at once, rather than one after the other."""
    return hardware.device == "cuda" or len(os.sched_getaffinity(0)) >= MANY_CORES


@dataclass(frozen=True)
class Conversation:
    """The two that are needed to say who said what.

    Attributes:
        engine: transcribes.
        diarizer: tells speakers apart.
    """

    engine: WhisperEngine
    diarizer: Diarizer

    def transcribe(
        self,
        samples: Samples,
        options: TranscribeOptions,
        hints: SpeakerHints,
        heard: Heard = unwatched,
    ) -> Transcript:
        """What was said, whole, with who said it.

        Args:
            samples: 16 kHz mono float32.
            options: how to transcribe; words are timed in any case, and stay where it asks.
            hints: what is known about the speakers.
            heard: told how far the transcription is, in seconds of the recording.

        Raises:
            UsageError: the options or the hints ask for what cannot be.
            AirgapError: one of the two failed; there is no transcript without speakers instead.
        """
        hints.check()
        check_options(options, self.engine.name, self.engine.languages)
        timed = replace(options, word_timestamps=True)
        if overlaps(self.engine.hardware):
            transcript, turns = self._at_once(samples, timed, hints, heard)
        else:
            turns = self.diarizer.diarize(samples, hints)
            transcript = self.engine.transcribe(samples, timed, heard)
        return with_speakers(transcript, turns, keep_words=options.word_timestamps)

    def _at_once(
        self, samples: Samples, options: TranscribeOptions, hints: SpeakerHints, heard: Heard
    ) -> tuple[Transcript, tuple[Turn, ...]]:
        with ThreadPoolExecutor(1, thread_name_prefix="speakers") as beside:
            turns = beside.submit(self.diarizer.diarize, samples, hints)

            def unless_failed(seconds: float) -> None:
                if turns.done():
                    turns.result()  # raises where it failed: the rest need not be heard
                heard(seconds)

            transcript = self.engine.transcribe(samples, options, unless_failed)
            return transcript, turns.result()
