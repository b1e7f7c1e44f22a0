"""`airgap transcribe` where speakers are asked for, with a back end that follows a script."""

from __future__ import annotations

import json

import pytest
import srt

pytestmark = pytest.mark.heavy

FIRST, LAST = "And so, my fellow Americans", "for your country."


def test_every_line_has_its_speaker(speaking_site, jfk):
    said = speaking_site.airgap("transcribe", jfk, "--bundle", "speaking", "--diarization", "auto")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[0].startswith(f"SPEAKER_00: {FIRST}")
    assert lines[-1].startswith("SPEAKER_01: ")
    assert lines[-1].endswith(LAST)
    assert "Speakers are told apart by pyannote: two-voices from speaking-1.0.0; app" in said.err


def test_who_does_not_ask_gets_the_same_text_without_speakers(speaking_site, jfk):
    asked = speaking_site.airgap(
        "transcribe", jfk, "--bundle", "speaking", "--speakers", "2", "-f", "json"
    )
    plain = speaking_site.airgap("transcribe", jfk, "--bundle", "speaking", "-f", "json")
    asked, plain = json.loads(asked.out), json.loads(plain.out)
    assert asked["text"] == plain["text"]
    assert {part["speaker"] for part in asked["segments"]} == {"SPEAKER_00", "SPEAKER_01"}
    assert all(part["words"] == [] for part in asked["segments"]), "nobody asked for word times"
    assert asked["turns"][1] == {"start": 4.0, "end": 11.0, "speaker": "SPEAKER_01"}
    assert "turns" not in plain
    assert not any("speaker" in part for part in plain["segments"])


@pytest.mark.parametrize(
    ("name", "extension", "begins"),
    [
        ("rttm", ".rttm", "SPEAKER jfk 1 0.000 4.000 <NA> <NA> SPEAKER_00 <NA> <NA>\n"),
        ("vtt", ".vtt", "WEBVTT\n\n00:00:00.000 --> "),
        ("diarized_json", ".diarized.json", '{\n  "task": "transcribe"'),
    ],
)
def test_formats_in_a_folder(speaking_site, jfk, tmp_path, *, name, extension, begins):
    said = speaking_site.airgap(
        *("transcribe", jfk, "--bundle", "speaking", "--diarization", "pyannote"),
        *("-f", name, "--out", tmp_path),
    )
    assert said.code == 0, said.err
    assert (tmp_path / f"jfk{extension}").read_text().startswith(begins)


def test_words_have_their_speakers_where_both_are_asked(speaking_site, jfk):
    said = speaking_site.airgap(
        *("transcribe", jfk, "--bundle", "speaking", "--max-speakers", "2"),
        *("-f", "json", "--word-timestamps"),
    )
    segments = json.loads(said.out)["segments"]
    for part in segments:
        assert {word["speaker"] for word in part["words"]} == {part["speaker"]}
        assert "".join(word["word"] for word in part["words"]) == part["text"]
        for word in part["words"]:
            if word["end"] < 4:
                assert word["speaker"] == "SPEAKER_00"


def test_a_back_end_that_fails_leaves_no_transcript(speaking_site, jfk, tmp_path):
    said = speaking_site.airgap(
        *("transcribe", jfk, "--bundle", "speaking", "--diarization", "auto", "--out", tmp_path),
        SCRIPTED_FAULT="fail",
    )
    assert said.code == 1
    assert "warning: telling speakers apart by script failed (1 of 1; " in said.err
    assert said.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["airgap-run.json"]


def test_a_hint_that_the_back_end_cannot_honour_is_told(speaking_site, jfk):
    said = speaking_site.airgap("transcribe", jfk, "--bundle", "speaking", "--speakers", "3")
    assert said.code == 2
    assert "expected at most 2 speakers, found 3" in said.err
    assert said.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--diarization", "none", "-f", "rttm"), "--format rttm says who speaks, and"),
        (("--diarization", "none", "--speakers", "2"), "--speakers and the like ask who speaks"),
        (("--speakers", "0"), "speakers (number): expected 1 or more, found 0"),
        (("--speakers", "2", "--max-speakers", "3"), "expected a number, or bounds, found both"),
        (("--min-speakers", "3", "--max-speakers", "2"), "the least, 3, is above the most, 2"),
        (("--diarization", "kaldi"), "kaldi"),
        (("--bundle", "demo", "--diarization", "auto"), "'demo-1.0.0' cannot tell speakers apart"),
        (("--bundle", "demo", "-f", "rttm"), "'demo-1.0.0' cannot tell speakers apart"),
        (("--bundle", "speaking", "--diarization", "nemo"), "cannot tell speakers apart"),
    ],
)
def test_what_cannot_be_is_told_before_a_model_is_loaded(
    speaking_site, jfk, tmp_path, *, arguments, message
):
    said = speaking_site.airgap("transcribe", jfk, *arguments, "--out", tmp_path)
    assert said.code == 2, said.err
    assert message in said.err
    assert "Model loaded" not in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_script_that_was_changed_in_the_store_is_refused(speaking_site, jfk, tmp_path):
    """The private copy is made of signed bytes or not at all, and nothing of it stays."""
    current = speaking_site.place.root / "mounts/speaking/current"
    model = (current / "diarization/two-voices/turns.json").resolve()
    before = model.read_bytes()
    model.chmod(0o644)
    model.write_bytes(before.replace(b"4.0", b"5.0"))
    try:
        said = speaking_site.airgap(
            *("transcribe", jfk, "--bundle", "speaking", "--diarization", "auto"),
            TMPDIR=str(tmp_path),
        )
    finally:
        model.write_bytes(before)
        model.chmod(0o444)
    assert said.code == 3
    assert f"error: '{model}' is not what was signed: expected SHA-256 " in said.err
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


def test_the_audit_log_names_every_model_that_answered(speaking_site, jfk):
    said = speaking_site.airgap(
        "transcribe", jfk, "--bundle", "speaking", "--diarization", "auto", "-f", "srt"
    )
    assert len({cue.content[:10] for cue in srt.parse(said.out)}) == 2
    log = speaking_site.place.airgap("audit", "show", "--json")
    assert log.code == 0, log.err
    assert "two-voices" in log.out
