"""Who speaks: time and memory of each back end, and words and speakers at once or in turn.

    python benchmarks/speakers.py RECORDING WHISPER [--nemo VOICES VAD] [--sortformer MODEL]
        [--pyannote PIPELINE] [--minutes MINUTES ...]

WHISPER and the others are folders of models. Each back end runs in a process of its own: once to
load, then the recording by itself, then with the words after it, then with the words beside it.
Ratios are what counts; real time is the length of the recording. With --minutes, instead: the peak
of memory without Whisper, for the recording again and again until it is so long, each in a process
of its own.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.engine.audio import SAMPLE_RATE, read_recording
from runtime.engine.hardware import find_hardware
from runtime.engine.speakers.diarizer import SpeakerHints
from runtime.engine.whisper import WhisperEngine


@dataclass(frozen=True)
class Measured:
    """Seconds of each step, and the peak of resident memory in bytes, of both models together."""

    loading: float
    speakers: float
    in_turn: float
    at_once: float
    before: int
    peak: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path)
    parser.add_argument("whisper", type=Path)
    parser.add_argument("--nemo", type=Path, nargs=2, metavar=("VOICES", "VAD"))
    parser.add_argument("--sortformer", type=Path)
    parser.add_argument("--pyannote", type=Path)
    parser.add_argument("--minutes", type=int, nargs="+", help="how memory grows with length")
    given = parser.parse_args()
    roles = {
        "nemo": dict(zip(("speaker-embedding", "vad"), given.nemo or (), strict=False)),
        "sortformer": {"diarization": given.sortformer},
        "pyannote": {"diarization": given.pyannote},
    }
    asked = {
        name: {role: folder.absolute() for role, folder in files.items()}
        for name, files in roles.items()
        if files and all(files.values())
    }
    if given.minutes:
        by_length(asked, given.recording, given.minutes)
    else:
        beside_words(asked, given.recording, given.whisper)


def beside_words(asked: dict[str, dict[str, Path]], recording: Path, whisper: Path) -> None:
    print("| back end | load | real-time factor | + words, in turn | at once | ratio | memory |")
    print("|---|---|---|---|---|---|---|")
    for name, files in asked.items():
        print(row(name, *alone(measure, name, files, whisper, recording)))


def by_length(asked: dict[str, dict[str, Path]], recording: Path, minutes: list[int]) -> None:
    print("| back end | length | real-time factor | peak of memory |")
    print("|---|---|---|---|")
    for name, files in asked.items():
        for length in minutes:
            seconds, most = alone(diarized, name, files, recording, length)
            factor = seconds / (60 * length)
            print(f"| {name} | {length} min | {factor:.3f} | {most / 1e6:.0f} MB |", flush=True)


def alone(work: Callable[..., Any], *given: Any) -> Any:
    """In a process of its own: what one library leaves behind is not the next one's memory."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, *given).result()


def diarized(name: str, files: dict[str, Path], recording: Path, minutes: int) -> tuple[float, int]:
    """Seconds that it takes to tell who speaks for so many minutes, and the peak of memory."""
    samples = np.resize(read_recording(recording).samples, minutes * 60 * SAMPLE_RATE)
    loaded = importlib.import_module(f"runtime.engine.speakers.{name}")
    back_end = loaded.load(files, find_hardware("auto"))
    _, seconds = timed(lambda: back_end.diarize(samples, SpeakerHints()))
    return seconds, peak()


def measure(
    name: str, files: dict[str, Path], whisper: Path, recording: Path
) -> tuple[Measured, float]:
    """The back end on a recording, and the recording's length in seconds."""
    hardware = find_hardware("auto")
    heard = read_recording(recording)
    words = WhisperEngine.from_folder("whisper", whisper, hardware)
    before = peak()
    back_end, loading = timed(
        lambda: importlib.import_module(f"runtime.engine.speakers.{name}").load(files, hardware)
    )

    def speak() -> Any:
        return back_end.diarize(heard.samples, SpeakerHints())

    def write() -> Any:
        return words.transcribe(heard.samples)

    def both() -> None:
        with ThreadPoolExecutor(2) as pool:
            for task in [pool.submit(speak), pool.submit(write)]:
                task.result()

    write()  # both have run before they are timed
    _, speakers = timed(speak)
    _, in_turn = timed(lambda: (speak(), write()))
    _, at_once = timed(both)
    return Measured(loading, speakers, in_turn, at_once, before, peak()), heard.duration


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def row(name: str, told: Measured, duration: float) -> str:
    return (
        f"| {name} | {told.loading:.1f} s | {told.speakers / duration:.3f} "
        f"| {told.in_turn / duration:.3f} | {told.at_once / duration:.3f} "
        f"| {told.in_turn / told.at_once:.2f} "
        f"| {told.peak / 1e9:.2f} GB, {(told.peak - told.before) / 1e9:.2f} of it its own |"
    )


if __name__ == "__main__":
    main()
