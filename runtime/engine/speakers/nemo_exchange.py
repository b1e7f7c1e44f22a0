"""The files by which NeMo's diarizer is asked, and answers: sound, manifests, RTTM."""

from __future__ import annotations

import json
import math
import tempfile
import wave
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import numpy as np

from airgap.errors import AirgapError
from runtime.engine.audio import SAMPLE_RATE, Samples
from runtime.engine.transcript import Turn

NAME: Final = "recording"
"""What the recording is called in all of them."""

_BLOCK: Final = 60 * SAMPLE_RATE
"""Samples that are written at once."""


@contextmanager
def sound_in(folder: Path, samples: Samples) -> Iterator[Path]:
    """The samples as a WAV in a folder, for as long as the block lasts.

    What lies there is a link to a file without a name, which is gone when this process is,
    however it ends: a recording must not stay behind for whoever reads the disk next.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        write_sound(file, samples)
        file.flush()
        path = folder / f"{NAME}.wav"
        path.symlink_to(f"/proc/self/fd/{file.fileno()}")
        yield path


def write_sound(file: IO[bytes], samples: Samples) -> None:
    """A WAV of 16 bits, which is what recordings are decoded to."""
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SAMPLE_RATE)
        for start in range(0, len(samples), _BLOCK):
            block = np.rint(samples[start : start + _BLOCK] * 32768.0)
            sound.writeframes(np.clip(block, -32768, 32767).astype("<i2").tobytes())


def write_manifest(
    path: Path,
    sound: Path,
    stretches: Iterable[tuple[float, float | None]],
    number: int | None = None,
) -> None:
    """A line for each stretch of a sound file: start and length in seconds, None for all of it."""
    lines = (
        {
            "audio_filepath": str(sound),
            "offset": start,
            "duration": length,
            "label": "infer",
            "text": "-",
            "uniq_id": NAME,
            "num_speakers": number,
            "rttm_filepath": None,
            "uem_filepath": None,
        }
        for start, length in stretches
    )
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def read_rttm(text: str) -> Iterator[Turn]:
    """The turns of the recording, one a line. Raises AirgapError for a line of another form."""
    for line in text.splitlines():
        try:
            kind, name, _channel, start, length, _, _, label, _, _ = line.split()
            begin, lasts = float(start), float(length)
        except ValueError as error:
            raise AirgapError(f"NeMo wrote a line that is not RTTM: '{line}'") from error
        in_time = begin >= 0 and lasts >= 0 and math.isfinite(begin + lasts)
        if (kind, name) != ("SPEAKER", NAME) or not in_time:
            raise AirgapError(f"NeMo wrote a line that is not RTTM: '{line}'")
        yield Turn(begin, begin + lasts, label)
