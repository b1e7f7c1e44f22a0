"""An isolated host with a trust store, and bundles for it: sound ones, and ones with one defect.

Bundles are written with `airgap.pack` and signed by keys that the host trusts, so that a test
reaches what stands behind the signatures. Test modules cannot import each other (importlib
mode), so all of it is offered as fixtures.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from airgap import cli, pack, signing, tar
from airgap.envelope import Envelope
from airgap.keys import ECDSA_P384, ED25519, fingerprint
from airgap.manifest import Artifact, File, Manifest
from runtime import generation

COMMIT = "0d3d19a32d3338f10357c0889762bd8d64bbdeba"
REPOSITORY = "hf/hub/models--org--name"
SNAPSHOT = f"{REPOSITORY}/snapshots/{COMMIT}"
CONTENTS: Mapping[str, bytes] = {
    "README.txt": b"A bundle for tests.\n",
    f"{REPOSITORY}/refs/main": COMMIT.encode(),
    f"{SNAPSHOT}/config.json": b"{}\n" * 700,
    f"{SNAPSHOT}/model.bin": random.Random(1).randbytes(5_000_000),  # noqa: S311 - no secret
    f"{SNAPSHOT}/twin.json": b"{}\n" * 700,  # the same bytes as config.json: one blob
}


@dataclass(frozen=True)
class Person:
    """A signer with one key of each classical algorithm."""

    name: str
    keys: tuple[signing.PrivateKey, ...]

    @classmethod
    def new(cls, name: str) -> Person:
        return cls(name, tuple(signing.generate(one) for one in (ED25519, ECDSA_P384)))


@dataclass(frozen=True)
class Said:
    """What a run of the command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Host:
    """An isolated host that trusts alice. The command runs in this process: it is quicker."""

    root: Path
    speak: Callable[[], tuple[str, str]]

    @property
    def record(self) -> Path:
        return self.root / "state" / "accepted.json"

    @property
    def current(self) -> Path:
        return self.root / "mounts" / "ward" / "current"

    def airgap(self, *arguments: str | Path) -> Said:
        self.speak()
        code = cli.run([str(one) for one in arguments])
        return Said(code, *self.speak())

    def blobs(self) -> list[Path]:
        return sorted(path for path in (self.root / "store").rglob("*") if not path.is_dir())

    def trust(self, person: Person) -> None:
        """Trust someone's keys, by the real command, as if their numbers stood on paper."""
        public = self.root.parent / f"{person.name}.pub"
        public.write_text("".join(key.public.pem for key in person.keys))
        number = fingerprint(key.public for key in person.keys)
        who = ("--signer", person.name, "--fingerprint", number)
        said = self.airgap("trust", "add", public, *who)
        assert said.code == 0, said.err
        public.unlink()


