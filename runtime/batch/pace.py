"""How far a run is and how long the rest will take, in seconds of audio."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from airgap.console import Progress


class StoppedError(Exception):
    """Somebody has stopped the run while this recording was heard."""


@dataclass
class Pace:
    """How far a run is.

    Attributes:
        total: seconds of all its recordings, as they say of themselves.
        done: of those that are over.
        bar: what a person sees of it.
    """

    total: float
    done: float
    bar: Progress
    stopped: threading.Event = field(default_factory=threading.Event)
    _started: float = field(default_factory=time.monotonic)
    _heard: float = 0.0

    def over(self, seconds: float, *, transcribed: bool) -> None:
        """A recording of so many seconds is done with."""
        self.done += seconds
        if transcribed:
            self._heard += seconds

    def sentence(self) -> str:
        """How much is done, and how long the rest will take if it goes on so."""
        told = f"{_clock(self.done)} of {_clock(self.total)} of audio"
        if not self._heard:
            return told
        left = (self.total - self.done) * (time.monotonic() - self._started) / self._heard
        return f"{told}, about {_clock(left)} to go"


class Share:
    """A recording's part of the bar: as many seconds as were expected of it, in the end."""

    def __init__(self, pace: Pace, seconds: float) -> None:
        self._pace, self._whole = pace, round(seconds)
        self._shown = 0

    def heard(self, seconds: float) -> None:
        """So much of it has been heard. Raises StoppedError where the run has been stopped."""
        if self._pace.stopped.is_set():
            raise StoppedError
        self._show(min(round(seconds), self._whole))

    def finish(self) -> None:
        """It is done with."""
        self._show(self._whole)

    def _show(self, seconds: int) -> None:
        self._pace.bar.advance(seconds - self._shown)
        self._shown = seconds


def _clock(seconds: float) -> str:
    """A length of audio, or of time, for a person: `1:02:03`, `4:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
