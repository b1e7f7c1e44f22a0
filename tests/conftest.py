"""What every part of the suite may use: real models and speech, bundles, the command itself.

The suite reaches no network: `make test` fetches the profile `demo` and data/profiles/base.yaml
first, with the project's own `airgap fetch`, and pytest-socket closes every socket beyond
loopback.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import HealthCheck, settings

from airgap import pack, places, tar
from airgap.envelope import Envelope
from airgap.manifest import Artifact, File
from bundler.download_cache import DownloadCache
from bundler.lock import Lock, read_lock
from bundler.profile import read_profile
from runtime import generation

# A shell ignores Ctrl-C for what it runs in the background, and so would every process from here.
signal.signal(signal.SIGINT, signal.default_int_handler)

# On a loaded machine an example may take its time; under CI hypothesis sees to that by itself.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
if not os.environ.get("CI"):
    settings.load_profile("patient")

PASSPHRASE = "correct horse battery staple"
BASE_PROFILE = Path(__file__).parent / "data/profiles/base.yaml"
OLDER_HUB = Path(__file__).parent.parent / ".cache/hub-0.36"
FOREIGN_TOOLS = Path(__file__).parent.parent / ".ci/packages"


@pytest.fixture(scope="session")
def foreign() -> Callable[[str], str]:
    """Finds a foreign tool that .ci/packages lists: `openssl = foreign("openssl")`.

    Where it is not installed, the test is skipped; under CI it fails.
    """
    lines = FOREIGN_TOOLS.read_text().splitlines()
    packages = dict(line.split() for line in lines if not line.startswith("#"))

    def find(tool: str) -> str:
        assert tool in packages, f"'{tool}' and its package belong into .ci/packages"
        if found := shutil.which(tool):
            return found
        if tool.startswith("/") and Path(tool).is_file():  # a file that a package brings
            return tool
        absent = f"'{tool}' is not installed: apt-get install {packages[tool]}"
        if os.environ.get("CI"):
            pytest.fail(absent)
        pytest.skip(absent)

    return find


@pytest.fixture(scope="session")
def demo_lock() -> Lock:
    """The lock of the shipped profile `demo`."""
    path, profile = read_profile("demo")
    return read_lock(path, profile)


@pytest.fixture(scope="session")
def demo_files(demo_lock: Lock) -> Mapping[str, Path]:
    """Every file of the profile `demo`, in the download cache, by its name in the lock."""
    return cached_files(demo_lock, "demo")


@pytest.fixture(scope="session")
def base_files() -> Mapping[str, Path]:
    """The same of tests/data/profiles/base.yaml: Whisper base, which knows many languages."""
    path, profile = read_profile(str(BASE_PROFILE))
    return cached_files(read_lock(path, profile), str(BASE_PROFILE))


def cached_files(lock: Lock, profile: str) -> Mapping[str, Path]:
    """What a lock names, in the download cache."""
    cache = DownloadCache.at(places.download_cache())
    found = {}
    for model, file in lock.files():
        assert file.sha256 is not None
        assert cache.holds_intact(file.sha256), (
            f"'{file.path}' of {model.id} is not in the download cache: airgap fetch {profile}"
        )
        found[file.path] = cache.path(file.sha256)
    return found


@pytest.fixture(scope="session")
def whisper_tiny_en(
    demo_files: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with the real Whisper tiny.en, as faster-whisper loads it by path."""
    folder = tmp_path_factory.mktemp("tiny.en")
    for name in ("config.json", "model.bin", "tokenizer.json", "vocabulary.txt"):
        shutil.copyfile(demo_files[name], folder / name)
    return folder


