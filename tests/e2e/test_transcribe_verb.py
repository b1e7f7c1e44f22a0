"""`airgap transcribe` on real speech with the real model, in processes of its own."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.heavy

SPOKEN = "ask what you can do for your country"


def test_text_is_the_only_thing_on_stdout(demo_host, jfk):
    said = demo_host.airgap("transcribe", jfk)
    assert said.code == 0, said.err
    assert SPOKEN in said.out.replace("\n", " ")
    assert said.out.startswith("And so")
    offline, loaded = said.err.splitlines()
    assert re.fullmatch(
        r"Running in OFFLINE mode: no network: seccomp filter, no new privileges, "
        r"no capabilities.*; \d+ escapes tried, none worked",
        offline,
    )
    (mount,) = demo_host.airgap("list", "--json").document["mounts"]
    assert re.fullmatch(
        r"Model loaded successfully: tiny\.en from demo-1\.0\.0 \(.*\); approval code "
        + mount["approval_code"],
        loaded,
    )


def test_formats_go_to_stdout_as_they_go_to_files(demo_host, jfk, tmp_path):
    """One run a format writes the file; stdout of a pipe must have the same bytes."""
    for name, extension in (("tsv", ".tsv"), ("srt", ".srt")):
        out = tmp_path / name
        written = demo_host.airgap("transcribe", jfk, "-f", name, "--out", out)
        assert written.code == 0, written.err
        printed = demo_host.airgap("transcribe", jfk, "-f", name)
        assert printed.out == (out / f"jfk{extension}").read_text()
    assert printed.out.startswith("1\n00:00:00,000 --> ")
    assert (tmp_path / "tsv" / "jfk.tsv").read_text().startswith("start\tend\ttext\n0\t")


def test_json_has_segments_and_words(demo_host, jfk):
    said = demo_host.airgap("transcribe", jfk, "-f", "json", "--word-timestamps")
    document = json.loads(said.out)
    assert SPOKEN in document["text"]
    assert document["model"] == "tiny.en"
    assert document["duration"] == pytest.approx(11, abs=0.1)
    words = [word for segment in document["segments"] for word in segment["words"]]
    assert [word["word"].strip(" ,.") for word in words[-2:]] == ["your", "country"]
    assert all(word["start"] <= word["end"] for word in words)
    origin = document["airgap"]
    assert origin["audio"] == {"sha256": hashlib.sha256(jfk.read_bytes()).hexdigest()}
    (mount,) = demo_host.airgap("list", "--json").document["mounts"]
    assert origin["bundle"]["name"] == mount["name"]
    assert origin["bundle"]["statement"] == mount["approval_code"].replace(" ", "")
    assert [len(one["commit"]) for one in origin["models"]] == [40]
    assert origin["options"]["word_timestamps"] is True


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        (("-f", "srt", "-f", "vtt"), {"m.srt", "m.vtt"}),
        (("--attest",), {"m.txt", "m.txt.attestation.json"}),
    ],
)
def test_what_standard_output_cannot_hold_lies_beside_the_recording(
    demo_host, jfk, tmp_path, options, texts
):
    shutil.copyfile(jfk, tmp_path / "m.wav")
    said = demo_host.airgap("transcribe", tmp_path / "m.wav", *options)
    assert said.code == 0, said.err
    assert said.out == ""
    assert {path.name for path in tmp_path.iterdir()} == {"m.wav", "airgap-run.json", *texts}


def test_vtt_of_several_files_lies_whole_in_a_folder(demo_host, jfk, tmp_path):
    other = tmp_path / "other.wav"
    shutil.copyfile(jfk, other)
    out = tmp_path / "deep" / "out"
    said = demo_host.airgap("transcribe", jfk, other, "-f", "vtt", "--out", out)
    assert said.code == 0, said.err
    assert said.out == ""
    names = ["airgap-run.json", "jfk.vtt", "other.vtt"]
    assert sorted(path.name for path in out.iterdir()) == names
    for path in out.glob("*.vtt"):
        assert path.read_text().startswith("WEBVTT\n\n00:00:00.000 --> ")
    assert f"wrote {out / 'other.vtt'} (" in said.err


def test_a_file_that_is_no_audio_ends_with_its_name(demo_host, tmp_path):
    bad = tmp_path / "letter.wav"
    bad.write_text("Dear Sir or Madam,\n" * 500)
    said = demo_host.airgap("transcribe", bad)
    assert said.code == 2
    assert f"error: '{bad}' is not audio that can be decoded: " in said.err
    assert said.out == ""


@pytest.mark.parametrize("load", ["buffer", "path"])
def test_both_ways_of_loading_hear_the_same(demo_host, jfk, load):
    said = demo_host.airgap("transcribe", jfk, "--verified-load", load, "--quiet")
    assert said.code == 0, said.err
    assert SPOKEN in said.out.replace("\n", " ")
    assert said.err == ""


@pytest.mark.parametrize("load", ["buffer", "path"])
def test_one_flipped_byte_of_the_mounted_model_is_refused(
    *, make_host, demo_site, jfk, model_file, load, tmp_path
):
    host = make_host()
    assert host.airgap("mount", demo_site.bundle).code == 0
    model = model_file(host)
    model.chmod(0o644)
    with model.open("r+b") as stream:
        stream.seek(40_000_000)
        byte = stream.read(1)[0]
        stream.seek(40_000_000)
        stream.write(bytes([byte ^ 1]))
    out = tmp_path / "out"
    said = host.airgap("transcribe", jfk, "--verified-load", load, "--out", out)
    assert said.code == 3
    assert f"error: '{model}' is not what was signed: expected SHA-256 " in said.err
    assert "next: airgap mount BUNDLE, once more" in said.err
    assert "Model loaded" not in said.err
    assert said.out == ""
    assert list(out.glob("*")) == []
    mended = host.airgap("mount", demo_site.bundle)  # what the hint says to do, helps
    assert mended.code == 0
    assert host.airgap("transcribe", jfk).code == 0


def test_a_stranger_in_the_models_folder_is_refused_by_path(make_host, demo_site, jfk, model_file):
    host = make_host()
    assert host.airgap("mount", demo_site.bundle).code == 0
    model_file(host).with_name("preprocessor_config.json").write_text('{"feature_size": 80}')
    said = host.airgap("transcribe", jfk, "--verified-load", "path")
    assert said.code == 3
    assert "and nobody signed it" in said.err
    assert host.airgap("transcribe", jfk).code == 0  # the buffers never see it


SWAPS = textwrap.dedent("""
    import sys
    from airgap import cli
    from runtime import loading
    hashed = loading.buffers
    def hashed_then_swapped(*given):
        found = hashed(*given)
        with open(SWAPPED, "r+b") as stream:
            stream.write(bytes(50_000_000))
        return found
    loading.buffers = hashed_then_swapped
    sys.exit(cli.run(sys.argv[1:]))
