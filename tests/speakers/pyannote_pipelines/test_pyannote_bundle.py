"""The whole way of a pyannote pipeline: locked, scanned, loaded, packed, mounted, and heard."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.speakers, pytest.mark.heavy]

PIPELINE_3_1 = "speaker-diarization-3.1"
NAMES = {
    "$model/segmentation": "pyannote/segmentation-3.0",
    "$model/embedding": "pyannote/wespeaker-voxceleb-resnet34-LM",
    "    plda: $model/plda\n": "",
}


@pytest.fixture(scope="session")
def parts(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`tiny` as pyannote publishes the 3.1 pipeline: in four repositories."""
    folder = tmp_path_factory.mktemp("published")
    config = (tiny / "config.yaml").read_text()
    for old, new in NAMES.items():
        assert old in config
        config = config.replace(old, new)
    (folder / "pipeline").mkdir()
    (folder / "pipeline/config.yaml").write_text(config)
    for part in ("segmentation", "embedding"):
        shutil.copytree(tiny / part, folder / part)
        (folder / part / "config.yaml").write_text("model: {sample_rate: 16000}\n")
    shutil.copytree(tiny / "plda", folder / "community/plda")
    return {
        PIPELINE_3_1: folder / "pipeline",
        "segmentation-3.0": folder / "segmentation",
        "wespeaker-voxceleb-resnet34-lm": folder / "embedding",
        "community-1-plda": folder / "community",
    }


@pytest.fixture(scope="session")
def built_3_1(make_site: Any, parts: dict[str, Path]) -> Any:
    site = make_site("three-one", parts)
    done = site.build()
    assert done.code == 0, done.err
    for model in parts:
        assert f"Loaded offline: {model} (pyannote" in done.err
    return site


def test_3_1_from_mount_to_turns_where_there_is_no_network(
    built_3_1: Any,
    two_people: tuple[Path, Path],
    empty_network: list[str],
    tmp_path: Path,
) -> None:
    host = built_3_1.mounted(tmp_path)
    shutil.rmtree(tmp_path / "keys")
    home = tmp_path / "home"
    home.mkdir()
    recording = tmp_path / "three.wav"
    _cut(two_people[0], recording, seconds=3)
    done = subprocess.run(
        [
            *empty_network,
            *(sys.executable, "-m", "airgap", "transcribe", str(recording)),
            *("--diarization", "pyannote", "--format", "rttm"),
        ],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "AIRGAP_ROOT": str(host.root)},
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Speakers are told apart by pyannote: " in done.stderr
    speakers = {line.split()[7] for line in done.stdout.splitlines()}
    assert speakers == {"SPEAKER_00", "SPEAKER_01"}
    kept = {path.relative_to(home).parts[:2] for path in home.rglob("*") if path.is_file()}
    assert kept <= {(".cache", "matplotlib")}, "a list of fonts, by a library of pyannote's"


def test_3_1_served_to_who_asks_who_speaks(
    built_3_1: Any, jfk: Path, serving: Any, client_of: Any, *, tmp_path: Path
) -> None:
    host = built_3_1.mounted(tmp_path)
    with serving(host) as said, client_of(said) as client, jfk.open("rb") as stream:
        ask = client.audio.transcriptions.create
        one = {"file": stream, "model": "whisper-1"}
        turns = ask(**one, response_format="diarized_json")
        stream.seek(0)
        whole = ask(**one, response_format="verbose_json", extra_body={"diarize": True})
    assert "ask what you can do for your country" in turns.text
    assert {segment.speaker for segment in turns.segments} <= {"SPEAKER_00", "SPEAKER_01"}
    assert [segment.speaker for segment in whole.segments] == [
        segment.speaker for segment in turns.segments
    ]
    assert said["loaded"].startswith("Speakers are told apart by pyannote: ")


PLAIN = """
import sys, warnings
warnings.simplefilter("ignore")
import torch
from pyannote.audio import Pipeline
noise = {"waveform": torch.randn(1, 32000), "sample_rate": 16000}
heard = Pipeline.from_pretrained(sys.argv[1])(noise)
print(*heard.speaker_diarization.labels())
"""


