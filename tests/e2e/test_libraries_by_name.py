"""Libraries find their models in a mount by themselves: no network, and no code of ours."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime import generation

pytestmark = pytest.mark.heavy

BY_NAME = """
import sys
from huggingface_hub import __version__, snapshot_download
from faster_whisper import WhisperModel
print(__version__)
print(snapshot_download("Systran/faster-whisper-tiny.en", local_files_only=True))
model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8")
print("".join(segment.text for segment in model.transcribe(sys.argv[2])[0]))
"""

FROM_PYTHON = """
import sys
from runtime.cache import configure_global_cache_env, is_cached
paths = configure_global_cache_env()
print(is_cached("tiny.en"), is_cached("Systran/faster-whisper-tiny.en"), is_cached("org/other"))
from faster_whisper import WhisperModel
model = WhisperModel("tiny.en", device="cpu", compute_type="int8")
print("".join(segment.text for segment in model.transcribe(sys.argv[1])[0]))
"""

COUNTRY = "ask what you can do for your country"


def names(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize("model", ["tiny.en", "Systran/faster-whisper-tiny.en", "FOLDER"])
def test_faster_whisper(
    *,
    model: str,
    demo_host: Any,
    jfk: Path,
    empty_network: list[str],
    tmp_path: Path,
    hub_client: Any,
) -> None:
    mount = demo_host.root / "mounts/demo/current"
    asked = str(mount / "whisper/tiny.en") if model == "FOLDER" else model
    variables = demo_host.airgap("cache", "env").out
    before = names(mount.resolve())
    program = shlex.join([sys.executable, "-c", BY_NAME, asked, str(jfk)])
    done = subprocess.run(
        [*empty_network, "sh", "-c", f"{variables}\n{program}"],
        env={
            **hub_client.variables,
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "TRANSFORMERS_CACHE": "/nowhere",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    version, place, text = done.stdout.splitlines()
    assert version.startswith(hub_client.version)
    assert Path(place).is_relative_to(demo_host.root / "mounts")
    assert COUNTRY in text
    assert names(mount.resolve()) == before
    assert list(tmp_path.rglob("*")) == []


def test_from_python(demo_host: Any, jfk: Path, empty_network: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [*empty_network, sys.executable, "-c", FROM_PYTHON, str(jfk)],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "AIRGAP_ROOT": str(demo_host.root),
            "HF_HOME": "/nowhere",
            "HF_HUB_OFFLINE": "0",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    cached, text = done.stdout.splitlines()
    assert cached == "True True False"
    assert COUNTRY in text


def test_the_key_is_the_same_on_both_sides(demo_host: Any) -> None:
    """Of the profile where the bundle was built, and of the bundle where it is mounted."""
    host = demo_host.airgap("cache", "key", "--json").document["key"]
    elsewhere = demo_host.folder / "nothing"
    builder = demo_host.airgap("cache", "key", "demo", "--root", elsewhere)
    assert builder.out == f"{host}\n"


def test_the_mounted_models_are_the_manifests(demo_host: Any) -> None:
    found = demo_host.airgap("cache", "show", "--json").document["holdings"]
    with generation.current(demo_host.root, "demo") as one:
        model = next(artifact for artifact in one.manifest.artifacts if artifact.id == "tiny.en")
        size = sum(file.size for file in one.manifest.files_of(model))
    assert [one["size"] for one in found if one["name"] == "tiny.en"] == [size]
