"""What surrounds the server: a bundle mounted on the way, the unit, the engine from Python."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import runtime
from airgap.errors import AirgapError, UsageError
from runtime.engine.scheduler import StoppedError
from runtime.engine.speakers import choosing
from runtime.engine.speakers.diarizer import SpeakerHints
from runtime.engine.transcript import Turn
from runtime.server import errors
from runtime.server.errors import ApiError
from runtime.server.languages import NAMES, name_of


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (AirgapError("transcription by model 'x' failed: out of memory"), 500, "engine_error"),
        (RuntimeError("anything"), 500, "engine_error"),
        (StoppedError(), 503, "stopping"),
        (UsageError("'a.wav' is not audio", hint="give a WAV"), 400, "invalid_audio"),
        (errors.bad_key(), 401, "invalid_api_key"),
    ],
)
def test_an_engine_error_is_an_error_never_an_empty_text(
    error: Exception, status: int, code: str
) -> None:
    told: ApiError = errors.from_engine(error, "file")
    assert (told.status_code, told.code) == (status, code)
    assert told.body()["error"]["message"]
    assert "anything" not in told.detail, "an unforeseen error may quote what was said"


def test_every_language_of_whisper_has_a_name() -> None:
    from faster_whisper.tokenizer import _LANGUAGE_CODES  # noqa: PLC0415 - heavy

    assert set(NAMES) == set(_LANGUAGE_CODES)
    assert (name_of("ht"), name_of("yue"), name_of(None)) == ("haitian creole", "cantonese", "")


def test_the_unit_runs_this_very_command(place: Any) -> None:
    made = place.airgap("serve", "--port", "9000", "--max-upload", "64", "--print-unit")
    assert made.code == 0, made.err
    assert "serve --port 9000 --max-upload 64\n" in made.out
    assert "--print-unit" not in made.out
    assert f"ReadWritePaths={place.root}\n" in made.out
    assert "IPAddressDeny=any\nIPAddressAllow=localhost\n" in made.out
    open_to_all = place.airgap("serve", "--host", "0.0.0.0", "--print-unit")  # noqa: S104
    assert "IPAddressDeny" not in open_to_all.out


def test_systemd_takes_the_unit(place: Any, foreign: Callable[[str], str], tmp_path: Path) -> None:
    systemd_analyze = foreign("systemd-analyze")
    unit = tmp_path / "airgap.service"
    unit.write_text(place.airgap("serve", "--print-unit").out)
    judged = subprocess.run(
        [systemd_analyze, "verify", unit], capture_output=True, text=True, check=False
    )
    assert "Unknown" not in judged.stderr


@pytest.fixture
def trusting(demo_site: Any, place: Any) -> Any:
    """A machine that trusts alice and has nothing mounted."""
    shutil.copytree(demo_site.place.keys, place.keys)
    place.trust("alice", demo_site.fingerprint)
    return place


@pytest.mark.heavy
def test_a_bundle_is_verified_and_mounted_first(demo_site: Any, trusting: Any) -> None:
    log = trusting.folder / "log"
    with log.open("wb") as stderr:
        server = subprocess.Popen(
            [sys.executable, "-m", "airgap", "serve", demo_site.bundle, "--port", "0"],
            env=trusting.environment(),
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        while '"event": "ready"' not in log.read_text():
            assert server.poll() is None, log.read_text()
            time.sleep(0.05)
    finally:
        server.terminate()
    assert server.wait(30) == 0
    assert trusting.airgap("list", "--json").document["mounts"][0]["name"] == "demo"


@pytest.mark.heavy
def test_the_engine_in_three_lines(site: Any, jfk: Path) -> None:
    model = runtime.open("demo", root=site.place.root)
    assert "country" in model.transcribe(jfk).text
    with jfk.open("rb") as stream:
        text = "".join(segment.text for segment in model.segments(stream)).strip()
    assert "country" in text
    assert (model.name, model.bundle, model.languages) == ("tiny.en", "demo-1.0.0", ("en",))
    with pytest.raises(UsageError, match="expected 'ward' mounted in"):
        runtime.open("ward", root=site.place.root)


@pytest.mark.heavy
def test_speakers_from_python(
    speaking_site: Any, jfk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "data/speakers"))
    scripted = replace(choosing.BACK_ENDS[0], library="json", module="scripted_diarizer")
    monkeypatch.setattr(choosing, "BACK_ENDS", (scripted,))
    root = speaking_site.place.root
    model = runtime.open("speaking", root=root, diarization="auto")
    assert model.diarize(jfk) == (Turn(0, 4, "SPEAKER_00"), Turn(4, 11, "SPEAKER_01"))
    transcript = model.transcribe(jfk, speakers=SpeakerHints(number=2))
    assert transcript.turns == model.diarize(jfk)
    assert {part.speaker for part in transcript.segments} == {"SPEAKER_00", "SPEAKER_01"}
    assert model.transcribe(jfk).turns is None
    with pytest.raises(UsageError, match="expected a number, or bounds"):
        model.diarize(jfk, SpeakerHints(number=2, at_most=2))
    with pytest.raises(UsageError, match="cannot tell speakers apart"):
        runtime.open("speaking", root=root, diarization="nemo")
    deaf = runtime.open("speaking", root=root)
    with pytest.raises(UsageError, match="opened without diarization"):
        deaf.transcribe(jfk, speakers=SpeakerHints())