def snapshot(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Everything below a folder: kind, mode, inode and content; equal only if nothing changed.

    The audit log is left out: a refusal belongs into it, and its own tests look for it there.
    """
    found: dict[str, tuple[Any, ...]] = {}
    for path in sorted(folder.rglob("*")):
        if path.relative_to(folder).parts[0] == "audit":
            continue
        there = path.lstat()
        content: object = None
        if stat.S_ISREG(there.st_mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        elif stat.S_ISLNK(there.st_mode):
            content = str(path.readlink())
        found[str(path.relative_to(folder))] = (there.st_mode, there.st_ino, content)
    return found


def unsound(root: Path, *, staged: bool = False) -> list[str]:
    """What is wrong with a host's root; `staged` allows what a killed mount has staged."""
    wrong = []
    for blob in (path for path in (root / "store").rglob("*") if not path.is_dir()):
        if blob.is_symlink() or not blob.is_file():
            wrong.append(f"{blob} is no file")
        elif hashlib.sha256(blob.read_bytes()).hexdigest() != blob.name:
            wrong.append(f"{blob} is not what its name says")
        elif stat.S_IMODE(blob.stat().st_mode) != 0o444:
            wrong.append(f"{blob} can be written")
    if not staged and (root / "staging").is_dir():
        wrong += [f"{left} was left" for left in (root / "staging").iterdir()]
    for name in generation.mounted(root):
        if not staged:
            wrong += [f"{left} was left" for left in (root / "mounts" / name).rglob(".*")]
        with generation.current(root, name) as one:
            for file in one.manifest.files:
                path = one.folder.path / file.path
                if hashlib.sha256(path.read_bytes()).hexdigest() != file.sha256:
                    wrong.append(f"{path} is not what was signed")
    return wrong


def manifest_of(contents: Mapping[str, bytes], **changes: Any) -> Manifest:
    """A sound manifest of these files, with the offsets that the dialect gives."""
    files = [
        File(path, len(content), hashlib.sha256(content).hexdigest(), None, 0, _owner(path))
        for path, content in sorted(contents.items())
    ]
    created = changes.get("created", "2026-01-02T03:04:05Z")
    manifest = Manifest(
        name="ward",
        version="1.0.0",
        sequence=7,
        created=created,
        expires=None,
        base=None,
        profile="ward",
        profile_sha256="1" * 64,
        lock_sha256="2" * 64,
        built_with={"airgap": "0.1.0", "zstd": "1.5.7"},
        platform="any",
        features={"diarization_enabled": False},
        artifacts=(
            Artifact(
                id="tiny",
                role="asr",
                engine="faster-whisper",
                path=SNAPSHOT,
                repository="org/name",
                commit=COMMIT,
                licence="MIT",
                gated=False,
            ),
        ),
        files=tuple(file for _header, file in tar.members(files, created)),
        derived=(),
        built=(),
        scan=None,
        dry_load=None,
    )
    return replace(manifest, **changes)


def _owner(path: str) -> str | None:
    return "tiny" if path.startswith("hf/") else None


def write_bundle(
    path: Path,
    people: Sequence[Person],
    contents: Mapping[str, bytes] = CONTENTS,
    packed: Mapping[str, bytes] | None = None,
    **changes: Any,
) -> Path:
    """A bundle of `contents`, signed. `packed` are the bytes that really go in, where others."""
    manifest = manifest_of(contents, **changes)
    given = {**contents, **(packed or {})}
    with path.open("x+b") as stream:
        statement = pack.write_bundle(
            stream, manifest, lambda file: io.BytesIO(given[file.path]), "sha256"
        )
        envelope = Envelope(statement.to_bytes(), ())
        for person in people:
            envelope = signing.sign(envelope, person.keys)
        pack.write_head(stream, envelope)
    return path


@pytest.fixture
def reachable(tmp_path: Path) -> Path:
    """This test's folder, to which another user can walk: pytest's are private."""
    for folder in (tmp_path, *tmp_path.parents):
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & 0o005 != 0o005:
            folder.chmod(mode | 0o055)
    return tmp_path


@pytest.fixture(scope="session")
def alice() -> Person:
    return Person.new("alice")


@pytest.fixture(scope="session")
def bob() -> Person:
    return Person.new("bob")


@pytest.fixture(scope="session")
def contents() -> Mapping[str, bytes]:
    return CONTENTS


@pytest.fixture(scope="session", name="manifest_of")
def manifest_of_fixture() -> Callable[..., Manifest]:
    return manifest_of


@pytest.fixture(scope="session", name="snapshot")
def snapshot_fixture() -> Callable[[Path], dict[str, tuple[Any, ...]]]:
    return snapshot


@pytest.fixture(scope="session", name="unsound")
def unsound_fixture() -> Callable[..., list[str]]:
    return unsound


@pytest.fixture
def write(tmp_path: Path, alice: Person) -> Callable[..., Path]:
    """Writes `NAME.tar.zst`, signed by alice unless `people` says otherwise."""

    def write(
        file: str = "bundle",
        people: Sequence[Person] = (alice,),
        title: str = "ward",
        **changes: Any,
    ) -> Path:
        return write_bundle(tmp_path / f"{file}.tar.zst", people, name=title, **changes)

    return write


@pytest.fixture
def bundle(write: Callable[..., Path]) -> Path:
    """A sound bundle of 5 MB, signed by alice."""
    return write()


@pytest.fixture
def host(
    tmp_path: Path,
    alice: Person,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Host:
    root = tmp_path / "root"
    monkeypatch.setenv("AIRGAP_ROOT", str(root))
    monkeypatch.setenv("AIRGAP_KEYS", str(tmp_path / "keys"))
    host = Host(root, lambda: tuple(capfd.readouterr()))
    assert host.airgap("trust", "init").code == 0
    host.trust(alice)
    return host


@pytest.fixture
def mounted(host: Host, bundle: Path) -> Host:
    """The host, with the bundle mounted."""
    said = host.airgap("mount", bundle)
    assert said.code == 0, said.err
    return host


DIES = textwrap.dedent("""
    import os, subprocess, sys
    from airgap import cli
    left = int(sys.argv.pop(1))
    def counted(call):
        def dying(*given, **more):
            global left
            left -= 1
            if left == 0:
                os._exit(9)
            return call(*given, **more)
        return dying
    for name in ("mkdir", "rename", "replace", "link", "symlink", "unlink", "fsync", "sync"):
        setattr(os, name, counted(getattr(os, name)))
    subprocess.run = counted(subprocess.run)
    code = cli.run(sys.argv[1:])
    print(left, file=sys.stderr)
    sys.exit(code)
""")


@pytest.fixture
def dying_at() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command, in a process that dies with exit code 9 instead of its n-th step.

    A step is a change to the disk, or a program that is started.
    """

    def dying_at(step: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", DIES, str(step), *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
        )

    return dying_at
