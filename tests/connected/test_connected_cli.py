"""The verbs `plan`, `lock` and `fetch` as they are typed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from airgap.errors import AirgapError, UsageError
from bundler.cli import register
from bundler.lock import Lock

PROFILE = """\
profile: 1
name: my-site
description: A Whisper
device: cpu
diarization: none
models:
- asr: tiny
"""


@pytest.fixture
def profile(tmp_path: Path, hub: Any, whisper: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    path = tmp_path / "my-site.yaml"
    path.write_text(PROFILE)
    return path


def run(*words: object) -> Any:
    app = typer.Typer()
    register(app)
    answer = CliRunner().invoke(app, [str(word) for word in words])
    if answer.exception and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer


def test_lock_then_fetch_then_nothing_left_to_do(profile: Path, hub: Any, tmp_path: Path) -> None:
    first = run("lock", profile)
    assert first.exit_code == 0
    assert "+ tiny  Systran/faster-whisper-tiny@01234567, 4 files, 1.0 MB" in first.stdout
    written = (tmp_path / "my-site.lock.yaml").read_bytes()
    assert Lock.parse(written, "l").to_bytes() == written
    assert "Locked my-site 1.0.0 (sequence 1)" in first.stderr

    again = run("lock", profile)
    assert again.stdout == ""
    assert "Unchanged: my-site 1.0.0 (sequence 1)" in again.stderr
    assert (tmp_path / "my-site.lock.yaml").read_bytes() == written

    assert "Model downloaded successfully: tiny" in run("fetch", profile).stderr
    hub.asked.clear()
    document = json.loads(run("fetch", profile, "--json", "--quiet").stdout)
    assert (document["schema"], document["downloaded"]) == ("airgap/fetch/v1", 0)
    assert all(Path(path).is_file() for path in document["files"].values())
    assert hub.asked == []


def test_a_lock_by_hand_keeps_its_bytes_while_nothing_changes(
    profile: Path, tmp_path: Path
) -> None:
    run("lock", profile)
    place = tmp_path / "my-site.lock.yaml"
    edited = place.read_bytes() + b"# checked by the officer\n"
    place.write_bytes(edited)
    run("lock", profile)
    assert place.read_bytes() == edited


def test_lock_as_a_document(profile: Path, whisper: Any) -> None:
    run("lock", profile)
    whisper.files["config.json"] = b"{}"
    document = json.loads(run("lock", profile, "--json").stdout)
    assert (document["schema"], document["version"]) == ("airgap/lock/v1", "1.0.1")
    assert (document["sequence"], document["written"], document["missing"]) == (2, True, [])
    assert [change["what"] for change in document["changes"]] == ["tiny/config.json"]


def test_a_sequence_that_goes_back_is_warned_of(profile: Path) -> None:
    run("lock", profile, "--sequence", 9)
    answer = run("lock", profile, "--sequence", 3, "--quiet")
    assert "warning: sequence 3 is not above 9" in answer.stderr


def test_a_failed_lock_leaves_the_old_one(profile: Path, tmp_path: Path, whisper: Any) -> None:
    run("lock", profile)
    written = (tmp_path / "my-site.lock.yaml").read_bytes()
    del whisper.files["tokenizer.json"]
    with pytest.raises(AirgapError, match=r"no tokenizer\.json"):
        run("lock", profile)
    assert (tmp_path / "my-site.lock.yaml").read_bytes() == written
    assert {path.name for path in tmp_path.iterdir()} >= {"my-site.yaml", "my-site.lock.yaml"}
    assert not list(tmp_path.glob(".*"))


def test_plan_reaches_no_network(profile: Path, hub: Any) -> None:
    run("lock", profile)
    hub.asked.clear()
    assert "tiny" in run("plan", profile).stdout
    document = json.loads(run("plan", profile, "--json").stdout)
    assert (document["schema"], document["name"]) == ("airgap/plan/v1", "my-site")
    assert document["hosts"] == ["127.0.0.1"]
    assert hub.asked == []


@pytest.mark.parametrize("verb", ["plan", "fetch"])
def test_what_is_not_locked_says_how(verb: str, profile: Path) -> None:
    with pytest.raises(UsageError, match="is not locked") as caught:
        run(verb, profile)
    assert caught.value.hint == f"airgap lock {profile}"


@pytest.mark.parametrize("words", [("--version", "../x"), ("--version", "A")])
def test_a_version_that_is_none(words: tuple[str, ...], profile: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a version"):
        run("lock", profile, *words)
    assert not (tmp_path / "my-site.lock.yaml").exists()


@pytest.mark.parametrize("verb", ["lock", "fetch"])
def test_without_the_extra_a_verb_says_so(
    verb: str, profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *more: None if name == "huggingface_hub" else real(name, *more),
    )
    with pytest.raises(UsageError, match=f"`airgap {verb}` belongs to the connected") as caught:
        run(verb, profile)
    assert caught.value.hint == "pip install 'airgap-bundler[bundler]'"


@pytest.mark.parametrize("verb", ["plan", "lock", "fetch"])
def test_help_has_an_example(verb: str) -> None:
    _before, examples, after = run(verb, "--help").stdout.partition("Examples:")
    assert examples
    assert f"airgap {verb} " in after
