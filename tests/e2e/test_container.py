"""Dockerfile.cpu, built by buildah on a tree of Debian's, and run without a network.

What the image's configuration says is what is run: environment, user, folder, entrypoint, command
and health check. The root file system is read-only, /tmp a tmpfs, and there is no network but
loopback.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from airgap import places
from bundler.lock import Lock, LockedFile, LockedModel
from bundler.sources.local import Local

pytestmark = [pytest.mark.heavy, pytest.mark.images]

ROOT = Path(__file__).parents[2]
MAKE = "make test-images, as root"
BASE = re.compile(r"^ARG BASE=(\S+)@sha256:[0-9a-f]{64}$", re.MULTILINE)
"""The name of what Dockerfile.cpu builds on; a tree of ours, with another digest, bears it here."""

BUILDS = re.compile(
    r"(.*-)?(gcc|g\+\+|cc|c\+\+|cpp|clang|make|cmake|ld|as|rustc|cargo|go)(-[0-9.]+)?"
)
"""Names of compilers, linkers and assemblers, as distributions write them."""

KEY = "k" * 32

CONTAINER = """
set -e
rootfs=$1 volume=$2 script=$3
mount --bind "$rootfs" "$rootfs"
if [ -n "$volume" ]; then
    mount --bind "$volume" "$rootfs/srv/airgap"
    mount -o remount,bind,ro "$rootfs/srv/airgap"
fi
mount -o remount,bind,ro "$rootfs"
mount -t proc proc "$rootfs/proc"
mount -t tmpfs -o mode=1777 tmp "$rootfs/tmp"
mount -t tmpfs -o mode=755 dev "$rootfs/dev"
for device in null zero urandom random; do
    touch "$rootfs/dev/$device"
    mount --bind "/dev/$device" "$rootfs/dev/$device"
done
ip link set lo up
shift 3
exec chroot --userspec="$USER" "$rootfs" env -i "$@" sh -c "$script"
"""

ASK = """
import glob, urllib.request
with open(glob.glob("/srv/airgap/mounts/*/current/samples/jfk/jfk.wav")[0], "rb") as sound:
    parts = [
        b'--x\\r\\nContent-Disposition: form-data; name="model"\\r\\n\\r\\nwhisper-1\\r\\n',
        b'--x\\r\\nContent-Disposition: form-data; name="file"; filename="a.wav"\\r\\n\\r\\n',
        sound.read(), b"\\r\\n--x--\\r\\n",
    ]
