"""An isolated host with the demo bundle, and ways to run the command where there is no network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def make_host(demo_site, tmp_path_factory) -> Callable:
    """Makes hosts that trust alice, with nothing mounted."""

    def make_host():
        place = type(demo_site.place)(tmp_path_factory.mktemp("host"))
        place.passphrase.write_text("unused\n")
        shutil.copytree(demo_site.place.keys, place.keys)
        place.trust("alice", demo_site.fingerprint)
        return place

    return make_host


@pytest.fixture(scope="session")
def demo_host(make_host, demo_site):
    """A host with the demo mounted. Do not change its files."""
    place = make_host()
    mounted = place.airgap("mount", demo_site.bundle)
    assert mounted.code == 0, mounted.err
    return place


@pytest.fixture(scope="session")
def strace() -> str:
    """The foreign witness."""
    found = shutil.which("strace")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("strace is missing: apt-get install strace")
        pytest.skip("strace is missing: apt-get install strace")
    return found


def model_file(place) -> Path:
    """The model's weights in a mount."""
    (found,) = (place.root / "mounts" / "demo" / "current" / "hf").rglob("model.bin")
    return found.resolve()


@pytest.fixture(scope="session", name="model_file")
def model_file_fixture() -> Callable:
    return model_file
