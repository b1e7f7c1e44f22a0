"""`airgap runtime try`: all that a server of the bundle would load is asked for something."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.heavy

SAID = "ask what you can do for your country"


@pytest.fixture
def with_fault(speaking_site):
    """Runs the trial with something else in the place of the scripted back end."""

    def with_fault(usual: str, instead: str):
        flag, program = speaking_site.program
        assert usual in program
        site = type(speaking_site)(speaking_site.place, (flag, program.replace(usual, instead)))
        return site.airgap("runtime", "try", "speaking")

    return with_fault


def test_words_and_who_speaks(speaking_site):
    said = speaking_site.airgap("runtime", "try", "speaking")
    assert said.code == 0, said.err
    assert SAID in said.out
    assert "pyannote tells speakers apart; heard: 2" in said.err


def test_where_nothing_of_speakers_is_promised_words_will_do(speaking_site):
    said = speaking_site.airgap("runtime", "try", "demo")
    assert said.code == 0, said.err
    assert SAID in said.out
    assert "speakers" not in said.err


def test_a_runtime_without_the_library_that_is_promised_does_not_pass(with_fault):
    said = with_fault('library="json"', 'library="absent"')
    assert (said.code, said.out) == (2, "")
    assert "'speaking-1.0.0' tells speakers apart by pyannote, and absent is not" in said.err


def test_a_back_end_that_fails_does_not_pass(speaking_site):
    said = speaking_site.airgap("runtime", "try", "speaking", SCRIPTED_FAULT="fail")
    assert (said.code, said.out) == (1, "")
    assert "telling speakers apart by script failed" in said.err


def test_a_back_end_that_hears_nobody_does_not_pass(with_fault):
    deaf = "from scripted_diarizer import ScriptedDiarizer as deaf\ndeaf.diarize = lambda *_: ()\n"
    said = with_fault("sys.exit", f"{deaf}sys.exit")
    assert (said.code, said.out) == (1, "")
    assert "pyannote of 'speaking-1.0.0' heard nobody in the recording" in said.err
