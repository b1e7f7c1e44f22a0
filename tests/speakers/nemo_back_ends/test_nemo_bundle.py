"""NeMo models all the way: locked, scanned, dry-loaded, signed, mounted, and asked who speaks."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airgap.digest import sha256_file
from bundler.lock import Lock, LockedFile, LockedModel
from bundler.profile import Profile
from bundler.scan.files import judge_file
from bundler.sources.local import Local
from runtime import layouts

pytestmark = [pytest.mark.speakers, pytest.mark.heavy]

PROFILE = """\
profile: 1
name: heard
description: Kennedy, and who speaks
device: cpu
diarization: nemo
models:
  - asr: tiny.en
  - speaker-embedding: nvidia/titanet-l
  - vad: nvidia/marblenet
"""
COMMIT = "0123456789" * 4
WRONG = "EncDecSpeakerLabelModel: expected EncDecFrameClassificationModel or"

TRAP = """\
raise OSError("Could not load this library: /site-packages/torchaudio/lib/_torchaudio.abi3.so")
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
    assert "torchaudio is built for another torch | delete the .so files" in done.stdout, (
        done.stderr
    )


def test_nemo_that_is_not_installed_is_named(models: Mapping[str, Path]) -> None:
    absent = f"import sys; sys.modules['nemo'] = None\n{ASKED}"
    words = ("speaker-embedding", models["titanet"], "vad", models["frames"])
    done = child("-c", absent, *words)
    assert "pip install 'airgap-bundler[nemo]'" in done.stdout, done.stderr


def locked(name: str, role: str, folder: Path) -> LockedModel:
    files = tuple(
        LockedFile(path.name, path.stat().st_size, sha256_file(path))
        for path in sorted(folder.iterdir())
    )
    licence, source = "CC-BY-4.0", (Local(str(folder)),)
    hub = f"nvidia/{name}"
    return LockedModel(f"nvidia--{name}", role, "nemo", hub, COMMIT, licence, False, source, files)


@pytest.fixture(scope="module")
def heard(
    *,
    demo_lock: Lock,
    demo_files: Mapping[str, Path],
    models: Mapping[str, Path],
    marblenet: Path,
    demo_site: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """A machine with Whisper, a TitaNet under its own file name, weights of torch's, mounted."""
    import torch

    assert demo_files
    titanet = tmp_path_factory.mktemp("titanet-l")
    shutil.copyfile(models["titanet"] / "model.nemo", titanet / "titanet-l.nemo")
    torch.save({"weight": torch.arange(3.0)}, titanet / "voices.pt")
    place = type(demo_site.place)(tmp_path_factory.mktemp("heard"))
    place.passphrase.write_text(demo_site.place.passphrase.read_text())
    shutil.copytree(demo_site.place.keys, place.keys)
    profile = place.folder / "heard.yaml"
    profile.write_text(PROFILE)
    parsed = Profile.parse(PROFILE.encode(), str(profile))
    (whisper,) = [one for one in demo_lock.models if one.role == "asr"]
    named = (
        replace(whisper, id="tiny.en"),
        locked("titanet-l", "speaker-embedding", titanet),
        locked("marblenet", "vad", marblenet),
    )
    lock = Lock("heard", "1.0.0", 1, "2026-01-02T03:04:05Z", parsed.sha256, named)
    (place.folder / "heard.lock.yaml").write_bytes(lock.to_bytes())
    built = place.airgap("build", profile, "--key", "alice", "--passphrase-file", place.passphrase)
    assert built.code == 0, built.err
    assert "Loaded offline: nvidia--titanet-l (nemo" in built.err
    place.trust("alice", demo_site.fingerprint)
    mounted = place.airgap("mount", place.folder / "heard-1.0.0/heard-1.0.0.tar.zst")
    assert mounted.code == 0, mounted.err
    return place


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


BY_NAME = """
import logging, sys, warnings
warnings.simplefilter("ignore")
import torch
from pathlib import Path
from nemo.collections.asr.models import EncDecSpeakerLabelModel as Model
found = [
    Model.from_pretrained("nvidia/titanet-l", map_location="cpu"),
    Model.from_pretrained("titanet_large", map_location="cpu"),
    Model.restore_from(sys.argv[1] + "/titanet-l.nemo", map_location="cpu"),
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
    folder = mount / "diarization/nvidia--titanet-l"
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
