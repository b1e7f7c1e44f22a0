"""NeMo models all the way: locked, scanned, dry-loaded, signed, mounted, and asked who speaks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bundler.scan.files import judge_file

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


def test_from_the_lock_to_who_speaks(
    *,
    make_site: Any,
    models: Mapping[str, Path],
    marblenet: Path,
    jfk: Path,
    empty_network: list[str],
    tmp_path: Path,
) -> None:
    named = {"titanet-large": models["titanet"], "marblenet-frame-vad": marblenet}
    site = make_site("heard", named, "nemo")
    built = site.build()
    assert built.code == 0, built.err
    assert "Loaded offline: titanet-large (nemo" in built.err
    host = site.mounted(tmp_path)
    said = subprocess.run(
        [
            *empty_network,
            *(sys.executable, "-m", "airgap", "transcribe", str(jfk)),
            *("--diarization", "nemo", "--speakers", "1", "--format", "rttm"),
        ],
        cwd=host.folder,
        env=host.environment(),
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