headers = {"Content-Type": "multipart/form-data; boundary=x", "Authorization": "Bearer KEY"}
url = "http://127.0.0.1:8000/v1/audio/transcriptions"
print(urllib.request.urlopen(urllib.request.Request(url, b"".join(parts), headers)).read().decode())
""".replace("KEY", KEY)


def base_name() -> str:
    """What Dockerfile.cpu builds on, without the digest, which is of what the hub has."""
    found = BASE.search((ROOT / "Dockerfile.cpu").read_text())
    assert found
    return found[1]


@dataclass(frozen=True)
class Builder:
    """buildah with a storage of its own."""

    command: tuple[str, ...]
    caches: bool
    wheels: Path

    def run(self, *arguments: str | Path) -> str:
        done = subprocess.run(
            [*self.command, *map(str, arguments)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def build(self, tag: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *(*self.command, "bud", "--isolation", "chroot", "--format", "docker"),
                *(f"--layers={str(self.caches).lower()}", "--pull-never", "--tag", tag),
                *("--build-arg", f"BASE={base_name()}", "--file", ROOT / "Dockerfile.cpu"),
                *("--volume", f"{self.wheels}:/wheels:ro"),
                *("--secret", f"id=pip,src={self.wheels / 'pip.conf'}"),
                *arguments,
                ROOT,
            ],
            capture_output=True,
            text=True,
            check=False,
        )

    def has(self, tag: str) -> bool:
        return f"localhost/{tag}:latest" in self.run("images", "--format", "{{.Name}}:{{.Tag}}")


@dataclass(frozen=True)
class Image:
    """A built image: its file system, and what its configuration says."""

    rootfs: Path
    config: dict[str, Any]

    def run(self, script: str, volume: Path | None = None) -> subprocess.CompletedProcess[str]:
        """A script in a container of it, without a network."""
        environment = [*self.config["Env"], f"API_KEYS={KEY}"]
        inside = f"cd {self.config['WorkingDir']}; {script}"
        return subprocess.run(
            [
                *("unshare", "--net", "--mount", "--pid", "--fork", "sh", "-c", CONTAINER, "sh"),
                *(self.rootfs, volume or "", inside, *environment),
            ],
            env={**os.environ, "USER": self.config["User"]},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    @property
    def entrypoint(self) -> str:
        return shlex.join(self.config["Entrypoint"])

    @property
    def serving(self) -> str:
        """A script: the default command, its health check until it passes, a question, the end."""
        health = self.config["Healthcheck"]["Test"]
        assert health[0] == "CMD"
        return f"""
        {self.entrypoint} {shlex.join(self.config["Cmd"])} 2>/tmp/log & server=$!
        for _ in $(seq 60); do
            sleep 0.5
            if {shlex.join(health[1:])} 2>/tmp/health; then break; fi
        done
        {shlex.join(health[1:])} && echo healthy
        cat model_inventory.json | head -3
        python -c {shlex.quote(ASK)}
        kill $server; wait $server; echo "ended with $?"
        cat /tmp/log >&2
        """


@pytest.fixture(scope="session")
def prepared() -> Path:
    """The folder that `make test-images` fills: base.tar, and wheels."""
    named = os.environ.get("AIRGAP_IMAGES")
    if named is None:
        pytest.skip(MAKE)
    assert os.geteuid() == 0, MAKE
    return Path(named)


@pytest.fixture(scope="module")
def builder(
    prepared: Path,
    foreign: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Builder]:
    folder = tmp_path_factory.mktemp("buildah")
    wheels = folder / "wheels"
    shutil.copytree(prepared / "wheels", wheels)
    (wheels / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    for driver in ("overlay", "vfs"):  # the one that shares layers, where the kernel lets it
        storage = ("--root", str(folder / driver), "--runroot", str(folder / f"{driver}-run"))
        command = (foreign("buildah"), "--storage-driver", driver, *storage)
        tried = subprocess.run([*command, "from", "scratch"], capture_output=True, check=False)
        if tried.returncode == 0:
            break
    builder = Builder(command, driver == "overlay", wheels)
    base = builder.run("from", "scratch")
    builder.run("add", base, prepared / "base.tar", "/")
    builder.run("commit", "--quiet", base, base_name())
    yield builder
    builder.run("umount", "--all")
    builder.run("rm", "--all")
    subprocess.run(["umount", folder / driver / driver], capture_output=True, check=False)


@pytest.fixture(scope="module")
def opened(builder: Builder) -> Callable[[str], Image]:
    """Mounts the file system of an image that was built."""

    def image(tag: str) -> Image:
        container = builder.run("from", "--pull-never", f"localhost/{tag}")
        config = json.loads(builder.run("inspect", "--type", "image", f"localhost/{tag}"))
        return Image(Path(builder.run("mount", container)), config["Docker"]["config"])

    return image


@pytest.fixture(scope="module")
def host(demo_site: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A host that trusts alice, with her bundle mounted."""
    folder = tmp_path_factory.mktemp("host")
    place = type(demo_site.place)(folder)
    shutil.copytree(demo_site.place.keys, place.keys)
    shutil.copyfile(demo_site.place.passphrase, place.passphrase)
    place.trust("alice", demo_site.fingerprint)
    mounted = place.airgap("mount", demo_site.bundle)
    assert mounted.code == 0, mounted.err
    for one in (folder, *folder.parents[:2]):
        one.chmod(0o755)
    return place


