"""NeMo models all the way: locked, scanned, dry-loaded, signed, mounted, and asked who speaks."""

from __future__ import annotations

import json
import os
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

pytestmark = [pytest.mark.speakers, pytest.mark.heavy]

PROFILE = """\
profile: 1
name: heard
description: Kennedy, and who speaks
device: cpu
diarization: nemo
models:
  - asr: tiny.en
  - speaker-embedding: nvidia/titanet
  - vad: nvidia/marblenet
"""
COMMIT = "0123456789" * 4
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


def locked(name: str, role: str, folder: Path) -> LockedModel:
    files = tuple(
        LockedFile(path.name, path.stat().st_size, sha256_file(path))
        for path in sorted(folder.iterdir())
    )
    licence, source = "CC-BY-4.0", (Local(str(folder)),)
    hub = f"nvidia/{name}"
    return LockedModel(f"nvidia--{name}", role, "nemo", hub, COMMIT, licence, False, source, files)


def test_from_the_lock_to_who_speaks(
    *,
    demo_lock: Lock,
    demo_files: Mapping[str, Path],
    models: Mapping[str, Path],
    marblenet: Path,
    jfk: Path,
    place: Any,
    empty_network: list[str],
) -> None:
    assert demo_files
    profile = place.folder / "heard.yaml"
    profile.write_text(PROFILE)
    parsed = Profile.parse(PROFILE.encode(), str(profile))
    (whisper,) = [one for one in demo_lock.models if one.role == "asr"]
    named = (
        replace(whisper, id="tiny.en"),
        locked("titanet", "speaker-embedding", models["titanet"]),
        locked("marblenet", "vad", marblenet),
    )
    lock = Lock("heard", "1.0.0", 1, "2026-01-02T03:04:05Z", parsed.sha256, named)
    (place.folder / "heard.lock.yaml").write_bytes(lock.to_bytes())
    fingerprint = place.keygen("alice")
    built = place.airgap("build", profile, "--key", "alice", "--passphrase-file", place.passphrase)
    assert built.code == 0, built.err
    assert "Loaded offline: nvidia--titanet (nemo" in built.err
    place.trust("alice", fingerprint)
    bundle = place.folder / "heard-1.0.0/heard-1.0.0.tar.zst"
    mounted = place.airgap("mount", bundle)
    assert mounted.code == 0, mounted.err
    said = subprocess.run(
        [
            *empty_network,
            *(sys.executable, "-m", "airgap", "transcribe", str(jfk)),
            *("--diarization", "nemo", "--speakers", "1", "--format", "rttm"),
        ],
        cwd=place.folder,
        env=place.environment(),
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
