"""A wheel that is built of an sdist: by a real backend, by hostile ones, from lock to bundle."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from airgap.errors import AirgapError, UsageError
from bundler.build import build
from bundler.fetch import fetch
from bundler.lock import Lock
from bundler.locked_model import LockedFile
from bundler.locking import lock_profile
from bundler.plan import make_plan
from bundler.profile import Profile
from bundler.scan.verdict import UnsafeError
from bundler.sources import Access
from bundler.wheelhouse import from_source
from bundler.wheelhouse.from_source import FromSource
from bundler.wheelhouse.packing import pack
from bundler.wheelhouse.recipe import Recipe

ARM = "manylinux_2_28_aarch64"
Build = Callable[..., tuple[str, bytes]]

SYSTEM = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
GOOD = textwrap.dedent("""
    import pathlib, shutil
    def build_wheel(folder, settings=None, metadata=None):
        for one in pathlib.Path("out").iterdir():
            shutil.copy(one, folder)
        return "x"
""")


@pytest.fixture(autouse=True)
def at_a_fixed_time(quiet_surroundings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767323045")


@pytest.fixture
def built(access: Access, kit: Any, tmp_path: Path) -> Build:
    """Builds `toy==1.0`, of an sdist whose backend runs these lines and leaves these wheels."""

    def built(
        lines: str = "", *made: tuple[str, bytes], files: dict[str, bytes] | None = None
    ) -> tuple[str, bytes]:
        made = made or (kit.installable("toy==1.0"),)
        source = {f"out/{name}": content for name, content in made}
        source |= {"pyproject.toml": SYSTEM.encode(), "backend.py": (GOOD + lines).encode()}
        content = kit.sdist("toy-1.0", {**source, **(files or {})})
        (tmp_path / "toy-1.0.tar.gz").write_bytes(content)
        sdist = LockedFile("toy-1.0.tar.gz", len(content), kit.sha256(content))
        recipe = Recipe(sdist, "backend", ())
        return FromSource("toy==1.0", recipe, (kit.Local(str(tmp_path)),)).build(access)

    return built


# --- what comes out -----------------------------------------------------------------------------


def test_the_wheel_is_packed_again_so_that_its_bytes_depend_on_its_files(
    built: Build, kit: Any
) -> None:
    name, plain = kit.installable("toy==1.0")
    other = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(plain)) as old, zipfile.ZipFile(other, "w") as new:
        for member in reversed(old.infolist()):  # another order, other times, not compressed
            new.writestr(zipfile.ZipInfo(member.filename, (2001, 1, 1, 0, 0, 0)), old.read(member))
    first, second = built("", (name, plain)), built("", (name, other.getvalue()))
    assert first == second
    assert first[0] == name
    with zipfile.ZipFile(io.BytesIO(first[1])) as archive:
        assert archive.namelist()[-1] == "toy-1.0.dist-info/RECORD"
        assert archive.read("toy-1.0.dist-info/RECORD").count(b"sha256=") == 3


@pytest.mark.parametrize(
    ("release", "tag", "said"),
    [
        ("joy==1.0", "py3-none-any", "is of another release"),
        ("toy==1.1", "py3-none-any", "is of another release"),
        ("toy==1.0", "cp311-none-any", "is not for every Python 3"),
        ("toy==1.0", "py2-none-any", "is not for every Python 3"),
        ("toy==1.0", "py3-none-manylinux_2_28_x86_64", "only 'py3-none-any' is taken"),
        ("toy==1.0", "cp311-abi3-any", "only 'py3-none-any' is taken"),
    ],
)
def test_another_wheel_than_the_one_that_was_meant(
    built: Build, kit: Any, release: str, tag: str, *, said: str
) -> None:
    with pytest.raises(UnsafeError, match=said) as caught:
        built("", kit.installable(release, tag=tag))
    assert (caught.value.exit_code, caught.value.rule) == (3, "sdist.result")
    assert "what was built of 'toy==1.0' is not a wheel that may travel" in caught.value.message


ELF = b"\x7fELF\x02\x01\x01" + bytes(57)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"toy/x.so": b"not even one"}, "holds code of a machine"),
        ({"toy/data.bin": ELF}, "data.bin"),
        ({"toy.pth": b"import os; os.system('true')\n"}, "Python runs it at each start"),
        ({"airgap/x.py": b""}, "it would replace a file of airgap"),
        ({"toy-1.0.data/data/bin/python3": b""}, "among the files of Python itself"),
    ],
)
def test_a_wheel_that_is_not_pure_or_not_harmless(
    built: Build, kit: Any, files: dict[str, bytes], said: str
) -> None:
    expected = said if "each start" not in said else "lines that Python runs at each start"
    with pytest.raises(UnsafeError, match=expected):
        built("", kit.installable("toy==1.0", files=files))


def test_two_wheels_or_none(built: Build, kit: Any) -> None:
    two = kit.installable("toy==1.0"), kit.installable("toy==1.0", tag="py2.py3-none-any")
    with pytest.raises(UnsafeError, match=r"expected one wheel, found 'toy-1\.0-py2"):
        built("", *two)
    with pytest.raises(UnsafeError, match="expected one wheel, found nothing"):
        built("build_wheel = lambda folder: None")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("os.symlink('/etc/passwd', name)", "cannot read 'toy-1.0-py3-none-any.whl'"),
        ("os.mkfifo(name)", "'toy-1.0-py3-none-any.whl' is not a regular file"),
        ("os.mkdir(name)", "cannot read 'toy-1.0-py3-none-any.whl'|is not a regular file"),
    ],
)
def test_what_only_looks_like_a_wheel(built: Build, lines: str, said: str) -> None:
    with pytest.raises(AirgapError, match=said):
        built(
            "import os\ndef build_wheel(folder):\n"
            f"    name = folder + '/toy-1.0-py3-none-any.whl'\n    {lines}\n"
        )


# --- what an sdist tries ------------------------------------------------------------------------


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.mark.parametrize(
    "lines",
    [
        "socket.create_connection(('127.0.0.1', {port}))",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))",
        "socket.socket(socket.AF_UNIX).connect('{folder}/nowhere')",
        "open('{folder}/secret').read()",
        "open('/etc/passwd').read()",
        "open('/proc/self/environ').read()",
        "os.listdir('{folder}')",
        "open('{folder}/new', 'w')",
        "os.unlink('{folder}/secret')",
        "os.rename('{folder}/secret', '{folder}/moved')",
        "os.link('{folder}/secret', 'here')",
        "os.symlink('x', '{folder}/link')",
        "os.truncate('{folder}/secret', 0)",
        "os.mkdir('{folder}/new')",
        "os.fork()",
        "subprocess.run(['/bin/true'])",
        "os.execv('/bin/true', ['true'])",
        "os.posix_spawn('/bin/true', ['true'], dict())",
        "os.kill(os.getppid(), 0)",
        "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (1, 1))",
        "__import__('airgap')",
        "__import__('pytest')",
    ],
)
def test_it_reaches_nothing_but_its_own_folder(
    built: Build, listener: socket.socket, tmp_path: Path, lines: str
) -> None:
    """What it tries raises in it, and nothing outside is any different."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("the private key")
    before = outside.stat(), (outside / "secret").stat()
    line = lines.format(port=listener.getsockname()[1], folder=outside)
    with pytest.raises(AirgapError) as caught:
        built(f"import os, resource, socket, subprocess\n{line}\n")
    found = caught.value
    assert "does not build in a process that reaches no network" in found.message
    refusals = ("PermissionError", "ModuleNotFoundError", "Invalid cross-device link")
    assert any(one in found.message for one in refusals)
    assert found.exit_code == 1
    assert (outside.stat(), (outside / "secret").stat()) == before
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_modes_and_times_of_other_files_stay(built: Build, tmp_path: Path) -> None:
    """Landlock has no say over these; setting them succeeds, and does nothing."""
    victim = tmp_path / "secret"
    victim.write_text("the private key")
    victim.chmod(0o600)
    before = victim.stat()
    built(
        f"import os\nos.chmod('{victim}', 0o777)\nos.utime('{victim}', (1, 1))\n"
        f"os.setxattr('{victim}', 'user.x', b'1')\nos.chown('{victim}', 65534, 65534)\n"
    )
    assert victim.stat() == before
    assert os.listxattr(victim) == []