def test_3_1_after_a_plain_untar_with_pyannote_alone(
    built_3_1: Any, foreign: Callable[[str], str], tmp_path: Path
) -> None:
    subprocess.run([foreign("tar"), "--zstd", "-xf", built_3_1.bundle], cwd=tmp_path, check=True)
    folder = tmp_path / "diarization" / PIPELINE_3_1
    assert [path.name for path in folder.iterdir()] == ["config.yaml"]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "PYANNOTE_METRICS_ENABLED": "0",
    }
    # By its folder; and by its name, through the hub's own cache layout.
    for name, home in ((str(folder), "nowhere"), (f"pyannote/{PIPELINE_3_1}", "hf")):
        done = subprocess.run(
            [sys.executable, "-c", PLAIN, name],
            env={**environment, "HF_HOME": str(tmp_path / home)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["SPEAKER_00", "SPEAKER_01"]


@pytest.mark.parametrize("name", ["diarization/FOLDER", f"pyannote/{PIPELINE_3_1}"])
def test_3_1_from_a_mount_with_pyannote_alone(
    name: str, built_3_1: Any, empty_network: list[str], tmp_path: Path
) -> None:
    """By its plain folder, and by its name."""
    host = built_3_1.mounted(tmp_path)
    mount = host.root / "mounts/three-one/current"
    for role in ("segmentation-3.0", "wespeaker-voxceleb-resnet34-lm"):
        assert (mount / "diarization" / role / "pytorch_model.bin").is_file()
    asked = name.replace("diarization/FOLDER", str(mount / "diarization" / PIPELINE_3_1))
    program = shlex.join([sys.executable, "-c", PLAIN, asked])
    done = subprocess.run(
        [*empty_network, "sh", "-c", f"{host.airgap('cache', 'env').out}\n{program}"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["SPEAKER_00", "SPEAKER_01"]


def test_the_officer_sees_the_derived_configuration(built_3_1: Any) -> None:
    manifest = json.loads((built_3_1.bundle.parent / "manifest.json").read_text())
    [derived] = [one for one in manifest["derived"] if one["rule"] == "pyannote-local-pipeline"]
    assert derived["path"] == f"diarization/{PIPELINE_3_1}/config.yaml"
    assert len(derived["sources"]) == 4
    assert manifest["features"] == {"diarization_enabled": True}
    assert manifest["dry_load"] == {"verdict": "loaded", "exempt": []}


def test_a_part_that_does_not_load_is_never_signed(
    make_site: Any, parts: dict[str, Path], tmp_path: Path
) -> None:
    """Two arrays that are sound, and no PLDA."""
    broken = shutil.copytree(parts["community-1-plda"], tmp_path / "broken")
    shutil.copyfile(broken / "plda/plda.npz", broken / "plda/xvec_transform.npz")
    site = make_site("broken", {**parts, "community-1-plda": broken})
    others = ("diarization", "segmentation", "speaker-embedding")
    done = site.build(*(f"--skip-dry-load={role}" for role in others))
    assert done.code == 1, done.err
    assert "community-1-plda would not load on the isolated host" in done.err
    assert not site.bundle.exists()


def test_a_pipeline_without_its_plda_is_never_signed(
    make_site: Any, parts: dict[str, Path]
) -> None:
    site = make_site("no-plda", {name: parts[name] for name in parts if name != "community-1-plda"})
    done = site.build()
    assert done.code == 2
    assert "would reach for a hub: its 'plda' is none" in done.err
    assert "- plda: community-1-plda" in done.err
    assert not site.bundle.exists()


@pytest.fixture
def real(
    make_site: Any, borrowed: Path, architectures: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """A bundle of real weights, whose models the processes of this test can import."""
    monkeypatch.setenv("PYTHONPATH", str(architectures))
    site = make_site("borrowed", {"community-1": borrowed})
    done = site.build()
    assert done.code == 0, done.err
    return site


def test_real_weights_say_who_said_what(
    real: Any, two_people: tuple[Path, Path], tmp_path: Path
) -> None:
    """By the command, from a mount: most words go to whoever says them by pyannote's own RTTM."""
    host = real.mounted(tmp_path)
    options = ("--diarization", "pyannote", "--speakers", "2", "--format", "json")
    options += ("--word-timestamps",)
    heard = host.airgap("transcribe", two_people[0], *options)
    assert heard.code == 0, heard.err
    words = [word for part in json.loads(heard.out)["segments"] for word in part.get("words", [])]
    assert len(words) > 40
    said = [line.split() for line in two_people[1].read_text().splitlines()]
    right = max(
        sum(
            any(
                who == mapping[word["speaker"]]
                and float(start) <= (word["start"] + word["end"]) / 2 <= float(start) + float(span)
                for _, _, _, start, span, _, _, who, *_ in said
            )
            for word in words
            if word["speaker"] in mapping
        )
        for mapping in _mappings({line[7] for line in said})
    )
    assert right / len(words) > 0.85


def _mappings(people: set[str]) -> list[dict[str, str]]:
    first, second = sorted(people)
    labels = ("SPEAKER_00", "SPEAKER_01")
    return [dict(zip(labels, order, strict=True)) for order in ((first, second), (second, first))]


def _cut(source: Path, target: Path, seconds: int) -> None:
    import wave

    with wave.open(str(source)) as whole, wave.open(str(target), "wb") as part:
        part.setparams(whole.getparams())
        part.writeframes(whole.readframes(seconds * whole.getframerate()))
