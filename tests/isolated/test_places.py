"""Where things lie, for a user who has no home: a bare number, as containers have them."""

import pwd
from pathlib import Path

import pytest

from airgap import cli


def nobody_knows(_number: int) -> None:
    raise KeyError


@pytest.fixture
def without_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder to stay in: made before nobody is known any more, for it bears the user's name."""
    for name in ("HOME", "AIRGAP_ROOT", "AIRGAP_CACHE", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("airgap.places.SYSTEM_ROOT", "/nonexistent")
    monkeypatch.setattr(pwd, "getpwuid", nobody_knows)
    return tmp_path


@pytest.mark.usefixtures("without_a_home")
def test_a_user_without_a_home_is_told_what_to_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["list"]) == 2
    said = capsys.readouterr().err
    assert "has no home folder" in said
    assert "AIRGAP_ROOT" in said


def test_doctor_needs_no_home(
    without_a_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRGAP_ROOT", str(without_a_home))
    assert cli.run(["doctor"]) == 1
    assert "nothing is mounted" in capsys.readouterr().out