def test_threads_are_allowed(built: Build) -> None:
    built("import threading\none = threading.Thread(target=print)\none.start()\none.join()\n")


def test_it_knows_nothing_of_this_builder(built: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with pytest.raises(AirgapError) as caught:
        built("import os\nraise SystemExit('it sees ' + ' '.join(sorted(os.environ)))\n")
    assert "it sees HOME LC_ALL PATH PYTHON" in caught.value.message
    assert "HF_TOKEN" not in caught.value.message


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("open('x', 'wb').truncate(300 << 20)", "File too large"),
        ("b'x' * (8 << 30)", "MemoryError"),
        ("import os; os.abort()", "does not build"),
        ("import os; os._exit(0)", "expected one wheel, found nothing"),
        ("get_requires_for_build_wheel = lambda: ['cython>=3']", "it needs cython>=3"),
        ("del build_wheel", "has no attribute 'build_wheel'"),
        ("import sys; sys.stderr.write('\\x1b[31mred'); raise SystemExit(1)", "red"),
    ],
)
def test_what_does_not_work(built: Build, lines: str, said: str) -> None:
    with pytest.raises(AirgapError, match=said):
        built(f"{lines}\n")


@pytest.mark.parametrize("lines", ["import time; time.sleep(600)", "while True: pass"])
def test_what_does_not_end(built: Build, monkeypatch: pytest.MonkeyPatch, lines: str) -> None:
    monkeypatch.setattr(from_source, "LONGEST", 2)
    with pytest.raises(AirgapError, match="did not build in 2 seconds"):
        built(f"{lines}\n")


