"""A bundle with NeMo's and pyannote's wheels, from a bare host to who speaks, without a network.

The wheels are those of what is installed here, packed again. They and what is made of them want
ten gigabytes of disk for a while.
"""

from __future__ import annotations

import ensurepip
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from airgap.digest import sha256_file
from bundler.locked_model import LockedFile
from bundler.sources.local import Local
from bundler.wheelhouse.locked import LockedRuntime, LockedTarget, Release
from bundler.wheelhouse.metadata import read_metadata
from bundler.wheelhouse.names import WheelName, normalised
from bundler.wheelhouse.own import PROJECT
from bundler.wheelhouse.packing import pack
from bundler.wheelhouse.targets import Target

pytestmark = [pytest.mark.speakers, pytest.mark.heavy, pytest.mark.large]

EXTRAS = ("cpu", "nemo", "pyannote")
TARGET = Target(f"3.{sys.version_info.minor}", f"manylinux_2_28_{platform.machine()}")
RUNTIME = f"""\
runtime:
  extras: [{", ".join(EXTRAS)}]
  pythons: ['{TARGET.python}']
  platforms: [{TARGET.platform}]
"""
TOOLS = (
    *("cat", "chmod", "cp", "cut", "df", "dirname", "du", "head", "mkdir", "mv", "rm", "sha256sum"),
    *("sha384sum", "uname", "wc", "env", "openssl", "sh", "ls", "id", "date", "tr"),
)
LOADS = "import pyannote.audio, torch; print('loads', pyannote.audio.__version__)"


def repacked(name: str, folder: Path) -> Path:
    """The wheel that a distribution was installed from, as far as it is still installed."""
    one = metadata.distribution(name)
    files = {
        str(path): place.read_bytes()
        for path in one.files or ()
        if not str(path).startswith("..")
        and "__pycache__" not in path.parts
        and path.name not in {"INSTALLER", "REQUESTED", "direct_url.json"}
        and (place := Path(str(path.locate()))).is_file()
    }
    info = next(path for path in files if path.endswith(".dist-info/METADATA")).partition("/")[0]
    tags = re.findall(r"^Tag: (.+)$", one.read_text("WHEEL") or "", re.MULTILINE)
    parts = zip(*(tag.split("-") for tag in tags), strict=True)
    tag = "-".join(".".join(dict.fromkeys(part)) for part in parts)
    wheel = folder / f"{info.removesuffix('.dist-info')}-{tag}.whl"
    wheel.write_bytes(pack(files, info))
    return wheel


def closure(wanted: Requirement) -> Iterator[str]:
    """What is installed here of all that a requirement leads to, but for this project."""
    seen, todo = set[tuple[str, str]](), [wanted]
    while todo:
        one = todo.pop()
        for extra in {"", *one.extras}:
            asked = (normalised(one.name), extra)
            if asked in seen:
                continue
            seen.add(asked)
            todo += [
                needed
                for needed in map(Requirement, metadata.requires(one.name) or ())
                if needed.marker is None or needed.marker.evaluate({"extra": extra})
            ]
    yield from sorted({name for name, _ in seen} - {PROJECT})


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> LockedRuntime:
    folder = tmp_path_factory.mktemp("wheels")
    needed = closure(Requirement(f"{PROJECT}[{','.join(EXTRAS)}]"))
    wheels = [repacked(name, folder) for name in needed if name != "pip"]
    (pip,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    wheels = sorted((*wheels, Path(shutil.copy(pip, folder))))
    return LockedRuntime(
        EXTRAS,
        (Local(str(folder)),),
        (LockedTarget(TARGET, tuple(one.name for one in wheels)),),
        tuple(map(locked, wheels)),
    )


def locked(wheel: Path) -> Release:
    with wheel.open("rb") as stream:
        licence = read_metadata(stream, wheel.name).licence
    file = LockedFile(wheel.name, wheel.stat().st_size, sha256_file(wheel))
    return Release(WheelName.parse(wheel.name).release, licence, (file,))


@pytest.fixture(scope="module")
def delivered(
    make_site: Any, models: Mapping[str, Path], marblenet: Path, runtime: LockedRuntime
) -> Any:
    """The builder's site, with a bundle that the real command has scanned, loaded and signed."""
    named = {"titanet-large": models["titanet"], "marblenet-frame-vad": marblenet}
    site = make_site("bootstrapped", named, "nemo", RUNTIME, runtime=runtime)
    done = site.build()
    assert done.code == 0, done.err
    return site


def test_the_page_leads_from_a_bare_host_to_who_speaks(
    delivered: Any, empty_network: list[str], foreign: Any, tmp_path: Path, *, conversation: Any
) -> None:
    path, home = tmp_path / "bin", tmp_path / "home"
    path.mkdir()
    home.mkdir()
    for tool in TOOLS:
        (path / tool).symlink_to(shutil.which(tool) or foreign(tool))
    (path / "python3").symlink_to(Path(sys.base_prefix) / "bin/python3")
    (key,) = delivered.place.keys.glob("alice.ecdsa-p384.pub")
    shutil.copy(key, home / "officer.pub")
    sample = Path(str(metadata.distribution("pyannote.audio").locate_file("pyannote/audio/sample")))
    shutil.copy(sample / "sample.wav", home)
    mount = "$HOME/.local/share/airgap/mounts/bootstrapped/current"
    script = [
        "set -ex",
        *typed(delivered.bundle.parent / "BOOTSTRAP.md"),
        '~/airgap/bin/airgap transcribe "$HOME/sample.wav" --diarization nemo --speakers 2',
        f'"{mount}/runtime/bin/python" -c {shlex.quote(LOADS)}',
    ]
    done = subprocess.run(
        [foreign("unshare"), *empty_network[1:], str(path / "sh"), "-c", "\n".join(script)],
        cwd=delivered.bundle.parent,
        env={"PATH": str(path), "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "ask what you can do for your country" in done.stdout
    assert re.search(r"^\[?.*SPEAKER_0[01]", done.stdout, re.MULTILINE)
    assert f"loads {metadata.version('pyannote.audio')}" in done.stdout


def typed(page: Path) -> list[str]:
    """The commands of the page, by the officer's P-384 key, whose number is on paper."""
    text = page.read_text()
    text = re.sub(r"Key [0-9a-f ]+ … \(Ed25519.*?```\n", "", text, flags=re.DOTALL)
    number = "$(openssl pkey -pubin -in ~/officer.pub -outform DER | sha256sum | cut -c1-64)"
    text = text.replace("--fingerprint NUMBER", f'--fingerprint "{number}"')
    blocks = "".join(re.findall(r"```console\n(.*?)```", text, re.DOTALL))
    return re.findall(r"^\$ (.*)$", blocks, re.MULTILINE)
