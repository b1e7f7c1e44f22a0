"""The profiles that ship: each is locked, reads back byte for byte, and what it lacks is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bundler.catalog import CATALOG
from bundler.lock import Lock, lock_path, read_lock
from bundler.profile import Profile, shipped_profiles
from bundler.sources.huggingface import HuggingFace
from bundler.sources.pypi import Pypi
from bundler.wheelhouse.names import WheelName

NAMES = [
    "cpu-emotion-categories",
    "cpu-emotion",
    "cpu-full",
    "cpu-medium",
    "cpu-no-diarization",
    "cpu-small",
    "demo",
    "gpu-full",
    "gpu-pyannote",
]

UNRESOLVED = [
    f"runtime: what {python}-manylinux_2_28_x86_64 installs is not known"
    for python in ("cp311", "cp312", "cp313")
]
"""torch without CUDA has an index of its own, which was not at hand."""

UNPUBLISHED = {
    "cpu-emotion": [*UNRESOLVED, "wav2vec2-emotion-dimensions: 'LICENSE' has no sha256"],
    "cpu-emotion-categories": [
        *UNRESOLVED,
        "wav2vec2-emotion-categories: 'config.json' has no size and no sha256",
        "wav2vec2-emotion-categories: 'model.safetensors' has no size",
        "wav2vec2-emotion-categories: 'preprocessor_config.json' has no size and no sha256",
    ],
}
"""What no public record tells; a connected `airgap lock` fills it in. Every other is complete."""


def test_these_ship() -> None:
    assert [path.stem for path in shipped_profiles()] == NAMES


@pytest.mark.parametrize("path", list(shipped_profiles()), ids=lambda path: path.stem)
def test_a_shipped_profile_is_locked(path: Path) -> None:
    content = path.read_bytes()
    profile = Profile.parse(content, str(path))
    assert profile.name == path.stem
    lock = read_lock(path, profile)
    assert lock.missing() == UNPUBLISHED.get(path.stem, [])
    assert [(model.role, model.id) for model in lock.models] == [
        (wanted.role, wanted.name) for wanted in profile.models
    ]


@pytest.mark.parametrize("path", list(shipped_profiles()), ids=lambda path: path.stem)
def test_a_shipped_lock_is_what_we_would_write(path: Path) -> None:
    written = lock_path(path).read_bytes()
    assert Lock.parse(written, path.name).to_bytes() == written


def test_the_demo_asks_the_index_before_the_hub() -> None:
    path = next(path for path in shipped_profiles() if path.stem == "demo")
    lock = Lock.parse(lock_path(path).read_bytes(), "demo.lock.yaml")
    assert [type(source) for source in lock.models[0].sources] == [Pypi, HuggingFace]


@pytest.mark.parametrize("path", list(shipped_profiles()), ids=lambda path: path.stem)
def test_a_shipped_lock_names_the_files_that_locking_takes(path: Path) -> None:
    lock = Lock.parse(lock_path(path).read_bytes(), path.name)
    for model in lock.models:
        entry = CATALOG[model.id]
        named = [file.path for file in model.files]
        assert entry.lacks(named) == []
        assert entry.engine is None or entry.chosen(named) == set(named)
        assert model.sources == entry.sources(model.commit)


@pytest.mark.parametrize("path", list(shipped_profiles()), ids=lambda path: path.stem)
def test_no_target_has_one_library_for_two_versions_of_cuda(path: Path) -> None:
    runtime = Lock.parse(lock_path(path).read_bytes(), path.name).runtime
    for one in runtime.targets if runtime else ():
        projects = [WheelName.parse(file).name for file in one.wheels]
        of_cuda = [name.rpartition("-cu")[0] for name in projects if "-cu1" in name]
        assert len(of_cuda) == len(set(of_cuda)), sorted(of_cuda)


@pytest.mark.parametrize("name", sorted(UNPUBLISHED))
def test_what_is_incomplete_is_not_built(name: str, place: Any) -> None:
    built = place.airgap("build", name)
    assert built.code == 2
    assert f"error: the lock of '{name}' is incomplete" in built.err
    assert UNPUBLISHED[name][0] in built.err
    assert f"next: airgap lock {name}" in built.err
    assert sorted(one.name for one in place.folder.iterdir()) == ["passphrase"]