@pytest.mark.parametrize("path", ["../../escaped", "a/../../escaped", "/escaped", "a\\b"])
def test_a_path_that_leads_out_is_not_unpacked(built: Build, path: str, tmp_path: Path) -> None:
    with pytest.raises(AirgapError, match="its file '"):
        built(files={path: b"x"})
    assert not list(tmp_path.rglob("escaped"))


def test_without_landlock_nothing_is_built(built: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child, with a kernel that has none: by a module that it imports before it begins."""
    lacking = (
        "import runpy\nfrom airgap import confined\ndef none(*_):\n"
        "    raise OSError(38, 'Function not implemented')\nconfined.confine = none\n"
        "runpy.run_module('bundler.wheelhouse.build_child', run_name='__main__')\n"
    )

    def run(command: list[str], **more: Any) -> subprocess.CompletedProcess[bytes]:
        python, *_, module = command[: command.index("bundler.wheelhouse.build_child") + 1]
        words = command[command.index(module) + 1 :]
        return popen([python, "-P", "-s", "-c", lacking, *words], **more)

    popen = subprocess.run
    monkeypatch.setattr(from_source.subprocess, "run", run)
    with pytest.raises(AirgapError, match="cannot be confined here, so it is not built") as caught:
        built()
    assert "Linux 5.13" in str(caught.value.hint)


# --- from profile to bundle ---------------------------------------------------------------------


PROFILE = f"""\
profile: 1
name: ward
description: A Whisper, and what runs it
device: cpu
diarization: none
models:
- sample: jfk
- asr: tiny
runtime:
  extras: [cpu]
  pythons: ['3.12']
  platforms: [{ARM}]
  no_binary: [av]
"""
SETUP = b"from setuptools import setup\nsetup(name='av', version='18.1.0', py_modules=['av']%s)\n"


@pytest.fixture
def av(published: Any, kit: Any) -> Callable[..., None]:
    """Publishes `av` as source alone, in the oldest way there is; and the setuptools of here."""

    def av(more: bytes = b"", **files: bytes) -> None:
        published.archives["av"] = {}
        members = {"setup.py": SETUP % more, "av.py": b"x = 1\n", **files}
        published.add("av", "av-18.1.0.tar.gz", kit.sdist("av-18.1.0", members))

    one = metadata.distribution("setuptools")
    files = {
        str(path): Path(str(path.locate())).read_bytes()
        for path in one.files or ()
        if "__pycache__" not in path.parts and path.name not in {"INSTALLER", "REQUESTED"}
    }
    name = f"setuptools-{one.version}-py3-none-any.whl"
    published.add("setuptools", name, pack(files, f"setuptools-{one.version}.dist-info"))
    av()
    return av


@pytest.fixture
def locked(av: Any, access: Access) -> tuple[Profile, Lock]:
    profile = Profile.parse(PROFILE.encode(), "ward.yaml")
    return profile, lock_profile(profile, None, access).lock


@pytest.fixture
def unmodelled(locked: tuple[Profile, Lock]) -> tuple[Profile, Lock]:
    """Without a model to load."""
    profile, lock = locked
    return profile, replace(lock, models=())


def av_of(lock: Lock) -> Any:
    assert lock.runtime is not None
    return next(one for one in lock.runtime.releases if one.name == "av==18.1.0")


def test_source_and_backend_are_locked_and_so_is_the_wheel(
    locked: tuple[Profile, Lock], access: Access, published: Any, kit: Any
) -> None:
    _, lock = locked
    release = av_of(lock)
    assert [one.path for one in release.files] == ["av-18.1.0-py3-none-any.whl"]
    assert release.recipe.backend == "setuptools.build_meta:__legacy__"
    assert [one.path.partition("-")[0] for one in release.recipe.tools] == ["setuptools"]
    sdist = published.archives["av"]["av-18.1.0.tar.gz"]
    assert release.recipe.sdist.sha256 == kit.sha256(sdist)
    assert lock.runtime is not None
    assert release.files[0].path in lock.runtime.targets[0].wheels
    assert Lock.parse(lock.to_bytes(), "l") == lock
    wheel = access.cache.path(release.files[0].sha256).read_bytes()
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        assert archive.read("av.py") == b"x = 1\n"


def test_locking_again_changes_nothing(
    locked: tuple[Profile, Lock], access: Access, published: Any, kit: Any
) -> None:
    profile, lock = locked
    published.add("setuptools", *kit.installable("setuptools==999"))  # which builds nothing
    again = lock_profile(profile, lock, access).lock
    assert av_of(again) == av_of(lock)


def test_a_project_that_nothing_asks_for_is_named(av: Any, access: Access) -> None:
    text = PROFILE.replace("[av]", "[av, aw]")
    with pytest.raises(UsageError, match="'no_binary' names aw, and nothing asks for it"):
        lock_profile(Profile.parse(text.encode(), "ward.yaml"), None, access)


@pytest.mark.heavy  # it resolves and builds twice
def test_what_it_requires_is_resolved_too(av: Any, access: Access, published: Any) -> None:
    published.publish("only-av-wants-it==2.0")
    av(b", install_requires=['only-av-wants-it']")
    lock = lock_profile(Profile.parse(PROFILE.encode(), "ward.yaml"), None, access).lock
    assert lock.runtime is not None
    assert "only-av-wants-it==2.0" in {one.name for one in lock.runtime.releases}


@pytest.mark.heavy  # it resolves and builds twice
def test_it_is_built_again_where_the_cache_lost_it(
    unmodelled: tuple[Profile, Lock], access: Access
) -> None:
    _, lock = unmodelled
    (file,) = av_of(lock).files
    before = access.cache.path(file.sha256).read_bytes()
    for one in access.cache.digests():
        access.cache.path(one).unlink()
    assert fetch(lock, access).paths[file.sha256].read_bytes() == before


def test_another_result_than_the_locked_one_is_refused(
    locked: tuple[Profile, Lock], access: Access, tmp_path: Path
) -> None:
    profile, lock = locked
    (file,) = av_of(lock).files
    lie = Lock.parse(lock.to_bytes().replace(file.sha256.encode(), b"f" * 64), "l")
    lie = replace(lie, models=())
    with pytest.raises(AirgapError, match=f"expected sha256 {'f' * 64}, found") as caught:
        build(profile, lie, access, tmp_path / "out", {})
    assert "source 'av-18.1.0.tar.gz'" in caught.value.message
    assert not (tmp_path / "out").exists()


def test_the_papers_say_that_it_was_built_here_and_of_what(
    unmodelled: tuple[Profile, Lock], access: Access, tmp_path: Path
) -> None:
    built = build(*unmodelled, access, tmp_path / "out", {})
    path, recipe = "wheels/av-18.1.0-py3-none-any.whl", av_of(unmodelled[1]).recipe
    assert path in built.manifest.built
    (derived,) = [one for one in built.manifest.derived if one.rule == "wheel-from-sdist"]
    sdist = f"checksum=sha256:{recipe.sdist.sha256}&file_name=av-18.1.0.tar.gz"
    assert derived.sources[0] == f"pkg:pypi/av@18.1.0?{sdist}"
    assert derived.sources[1].startswith("pkg:pypi/setuptools@")
    assert [one.path for one in built.manifest.files if one.path.endswith(".tar.gz")] == []
    folder = built.path.parent
    page = (folder / "REVIEW.html").read_text()
    assert page.count("BUILT HERE") == 2  # and this project
    assert derived.sources[0].replace("&", "&amp;") in page
    text = (folder / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bom = json.loads(text)
    (found,) = [one for one in bom["components"] if one["name"] == "av"]
    assert found["pedigree"]["ancestors"][0]["purl"] == derived.sources[0]
    assert derived.sources[1] in found["pedigree"]["notes"]


@pytest.mark.heavy  # it resolves and builds twice
def test_the_same_lock_gives_the_same_bytes(
    unmodelled: tuple[Profile, Lock], access: Access, tmp_path: Path
) -> None:
    first = build(*unmodelled, access, tmp_path / "a", {}).path
    for one in access.cache.digests():
        access.cache.path(one).unlink()
    assert build(*unmodelled, access, tmp_path / "b", {}).path.read_bytes() == first.read_bytes()


def test_a_plan_says_what_will_be_built(locked: tuple[Profile, Lock], access: Access) -> None:
    plan = make_plan(*locked, access)
    assert plan.runtime is not None
    assert plan.runtime.built == ("av-18.1.0.tar.gz",)


def test_a_licence_that_is_not_what_was_locked_is_found(
    locked: tuple[Profile, Lock], access: Access, tmp_path: Path
) -> None:
    profile, lock = locked
    text = lock.to_bytes().replace(
        b"numpy==2.4.6\n    licence: MIT", b"numpy==2.4.6\n    licence: X"
    )
    lock = replace(Lock.parse(text, "l"), models=())
    built = build(profile, lock, access, tmp_path / "out", {})
    assert built.manifest.scan is not None
    assert built.manifest.scan.verdict == "cautions"
    page = (built.path.parent / "REVIEW.html").read_text()
    assert "the lock says that its licence is &#39;X&#39;, and its METADATA &#39;MIT&#39;" in page


def test_a_recipe_that_contradicts_itself(locked: tuple[Profile, Lock]) -> None:
    text = locked[1].to_bytes().decode()
    for old, new, said in (
        ("sdist: {path: av-", "sdist: {path: aw-", "'aw-18.1.0.tar.gz' is not an sdist of 'av=="),
        ("setuptools.build_meta:__legacy__", "'os; setuptools'", "a build backend"),
        ("with:\n      - {path: setuptools", "with:\n      - {path: ../setuptools", "'..'"),
        ("with:\n      - {path: setuptools-", "with:\n      - {path: x", "not the name of a wheel"),
    ):
        assert old in text
        with pytest.raises(UsageError) as caught:
            Lock.parse(text.replace(old, new).encode(), "l.yaml")
        assert said in caught.value.message


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("[av, av]", "a project stands twice"),
        ("[':all:']", "the normalised name of a project"),
        ("[Av]", "the normalised name of a project"),
        ("av", "'no_binary'"),
    ],
)
def test_a_profile_names_each_project(value: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Profile.parse(PROFILE.replace("[av]", value).encode(), "ward.yaml")
    assert said in caught.value.message