@pytest.fixture(scope="session")
def jfk(demo_files: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven seconds of real speech: Kennedy's inaugural address."""
    path = tmp_path_factory.mktemp("speech") / "jfk.wav"
    shutil.copyfile(demo_files["jfk.wav"], path)
    return path


@dataclass(frozen=True)
class Outcome:
    """What a run of the command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document of a run with `--json`."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Place:
    """A machine's folders, apart from those of whoever runs the suite."""

    folder: Path

    @property
    def root(self) -> Path:
        """AIRGAP_ROOT."""
        return self.folder / "root"

    @property
    def keys(self) -> Path:
        """AIRGAP_KEYS."""
        return self.folder / "keys"

    @property
    def passphrase(self) -> Path:
        """A file for --passphrase-file."""
        return self.folder / "passphrase"

    def environment(self) -> dict[str, str]:
        """The variables of a process on this machine; the download cache is the real one."""
        return {
            **os.environ,
            "AIRGAP_ROOT": str(self.root),
            "AIRGAP_KEYS": str(self.keys),
            "AIRGAP_CACHE": str(places.download_cache()),
            "NO_COLOR": "1",
        }

    def airgap(
        self, *arguments: str | Path, stdin: bytes | None = None, **environment: str
    ) -> Outcome:
        """Run the real command in a process of its own, with these variables beside its own."""
        done = subprocess.run(
            [sys.executable, "-m", "airgap", *map(str, arguments)],
            cwd=self.folder,
            env={**self.environment(), **environment},
            input=stdin,
            capture_output=True,
            timeout=600,
            check=False,
        )
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    def keygen(self, name: str, *options: str) -> str:
        """Make a signer's keys; returns the fingerprint that would go onto paper."""
        made = self.airgap("keygen", name, "--passphrase-file", self.passphrase, "--json", *options)
        assert made.code == 0, made.err
        fingerprint: str = made.document["fingerprint"]
        return fingerprint

    def trust(self, name: str, fingerprint: str) -> None:
        """Trust a signer of this key folder, starting a trust store where there is none."""
        if not (self.root / "trust").exists():
            assert self.airgap("trust", "init").code == 0
        public = sorted(self.keys.glob(f"{name}.*.pub"))
        added = self.airgap("trust", "add", *public, "--signer", name, "--fingerprint", fingerprint)
        assert added.code == 0, added.err


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A machine of its own."""
    return make_place(tmp_path)


def make_place(folder: Path) -> Place:
    """A machine whose folders lie in `folder`."""
    place = Place(folder)
    place.passphrase.write_text(f"{PASSPHRASE}\n")
    return place


@dataclass(frozen=True)
class BuilderSite:
    """A bundle, built and signed by alice, and a machine that has her keys."""

    place: Place
    bundle: Path
    fingerprint: str


@pytest.fixture(scope="session")
def demo_site(
    demo_files: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> BuilderSite:
    """The profile `demo`, built by the real command once for the suite. Do not change its files."""
    assert demo_files
    return build_site("demo", "demo", tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="session")
def base_site(
    base_files: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> BuilderSite:
    """Whisper base, built likewise; for heavy tests."""
    assert base_files
    return build_site(str(BASE_PROFILE), "base", tmp_path_factory.mktemp("base"))


def build_site(profile: str, name: str, folder: Path) -> BuilderSite:
    """Build the profile in `folder`."""
    place = make_place(folder)
    fingerprint = place.keygen("alice")
    built = place.airgap("build", profile, "--key", "alice", "--passphrase-file", place.passphrase)
    assert built.code == 0, built.err
    return BuilderSite(place, folder / f"{name}-1.0.0" / f"{name}-1.0.0.tar.zst", fingerprint)


@pytest.fixture
def fresh_place(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Place]:
    """Makes machines: an isolated host beside the builder's."""
    return lambda: make_place(tmp_path_factory.mktemp("machine"))


@dataclass(frozen=True)
class SpeakingSite:
    """A machine with a mounted bundle that promises diarization, by a script: no library needed.

    Attributes:
        program: what Python runs instead of the command, so that it knows the script as a back
            end.
    """

    place: Place
    program: tuple[str, str]

    def airgap(self, *arguments: str | Path, **environment: str) -> Outcome:
        """The real command, with that back end."""
        done = subprocess.run(
            [sys.executable, *self.program, *map(str, arguments)],
            cwd=self.place.folder,
            env={**self.place.environment(), **environment},
            capture_output=True,
            timeout=600,
            check=False,
        )
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


SCRIPTED_BACK_END = """
import sys
sys.path.insert(0, FOLDER)
from dataclasses import replace
from airgap import cli
from runtime.engine.speakers import choosing
choosing.BACK_ENDS = (
    replace(choosing.BACK_ENDS[0], library="json", module="scripted_diarizer"),
)
sys.exit(cli.run(sys.argv[1:]))
"""
JFK_BY_TWO = b'[[0.0, 4.0, "one"], [4.0, 11.0, "two"]]'


@pytest.fixture(scope="session")
def speaking_site(demo_site: BuilderSite, tmp_path_factory: pytest.TempPathFactory) -> SpeakingSite:
    """The demo's models, and a script that has Kennedy's sentence spoken by two; mounted."""
    place = make_place(tmp_path_factory.mktemp("speaking"))
    shutil.copytree(demo_site.place.keys, place.keys)
    place.trust("alice", demo_site.fingerprint)
    assert place.airgap("mount", demo_site.bundle).code == 0
    bundle = place.folder / "speaking.tar.zst"
    with generation.current(place.root, "demo") as demo:
        write_speaking_bundle(bundle, demo)
    signed = ("sign", bundle, "--key", "alice", "--passphrase-file", place.passphrase)
    assert place.airgap(*signed).code == 0
    mounted = place.airgap("mount", bundle)
    assert mounted.code == 0, mounted.err
    folder = Path(__file__).parent / "data/speakers"
    return SpeakingSite(place, ("-c", SCRIPTED_BACK_END.replace("FOLDER", repr(str(folder)))))


def write_speaking_bundle(path: Path, demo: generation.Generation) -> None:
    """An unsigned bundle with the demo's files and the script as a model of pyannote's."""
    folder = "diarization/two-voices"
    script = File(
        f"{folder}/turns.json",
        len(JFK_BY_TWO),
        hashlib.sha256(JFK_BY_TWO).hexdigest(),
        None,
        0,
        "two-voices",
    )
    model = Artifact(
        "two-voices", "diarization", "pyannote", folder, None, None, "MIT", gated=False
    )
    files = sorted((*demo.manifest.files, script), key=lambda file: file.path)
    manifest = replace(
        demo.manifest,
        name="speaking",
        features={"diarization_enabled": True},
        artifacts=(*demo.manifest.artifacts, model),
        files=tuple(file for _, file in tar.members(files, demo.manifest.created)),
    )

    def content(file: File) -> BinaryIO:
        if file.path == script.path:
            return BytesIO(JFK_BY_TWO)
        return (demo.folder.path / file.path).open("rb")

    with path.open("x+b") as stream:
        statement = pack.write_bundle(stream, manifest, content, "sha256")
        pack.write_head(stream, Envelope(statement.to_bytes(), ()))


@dataclass(frozen=True)
class HubClient:
    """A huggingface_hub: how its version begins, and the variables that bring a program to it."""

    version: str
    variables: Mapping[str, str]


@pytest.fixture(scope="session", params=["2.", "0.36."])
def hub_client(request: pytest.FixtureRequest) -> HubClient:
    """Each version of the hub's library that a mount and a mirror are made for.

    Where the older is not installed, its tests are skipped; under CI they fail.
    """
    if request.param == "2.":
        return HubClient("2.", {})
    if not OLDER_HUB.is_dir():
        absent = "huggingface_hub 0.36 is not installed: make .cache/hub-0.36"
        if os.environ.get("CI"):
            pytest.fail(absent)
        pytest.skip(absent)
    return HubClient("0.36.", {"PYTHONPATH": str(OLDER_HUB)})


@pytest.fixture(scope="session")
def empty_network() -> list[str]:
    """What runs a command in an empty network namespace; a skip where the kernel allows none."""
    prefix = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
    if shutil.which("unshare") is None or subprocess.run([*prefix, "true"], check=False).returncode:
        if os.environ.get("CI") == "true":
            pytest.fail("no empty network namespace: util-linux, and user namespaces allowed")
        pytest.skip("no empty network namespace is allowed here")
    return prefix
