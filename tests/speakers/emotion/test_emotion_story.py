"""Emotion end to end: built, signed, mounted and heard by real commands, without a network."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytestmark = [pytest.mark.heavy, pytest.mark.speakers]

NON_COMMERCIAL = "CC-BY-NC-SA-4.0"
WARNING = f"tiny--dimensions may not be used commercially: its licence is {NON_COMMERCIAL}"


def test_a_build_loads_both_offline_and_says_what_a_licence_forbids(mood_site):
    _place, built = mood_site
    assert "Loaded offline: tiny--dimensions (transformers, " in built.err
    assert "Loaded offline: tiny--categories (transformers, " in built.err
    assert WARNING in built.err
    assert "models: loaded\n" in built.out


def test_emotion_of_real_speech_in_an_empty_network(mood_site, jfk, empty_network, tmp_path):
    place, _built = mood_site
    command = [sys.executable, "-m", "airgap", "transcribe", str(jfk), "-f", "json", "--emotion"]
    said = [
        subprocess.run(
            [*empty_network, *command],
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "AIRGAP_ROOT": str(place.root),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        for _again in range(2)
    ]
    assert said[0].returncode == 0, said[0].stderr
    assert "Running in OFFLINE mode" in said[0].stderr
    assert "Model loaded successfully: tiny--dimensions from moods-1.0.0" in said[0].stderr
    assert WARNING in said[0].stderr
    assert said[0].stdout == said[1].stdout  # the same bytes, run for run
    document = json.loads(said[0].stdout)
    assert "ask what you can do for your country" in document["text"]
    for segment in document["segments"]:
        emotion = segment["emotion"]
        assert all(0 < emotion[name] < 1 for name in ("arousal", "dominance", "valence"))
        assert set(emotion["categories"]) == {"angry", "calm", "happy", "sad"}
        assert sum(emotion["categories"].values()) == pytest.approx(1)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


BY_NAME = """
import sys
from transformers import AutoConfig, AutoFeatureExtractor, Wav2Vec2Model
for name in sys.argv[1:]:
    rate = AutoFeatureExtractor.from_pretrained(name).sampling_rate
    model = Wav2Vec2Model.from_pretrained(name)
    print(rate, AutoConfig.from_pretrained(name).num_labels, model.config.hidden_size)
"""


def test_transformers_finds_a_mounted_model_by_itself(mood_site, empty_network, tmp_path):
    """By its name on the hub, and by its plain folder."""
    place, _built = mood_site
    folder = place.root / "mounts/moods/current/emotion/tiny--dimensions"
    program = shlex.join([sys.executable, "-c", BY_NAME, "tiny/dimensions", str(folder)])
    done = subprocess.run(
        [*empty_network, "sh", "-c", f"{place.airgap('cache', 'env').out}\n{program}"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "16000 3 32\n" * 2


def test_nothing_is_said_of_emotion_where_nobody_asked(mood_site, jfk):
    place, _built = mood_site
    said = place.airgap("transcribe", jfk, "-f", "json")
    assert said.code == 0, said.err
    assert all("emotion" not in segment for segment in json.loads(said.out)["segments"])
    assert "tiny--" not in said.err


def test_a_bundle_without_emotion_models_is_an_error(demo_site, jfk, tmp_path):
    place = replace(demo_site.place, folder=tmp_path)
    shutil.copytree(demo_site.place.keys, place.keys)
    place.trust("alice", demo_site.fingerprint)
    assert place.airgap("mount", demo_site.bundle).code == 0
    out = tmp_path / "out"
    said = place.airgap("transcribe", jfk, "-f", "json", "--emotion", "--out", out)
    assert said.code == 2
    assert "error: expected a model of the role emotion in 'demo-1.0.0', found: none" in said.err
    assert "next: airgap list" in said.err
    assert list(out.iterdir()) == []


def test_a_format_without_a_place_for_it_is_an_error(mood_site, jfk):
    place, _built = mood_site
    said = place.airgap("transcribe", jfk, "-f", "srt", "--emotion")
    assert said.code == 2
    assert "error: srt has no place for --emotion" in said.err
    assert "next: --format json" in said.err


def test_one_flipped_byte_of_a_mounted_emotion_model_is_refused(mood_site, jfk, tmp_path):
    place, _built = mood_site
    own = replace(place, folder=tmp_path)
    shutil.copytree(place.root, own.root, symlinks=True)
    (named,) = own.root.glob("mounts/moods/generations/*/hf/hub/*/snapshots/*/model.safetensors")
    weights = named.resolve()
    assert weights.is_relative_to(own.root)
    weights.chmod(0o644)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    said = own.airgap("transcribe", jfk, "-f", "json", "--emotion")
    assert said.code == 3
    assert "is not what was signed: expected SHA-256 " in said.err
    assert said.out == ""


def test_a_checkpoint_with_another_head_is_never_signed(
    demo_site, make_tiny, write_profile, tmp_path: Path
):
    tiny = make_tiny(("angry", "sad"), "projection")
    place = replace(demo_site.place, folder=tmp_path)
    profile = write_profile(tmp_path, {"other": tiny})
    built = place.airgap("build", profile)
    assert built.code == 1
    assert "tiny--other would not load on the isolated host: " in built.err
    assert "its head is of no known kind" in built.err
    assert not (tmp_path / "moods-1.0.0").exists()
