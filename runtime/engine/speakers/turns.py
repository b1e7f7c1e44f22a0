"""Turns as every back end hands them on: labelled alike, in order; and as RTTM."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import inf

from runtime.engine.transcript import Turn


def numbered(heard: Iterable[Turn], duration: float = inf) -> tuple[Turn, ...]:
    """The turns that a library heard, as `Turn` wants them.

    Labels become `SPEAKER_00`, `SPEAKER_01`, … in the order in which their speakers first speak.
    Turns of one speaker that overlap or touch become one, since a person speaks once at a time;
    a turn without length is none.

    Args:
        heard: turns with any labels, in any order, their times in seconds as plain floats.
        duration: of the recording, in seconds; libraries pad their turns beyond it.

    Returns:
        By start, then end, then label.
    """
    inside = (
        replace(turn, start=max(0.0, turn.start), end=min(turn.end, duration)) for turn in heard
    )
    ordered = sorted(
        (turn for turn in inside if turn.end > turn.start),
        key=lambda turn: (turn.start, turn.end, turn.speaker),
    )
    labels: dict[str, str] = {}
    for turn in ordered:
        labels.setdefault(turn.speaker, f"SPEAKER_{len(labels):02}")
    named = [Turn(turn.start, turn.end, labels[turn.speaker]) for turn in ordered]
    return tuple(sorted(joined(named), key=lambda turn: (turn.start, turn.end, turn.speaker)))


def joined(turns: Iterable[Turn]) -> Iterator[Turn]:
    """The same, with what overlaps or touches of one speaker's as one; each speaker's by start."""
    last: dict[str, Turn] = {}
    for turn in sorted(turns, key=lambda turn: turn.start):
        before = last.get(turn.speaker)
        if before is not None and turn.start <= before.end:
            last[turn.speaker] = replace(before, end=max(before.end, turn.end))
            continue
        if before is not None:
            yield before
        last[turn.speaker] = turn
    yield from last.values()


def rttm(turns: Iterable[Turn], recording: str) -> str:
    """Rich Transcription Time Marked, as NIST's evaluation plans define it: a line for each turn.

    Args:
        turns: who speaks when.
        recording: what the recording is called; fields end at white space, so that it becomes `_`.
    """
    name = re.sub(r"\s+", "_", recording) or "recording"
    return "".join(
        f"SPEAKER {name} 1 {turn.start:.3f} {turn.end - turn.start:.3f} "
        f"<NA> <NA> {turn.speaker} <NA> <NA>\n"
        for turn in turns
    )
