"""The profiles that ship: each is locked, complete, and reads back byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.lock import Lock, lock_path, read_lock
from bundler.profile import Profile, shipped_profiles
from bundler.sources.huggingface import HuggingFace
from bundler.sources.pypi import Pypi

NAMES = [
    "cpu-medium",
    "cpu-no-diarization",
    "cpu-small",
    "demo",
    "gpu-full",
    "gpu-pyannote",
]


def test_these_ship() -> None:
    assert [path.stem for path in shipped_profiles()] == NAMES


@pytest.mark.parametrize("path", list(shipped_profiles()), ids=lambda path: path.stem)
def test_a_shipped_profile_is_locked_and_complete(path: Path) -> None:
    content = path.read_bytes()
    profile = Profile.parse(content, str(path))
    assert profile.name == path.stem
    lock = read_lock(path, profile)
    assert lock.missing() == []
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
