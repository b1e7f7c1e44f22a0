"""NeMo models all the way: locked, scanned, dry-loaded, signed, mounted, and asked who speaks."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bundler.scan.files import judge_file
from runtime import layouts

pytestmark = [pytest.mark.speakers, pytest.mark.heavy]

WRONG = "EncDecSpeakerLabelModel: expected EncDecFrameClassificationModel or"

TRAP = """\
raise OSError("libcudart.so.13: cannot open shared object file")
"""

ASKED = """\
import sys
from pathlib import Path
from airgap.errors import AirgapError
from runtime.engine.hardware import Hardware
from runtime.engine.speakers import nemo
assert "torch" not in sys.modules, "paid before it is used"
try:
    nemo.load({role: Path(folder) for role, folder in zip(sys.argv[1::2], sys.argv[2::2])},
              Hardware("cpu", "float32", 1))
except AirgapError as error:
    print(error.message, error.hint, sep=" | ")
else:
    print([name for name in sys.modules if name.startswith("pyannote.")])
"""


def child(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, **environment},
    )


def dry_loaded(role: str, folder: Path) -> dict[str, Any]:
    done = child("-m", "bundler.dryload_child", "nemo", role, folder)
    answer: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == ("error" in answer), done.stderr
    return answer


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("vad", "frames"),
        ("vad", "windows"),
        ("speaker-embedding", "titanet"),
        ("diarization", "streaming"),
    ],
)
def test_each_role_loads_without_a_network(
    role: str, name: str, models: Mapping[str, Path]
) -> None:
    assert dry_loaded(role, models[name])["peak"] > 0


@pytest.mark.parametrize(
    ("role", "name", "said"),
    [
        ("vad", "titanet", WRONG),
        ("diarization", "windows", "EncDecClassificationModel: expected SortformerEncLabelModel"),
        ("segmentation", "frames", "no use for a model of NeMo's as 'segmentation'"),
    ],
)
def test_a_model_in_a_wrong_role_does_not_load(
    role: str, name: str, said: str, models: Mapping[str, Path]
) -> None:
    assert said in dry_loaded(role, models[name])["error"]


def test_what_nemo_writes_is_harmless(models: Mapping[str, Path], marblenet: Path) -> None:
    for folder in (*models.values(), marblenet):
        judged = judge_file(folder / "model.nemo", "model.nemo")
        assert (judged.kind, judged.findings) == ("tar", ()), folder


def test_only_nemo_is_imported_and_only_when_it_loads(models: Mapping[str, Path]) -> None:
    words = ("speaker-embedding", models["titanet"], "vad", models["frames"])
    done = child("-c", ASKED, *words)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_a_torchaudio_of_another_torch_is_named(models: Mapping[str, Path], tmp_path: Path) -> None:
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio/__init__.py").write_text(TRAP)
    words = ("speaker-embedding", models["titanet"], "vad", models["frames"])
    done = child("-c", ASKED, *words, PYTHONPATH=str(tmp_path))
    assert "libcudart.so.13" in done.stdout, done.stderr
    assert done.stdout.endswith("| where torch is for CPUs: python -m runtime.torchaudio_cpu\n")


def test_nemo_that_is_not_installed_is_named(models: Mapping[str, Path]) -> None:
    absent = f"import sys; sys.modules['nemo'] = None\n{ASKED}"
    words = ("speaker-embedding", models["titanet"], "vad", models["frames"])
    done = child("-c", absent, *words)
    assert "pip install 'airgap-bundler[nemo]'" in done.stdout, done.stderr


@pytest.fixture(scope="module")
def heard(
    *,
    make_site: Any,
    models: Mapping[str, Path],
    marblenet: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """A host with Whisper, a TitaNet under its published file name, weights of torch's, mounted."""
    import torch

    titanet = tmp_path_factory.mktemp("titanet")
    name = "speakerverification_en_titanet_large.nemo"
    shutil.copyfile(models["titanet"] / "model.nemo", titanet / name)
    torch.save({"weight": torch.arange(3.0)}, titanet / "voices.pt")
    named = {"titanet-large": titanet, "marblenet-frame-vad": marblenet}
    site = make_site("heard", named, "nemo")
    built = site.build()
    assert built.code == 0, built.err
    assert "Loaded offline: titanet-large (nemo" in built.err
    return site.mounted(tmp_path_factory.mktemp("host"))