""")


def test_a_model_swapped_after_it_was_hashed_changes_nothing(make_host, demo_site, jfk, model_file):
    """RAUC CVE-2020-25860's class, at the last step: what was hashed is what the engine gets."""
    host = make_host()
    assert host.airgap("mount", demo_site.bundle).code == 0
    model = model_file(host)
    model.chmod(0o644)
    script = SWAPS.replace("SWAPPED", repr(str(model)))
    done = subprocess.run(
        [sys.executable, "-c", script, "transcribe", str(jfk)],
        env=host.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert SPOKEN in done.stdout.replace("\n", " ")
    assert model.read_bytes()[:1000] == bytes(1000)


def test_staying_in_the_network_is_warned_of(demo_host, jfk):
    said = demo_host.airgap("transcribe", jfk, "--allow-network", "--quiet")
    assert said.code == 0, said.err
    assert said.err == "warning: --allow-network: this process can reach a network\n"
    assert "OFFLINE" not in said.err


# What is refused before a model is loaded: quick.


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["/dev/null"], "'/dev/null' as audio: it is not a regular file", "copy it into one"),
        (["."], "would be written into the mounts", "--out FOLDER"),
        (["keys"], "no recording in the folder 'keys'", "name the files themselves"),
        ([], "there is nothing to transcribe", "airgap transcribe --help"),
        (["JFK", "--bundle", "ward"], "expected 'ward' mounted in ", "--bundle demo"),
        (["JFK", "--model", "large"], "expected 'large' of the role asr in", "--model tiny.en"),
        (["JFK", "--format", "docx"], "docx", "airgap transcribe --help"),
        (["*.none"], "no file fits the pattern '*.none'", "`**` stands for folders"),
        (["--from-file", "missing"], "cannot read 'missing' as a list of recordings: ", None),
    ],
)
def test_a_wrong_command_line_is_told_and_writes_nothing(
    *, demo_host, jfk, tmp_path, arguments, message, hint
):
    given = [str(jfk) if one == "JFK" else one for one in arguments]
    before = sorted(path.name for path in demo_host.folder.iterdir())
    said = demo_host.airgap("transcribe", *given)
    assert said.code == 2, said.err
    assert message in said.err
    assert hint is None or hint in said.err
    assert said.out == ""
    assert "Model loaded" not in said.err
    assert sorted(path.name for path in demo_host.folder.iterdir()) == before


def test_a_recording_that_is_not_there_is_told(demo_host):
    said = demo_host.airgap("transcribe", "missing.wav")
    assert said.code == 1
    assert said.out == ""
    assert said.err.splitlines() == [
        "error: cannot read 'missing.wav' as audio: No such file or directory",
        "  next: check the path, and that you may read it",
    ]


def test_a_folder_that_cannot_be_written_is_told_before_the_model_is_loaded(
    demo_host, jfk, tmp_path
):
    (tmp_path / "file").write_text("")
    said = demo_host.airgap("transcribe", jfk, "--out", tmp_path / "file")
    assert said.code == 1
    assert said.err.splitlines() == [
        f"error: cannot write into '{tmp_path / 'file'}': File exists",
        "  next: a file lies where a folder is to be: name another",
    ]


def test_a_host_with_nothing_mounted_names_the_next_step(fresh_place, jfk):
    said = fresh_place().airgap("transcribe", jfk)
    assert said.code == 2
    assert "found: none" in said.err
    assert "next: airgap mount BUNDLE" in said.err