@pytest.fixture(scope="module")
def plain(builder: Builder, opened: Callable[[str], Image]) -> Image:
    built = builder.build("plain")
    assert built.returncode == 0, built.stderr
    return opened("plain")


def baked(builder: Builder, tag: str, host: Any, folder: Path, name: str) -> Any:
    contexts = (f"bundle={folder}", f"trust={host.root / 'trust'}")
    given = [one for context in contexts for one in ("--build-context", context)]
    return builder.build(tag, *given, "--build-arg", f"BUNDLE={name}")


def programs(rootfs: Path) -> list[Path]:
    """Everything in the folders where a shell looks, links among them."""
    places = ("bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "opt/airgap/bin")
    found = [path for place in places for path in (rootfs / place).glob("*")]
    assert {"sh", "python", "airgap"} <= {path.name for path in found}
    return found


def test_an_image_has_the_isolated_side_and_no_tool_to_build_with(plain: Image) -> None:
    (site,) = (plain.rootfs / "opt/airgap/lib").glob("python3.*/site-packages")
    tops = {path.name for path in site.iterdir()}
    assert {"airgap", "runtime", "faster_whisper", "uvicorn"} <= tops
    assert tops & {"bundler", "profiles", "setuptools", "pip"} == set()
    assert list(plain.rootfs.glob("build/*")) == []
    assert not (plain.rootfs / "root/.cache").exists()
    assert list((plain.rootfs / "srv/airgap").iterdir()) == []
    assert list((plain.rootfs / "media").iterdir()) == []
    assert [path.name for path in programs(plain.rootfs) if BUILDS.fullmatch(path.name)] == []
    assert plain.config["User"] == "10001:10001"
    build = f"{plain.entrypoint} build demo; echo $?"
    said = plain.run(f"id -u; {build}; touch /app/x || echo read-only")
    assert said.stdout.splitlines() == ["10001", "2", "read-only"]
    assert "belongs to the connected side" in said.stderr


def test_a_mounted_root_is_served_without_a_network(plain: Image, host: Any) -> None:
    said = plain.run(plain.serving, host.root)
    assert "healthy" in said.stdout, said.stderr
    assert '"bundle": "demo"' in said.stdout
    assert "ask what you can do for your country" in said.stdout
    assert said.stdout.endswith("ended with 0\n")
    assert "Running in OFFLINE mode" in said.stderr


def test_an_image_without_a_bundle_says_so(plain: Image) -> None:
    said = plain.run(f"{plain.entrypoint} {shlex.join(plain.config['Cmd'])}")
    assert said.returncode == 2
    assert "expected one bundle mounted in '/srv/airgap', found: none" in said.stderr


def test_a_bundle_is_baked_after_it_was_verified(
    builder: Builder, opened: Callable[[str], Image], host: Any, demo_site: Any
) -> None:
    built = baked(builder, "baked", host, demo_site.bundle.parent, demo_site.bundle.name)
    assert built.returncode == 0, built.stderr
    assert "demo-1.0.0: verified and mounted" in built.stdout
    image = opened("baked")
    root = image.rootfs / "srv/airgap"
    assert {path.name for path in root.iterdir()} == {
        *("lock", "mounts", "staging", "state", "store", "trust")
    }  # no key of a host, and no log that it signed
    model = next((root / "mounts").rglob("model.bin"))
    assert model.stat().st_nlink > 1  # one copy
    said = image.run(f"{image.entrypoint} cat /app/model_inventory.json")
    assert json.loads(said.stdout)["bundle"] == "demo"
    said = image.run(image.serving)
    assert "healthy" in said.stdout, said.stderr
    assert "ask what you can do for your country" in said.stdout


def test_a_bundle_that_is_not_what_was_signed_leaves_no_image(
    builder: Builder, host: Any, demo_site: Any, tmp_path: Path
) -> None:
    """Under the name of one that was baked before: a builder's cache does not let it pass."""
    content = bytearray(demo_site.bundle.read_bytes())
    content[-1_000_000] ^= 1
    (tmp_path / demo_site.bundle.name).write_bytes(content)
    built = baked(builder, "damaged", host, tmp_path, demo_site.bundle.name)
    assert built.returncode != 0
    assert "is not what was signed: frame 19" in built.stderr
    assert "exit status 3" in built.stderr
    assert not builder.has("damaged")


def test_a_bundle_that_nobody_trusts_leaves_no_image(
    builder: Builder, demo_site: Any, fresh_place: Callable[[], Any]
) -> None:
    stranger = fresh_place()
    stranger.trust("bob", stranger.keygen("bob"))
    built = baked(builder, "untrusted", stranger, demo_site.bundle.parent, demo_site.bundle.name)
    assert built.returncode != 0
    assert "exit status 3" in built.stderr
    assert not builder.has("untrusted")


def test_a_bundle_that_nobody_named_is_not_left_out_in_silence(
    builder: Builder, demo_site: Any
) -> None:
    context = f"bundle={demo_site.bundle.parent}"
    built = builder.build("unnamed", "--build-context", context)
    assert built.returncode != 0
    assert "--build-arg BUNDLE=FILE" in built.stderr
    assert not builder.has("unnamed")


@pytest.mark.usefixtures("plain")
def test_an_image_crosses_in_a_bundle(
    builder: Builder,
    host: Any,
    demo_lock: Lock,
    demo_files: Mapping[str, Path],
    foreign: Callable[[str], str],
) -> None:
    """Saved, locked, scanned, signed, mounted, loaded: what comes out is the very same image."""
    folder: Path = host.folder
    archive = folder / "airgap-cpu.tar"
    builder.run("push", "--quiet", "localhost/plain", f"docker-archive:{archive}:airgap:cpu")
    profile = (ROOT / "profiles/demo.yaml").read_text().replace("name: demo", "name: site")
    image = "{image: airgap-cpu, file: airgap-cpu.tar, source: {local: .}, licence: X}"
    (folder / "site.yaml").write_text(f"{profile}images: [{image}]\n")
    content = archive.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    server = LockedModel(
        id="airgap-cpu",
        role="image",
        engine=None,
        repository=None,
        commit=None,
        licence="X",
        gated=False,
        sources=(Local("."),),
        files=(LockedFile(archive.name, len(content), digest),),
    )
    lock = replace(
        demo_lock,
        name="site",
        profile_sha256=hashlib.sha256((folder / "site.yaml").read_bytes()).hexdigest(),
        models=(*demo_lock.models, server),
    )
    (folder / "site.lock.yaml").write_bytes(lock.to_bytes())
    signed = ("--key", "alice", "--passphrase-file", host.passphrase)
    cache = {"AIRGAP_CACHE": str(folder / "cache")}  # 0.8 GB that nobody needs again
    for path in demo_files.values():
        copy = folder / "cache" / path.relative_to(places.download_cache())
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    built = host.airgap("build", "./site.yaml", *signed, **cache)
    assert built.code == 0, built.err
    mounted = host.airgap("mount", "site-1.0.0/site-1.0.0.tar.zst")
    assert mounted.code == 0, mounted.err
    out = folder / "out.tar"
    loaded = host.airgap("load", "--bundle", "site", "--to", out)
    assert loaded.code == 0, loaded.err
    assert hashlib.sha256(out.read_bytes()).hexdigest() == digest
    skopeo = [foreign("skopeo"), "inspect", "--config", f"docker-archive:{out}"]
    told = subprocess.run(skopeo, capture_output=True, text=True, check=True)
    assert json.loads(told.stdout)["config"]["User"] == "10001:10001"