def test_from_the_lock_to_who_speaks(heard: Any, jfk: Path, empty_network: list[str]) -> None:
    said = subprocess.run(
        [
            *empty_network,
            *(sys.executable, "-m", "airgap", "transcribe", str(jfk)),
            *("--diarization", "nemo", "--speakers", "1", "--format", "rttm"),
        ],
        cwd=heard.folder,
        env=heard.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    lines = said.stdout.splitlines()
    assert lines
    assert all(line.split()[:2] == ["SPEAKER", "jfk"] for line in lines)
    assert {line.split()[7] for line in lines} == {"SPEAKER_00"}
    assert "nemo" in said.stderr


def test_served_to_who_asks_who_speaks(heard: Any, jfk: Path, serving: Any, client_of: Any) -> None:
    with serving(heard) as said, client_of(said) as client, jfk.open("rb") as stream:
        ask = client.audio.transcriptions.create
        one = {"file": stream, "model": "whisper-1", "extra_body": {"num_speakers": 1}}
        turns = ask(**one, response_format="diarized_json")
        stream.seek(0)
        one["extra_body"] = {"num_speakers": 1, "diarize": True}
        whole = ask(**one, response_format="verbose_json")
    assert {segment.speaker for segment in turns.segments} == {"SPEAKER_00"}
    assert "ask what you can do for your country" in turns.text
    assert {segment.speaker for segment in whole.segments} == {"SPEAKER_00"}
    assert said["loaded"].startswith("Speakers are told apart by nemo: ")


def test_tried_with_all_that_it_promises(heard: Any, jfk: Path) -> None:
    said = heard.airgap("runtime", "try", "--sample", jfk)
    assert said.code == 0, said.err
    assert "ask what you can do for your country" in said.out
    assert "nemo tells speakers apart; heard: " in said.err


BY_NAME = """
import logging, sys, warnings
warnings.simplefilter("ignore")
import torch
from pathlib import Path
from nemo.collections.asr.models import EncDecSpeakerLabelModel as Model
published = "speakerverification_en_titanet_large"
found = [
    Model.from_pretrained(f"nvidia/{published}", map_location="cpu"),
    Model.from_pretrained("titanet_large", map_location="cpu"),
    Model.restore_from(f"{sys.argv[1]}/{published}.nemo", map_location="cpu"),
]
print("same", len({one.state_dict()["decoder.final.weight"].sum().item() for one in found}))
weights = torch.hub.load_state_dict_from_url("https://example.org/releases/voices.pt")
print("weights", weights["weight"].tolist())
"""


def test_nemo_and_torch_find_their_models_by_name(
    heard: Any, empty_network: list[str], tmp_path: Path
) -> None:
    """Of the hub and of NGC, by path, and by an address; with the libraries alone."""
    mount = heard.root / "mounts/heard/current"
    before = set(mount.resolve().rglob("*"))
    folder = mount / "diarization/titanet-large"
    program = shlex.join([sys.executable, "-c", BY_NAME, str(folder)])
    variables = heard.airgap("cache", "env").out
    done = subprocess.run(
        [*empty_network, "sh", "-c", f"{variables}\n{program}"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith(("same", "weights"))] == [
        "same 1",
        "weights [0.0, 1.0, 2.0]",
    ]
    assert set(mount.resolve().rglob("*")) == before


NGC = """
import hashlib
from pathlib import PurePosixPath
from nemo.collections.asr import models
for kind in (
    models.EncDecSpeakerLabelModel,
    models.EncDecClassificationModel,
    models.EncDecFrameClassificationModel,
):
    for one in kind.list_available_models():
        key = hashlib.md5((one.location + one.description).encode()).hexdigest()
        print("NGC", PurePosixPath(one.location).name, key)
"""


def test_the_keys_of_nemos_cache_are_those_of_this_nemo() -> None:
    done = child("-c", NGC)
    known = {tuple(line.split()[1:]) for line in done.stdout.splitlines() if line[:4] == "NGC "}
    assert set(layouts._NGC.items()) <= known, done.stderr
