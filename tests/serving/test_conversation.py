"""An engine and a back end on one recording: in either order, whole, or an error."""

from dataclasses import replace
from typing import Any

import pytest

from airgap.errors import AirgapError, UsageError
from runtime.engine.audio import Samples
from runtime.engine.hardware import Hardware
from runtime.engine.options import TranscribeOptions
from runtime.engine.speakers import conversation
from runtime.engine.speakers.conversation import Conversation
from runtime.engine.speakers.diarizer import SpeakerHints
from runtime.engine.transcript import Turn
from runtime.engine.whisper import WhisperEngine

TURNS = (Turn(0.0, 4.0, "SPEAKER_00"), Turn(4.0, 11.0, "SPEAKER_01"))
CERTAIN = TranscribeOptions(temperatures=(0.0,))


class Heard:
    """A back end that hears these turns, or fails."""

    name = "script"
    most = None

    def __init__(self, fault: Exception | None = None) -> None:
        self.calls: list[SpeakerHints] = []
        self._fault = fault

    def diarize(self, samples: Samples, hints: SpeakerHints) -> tuple[Turn, ...]:
        self.calls.append(hints)
        if self._fault:
            raise self._fault
        return TURNS


@pytest.fixture(params=["after", "at once"])
def order(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(conversation, "overlaps", lambda _hardware: request.param == "at once")
    return str(request.param)


@pytest.mark.parametrize(
    ("device", "cores", "at_once"), [("cpu", 2, False), ("cpu", 8, True), ("cuda", 1, True)]
)
def test_the_hardware_decides(
    *, monkeypatch: pytest.MonkeyPatch, device: str, cores: int, at_once: bool
) -> None:
    monkeypatch.setattr(conversation.os, "sched_getaffinity", lambda _pid: set(range(cores)))
    assert conversation.overlaps(Hardware(device, "int8", 1)) is at_once


@pytest.mark.heavy
@pytest.mark.parametrize("words", [True, False])
def test_both_ways_give_the_same(
    *, tiny_engine: WhisperEngine, speech: Samples, order: str, words: bool
) -> None:
    back_end = Heard()
    options = replace(CERTAIN, word_timestamps=words)
    told: list[float] = []
    both = Conversation(tiny_engine, back_end)
    found = both.transcribe(speech, options, SpeakerHints(number=2), told.append)
    assert found.text == tiny_engine.transcribe(speech, replace(CERTAIN, word_timestamps=True)).text
    assert found.turns == TURNS
    assert (found.segments[0].speaker, found.segments[-1].speaker) == ("SPEAKER_00", "SPEAKER_01")
    assert all(bool(part.words) is words for part in found.segments)
    assert back_end.calls == [SpeakerHints(number=2)]
    assert told[-1] == 11.0


@pytest.mark.heavy
@pytest.mark.parametrize("fault", [AirgapError("it broke"), UsageError("it is too short")])
def test_a_back_end_that_fails_is_an_error(
    *, tiny_engine: WhisperEngine, speech: Samples, order: str, fault: AirgapError
) -> None:
    with pytest.raises(type(fault), match=fault.message):
        Conversation(tiny_engine, Heard(fault)).transcribe(speech, CERTAIN, SpeakerHints())


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("options", "hints", "message"),
    [
        (replace(CERTAIN, language="de"), SpeakerHints(), "English-only"),
        (CERTAIN, SpeakerHints(number=0), "expected 1 or more, found 0"),
    ],
)
def test_what_cannot_be_is_refused_before_either_works(
    *,
    tiny_engine: WhisperEngine,
    speech: Samples,
    order: str,
    options: Any,
    hints: Any,
    message: str,
) -> None:
    back_end = Heard()
    with pytest.raises(UsageError, match=message):
        Conversation(tiny_engine, back_end).transcribe(speech, options, hints)
    assert back_end.calls == []
