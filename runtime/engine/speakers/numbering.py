"""Whatever a library calls its speakers -> turns whose labels are ours."""

from __future__ import annotations

from collections.abc import Iterable

from runtime.engine.transcript import Turn


def numbered(heard: Iterable[tuple[float, float, str]], duration: float) -> tuple[Turn, ...]:
    """Turns by start, with speakers numbered in the order in which they first speak.

    Args:
        heard: start, end and the library's own label of each stretch, in any order.
        duration: of the recording, in seconds; libraries pad their turns beyond it.
    """
    labels: dict[str, str] = {}
    turns = []
    for start, end, label in sorted(heard):
        first, last = max(0.0, float(start)), min(float(end), duration)
        if first < last:
            name = labels.setdefault(label, f"SPEAKER_{len(labels):02}")
            turns.append(Turn(first, last, name))
    return tuple(turns)
