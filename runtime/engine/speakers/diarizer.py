"""What every back end is asked, and what it answers: samples -> turns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from airgap.errors import UsageError
from runtime.engine.transcript import Turn

if TYPE_CHECKING:  # hints are checked before the network is left, when nothing heavy may be there
    from runtime.engine.audio import Samples


@dataclass(frozen=True, slots=True)
class SpeakerHints:
    """What is known about the speakers of a recording; None where it is not.

    Attributes:
        number: exactly so many.
        at_least, at_most: bounds, where the number is not known.
    """

    number: int | None = None
    at_least: int | None = None
    at_most: int | None = None

    def check(self) -> None:
        """Raise UsageError where they contradict each other or themselves."""
        for name, value in (("number", self.number), ("min", self.at_least), ("max", self.at_most)):
            if value is not None and value < 1:
                raise UsageError(f"speakers ({name}): expected 1 or more, found {value}")
        if self.number is not None and (self.at_least, self.at_most) != (None, None):
            raise UsageError("speakers: expected a number, or bounds, found both")
        if self.at_least is None or self.at_most is None:
            return
        if self.at_least > self.at_most:
            raise UsageError(
                f"speakers: the least, {self.at_least}, is above the most, {self.at_most}"
            )


class Diarizer(Protocol):
    """A loaded back end.

    Attributes:
        name: of the back end: `nemo`, `sortformer` or `pyannote`.
        most: the most speakers that it can tell apart; None where it has no such bound.
    """

    name: str
    most: int | None

    def diarize(self, samples: Samples, hints: SpeakerHints) -> tuple[Turn, ...]:
        """Who speaks when: labels as `Turn` says, sorted by start, empty where nobody speaks.

        Args:
            samples: 16 kHz mono float32.
            hints: checked before; a hint that the back end cannot honour is an error, never
                ignored.

        Raises:
            UsageError: it cannot honour a hint, or the recording is too short for it.
            AirgapError: the back end failed; there is no partial result.
        """
        ...
