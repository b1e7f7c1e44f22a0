"""Sites whose bundle has tiny.en and models of speakers, each from a folder of the builder's."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from airgap.digest import sha256_file
from bundler.catalog import CATALOG, Entry, entry_for
from bundler.download_cache import DownloadCache
from bundler.lock import Lock, LockedFile, LockedModel, lock_path
from bundler.profile import Profile
from bundler.sources.local import Local
from bundler.wheelhouse.locked import LockedRuntime

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROFILE = """\
profile: 1
name: {name}
description: Whisper tiny.en, with speakers
device: cpu
diarization: {back_end}
models:
- asr: tiny.en
"""


@pytest.fixture(scope="session")
def cache(demo_files: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A download cache with the demo's files: what tests make does not go into the real one."""
    cache = DownloadCache.at(tmp_path_factory.mktemp("cache"))
    for file in demo_files.values():
        kept = cache.path(sha256_file(file))
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, kept)
    return cache.root


@dataclass(frozen=True)
class Site:
    """A builder's machine with a profile, its lock, and the models in folders beside them."""

    place: Any
    profile: Path
    lock: Lock
    fingerprint: str
    cache: Path

    def build(self, *options: str, **environment: str) -> Any:
        """The real command, by alice."""
        signed = ("--key", "alice", "--passphrase-file", self.place.passphrase)
        environment |= {"AIRGAP_CACHE": str(self.cache)}
        return self.place.airgap("build", self.profile, *signed, *options, **environment)

    @property
    def bundle(self) -> Path:
        """Where it is, once it was built."""
        title = f"{self.lock.name}-{self.lock.version}"
        return self.place.folder / title / f"{title}.tar.zst"

    def mounted(self, folder: Path) -> Any:
        """An isolated host that trusts alice, with the bundle mounted."""
        host = type(self.place)(folder)
        shutil.copytree(self.place.keys, host.keys)
        host.trust("alice", self.fingerprint)
        done = host.airgap("mount", self.bundle)
        assert done.code == 0, done.err
        return host


@pytest.fixture(scope="session")
def make_site(
    demo_lock: Lock, demo_site: Any, cache: Path, tmp_path_factory: Any
) -> Callable[..., Site]:
    """Makes a site: `models` are names of the catalog or of the hub, with their folders.

    With a runtime the bundle also carries the recording that one is tried with.
    """

    def made(
        name: str,
        models: Mapping[str, Path],
        back_end: str = "pyannote",
        policy: str = "",
        *,
        runtime: LockedRuntime | None = None,
    ) -> Site:
        folder = tmp_path_factory.mktemp(name)
        place = type(demo_site.place)(folder)
        shutil.copyfile(demo_site.place.passphrase, place.passphrase)
        shutil.copytree(demo_site.place.keys, place.keys)
        entries = {
            model: CATALOG.get(model) or entry_for("diarization", model, back_end)
            for model in models
        }
        asked = "".join(f"- {entry.role}: {model}\n" for model, entry in entries.items())
        of_demo = ("asr", "sample") if runtime else ("asr",)
        asked += "- sample: jfk\n" if runtime else ""
        text = PROFILE.format(name=name, back_end=back_end) + asked + policy
        profile = folder / "site.yaml"
        profile.write_text(text)
        lock = Lock(
            name,
            "1.0.0",
            1,
            "2026-01-02T03:04:05Z",
            Profile.parse(text.encode(), "p").sha256,
            (
                *(one for one in demo_lock.models if one.role in of_demo),
                *(_locked(entry, models[model]) for model, entry in entries.items()),
            ),
            runtime,
        )
        lock_path(profile).write_bytes(lock.to_bytes())
        return Site(place, profile, lock, demo_site.fingerprint, cache)

    return made


@contextmanager
def serving(place: Any, *options: str) -> Iterator[dict[str, str]]:
    """A server of what is mounted, on a free port, once it is ready; what its log says by event."""
    log = place.folder / "serve.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "airgap", "serve", "--port", "0", *options],
            cwd=place.folder,
            env=place.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        said: dict[str, str] = {}
        while "ready" not in said:
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
            whole = log.read_text().rpartition("\n")[0].splitlines()
            lines = [json.loads(line) for line in whole if line.startswith("{")]
            said = {line["event"]: line["message"] for line in lines}
        yield said
    finally:
        process.terminate()
        ended = process.wait(60)
    assert ended == 0, log.read_text()


@pytest.fixture(scope="session", name="serving")
def serving_fixture() -> Callable[..., Any]:
    return serving


@pytest.fixture(scope="session")
def client_of() -> Callable[[Mapping[str, str]], openai.OpenAI]:
    """The real OpenAI client of a server, by what its log says."""

    def client_of(said: Mapping[str, str]) -> openai.OpenAI:
        base = said["listening"].rpartition(" ")[2]
        return openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0)

    return client_of


def _locked(entry: Entry, folder: Path) -> LockedModel:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return LockedModel(
        id=entry.name,
        role=entry.role,
        engine=entry.engine,
        repository=entry.repository,
        commit=COMMIT,
        licence="MIT",
        gated=False,
        sources=(Local(str(folder)),),
        files=tuple(
            LockedFile(str(path.relative_to(folder)), path.stat().st_size, sha256_file(path))
            for path in paths
        ),
    )
