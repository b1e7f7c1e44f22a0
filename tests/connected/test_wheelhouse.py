"""The runtime from profile to bundle: an index on loopback, the real resolver, wheels of stubs."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airgap.errors import AirgapError, UsageError
from airgap.manifest import Exemption, Manifest
from bundler.build import build
from bundler.compose import compose, whole_tree
from bundler.fetch import fetch
from bundler.lock import Lock
from bundler.locking import lock_profile
from bundler.plan import make_plan
from bundler.profile import Profile
from bundler.scan.verdict import UnsafeError
from bundler.sources import Access
from bundler.sources.local import Local
from bundler.sources.wheels import Wheels
from bundler.wheelhouse.complete import check_complete
from bundler.wheelhouse.overlaps import check_overlaps
from bundler.wheelhouse.own import FILE, own_wheel

X86, ARM = "manylinux_2_28_x86_64", "manylinux_2_28_aarch64"
Cached = Callable[[], list[str]]

PROFILE = """\
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
"""
HOST = "  pythons: ['3.11', '3.12']\n  platforms: [manylinux_2_28_x86_64, manylinux_2_28_aarch64]\n"
ONE = "  pythons: ['3.12']\n  platforms: [manylinux_2_28_aarch64]\n"

NATIVE = "ctranslate2==4.8.5"


def parse(text: str) -> Profile:
    return Profile.parse(text.encode(), "ward.yaml")


@pytest.fixture(autouse=True)
def at_a_fixed_time(quiet_surroundings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767323045")


@pytest.fixture
def locked(published: Any, access: Access) -> Lock:
    return lock_profile(parse(PROFILE + ONE), None, access).lock


@pytest.fixture
def everywhere(published: Any, access: Access) -> Lock:
    return lock_profile(parse(PROFILE + HOST), None, access).lock


def wheels(lock: Lock, target: str) -> list[str]:
    assert lock.runtime is not None
    (found,) = [one.wheels for one in lock.runtime.targets if one.target.name == target]
    return [one.partition("-")[0] if NATIVE[:11] not in one else one for one in found]


def test_each_target_gets_what_it_needs_and_nothing_else(everywhere: Lock) -> None:
    always = ["av", "cryptography", "faster_whisper", "numpy", "pip", "pyyaml", "rich", "typer"]
    for python, platform in (("cp311", X86), ("cp311", ARM), ("cp312", X86), ("cp312", ARM)):
        native = f"ctranslate2-4.8.5-{python}-{python}-{platform}.whl"
        further = ["setuptools"] * (python == "cp312") + ["x86_only"] * (platform == X86)
        expected = sorted([*always, "zstandard", native, *further])
        assert wheels(everywhere, f"{python}-{platform}") == expected


def test_a_release_is_locked_with_size_digest_and_licence(locked: Lock, published: Any) -> None:
    assert locked.runtime is not None
    releases = {one.name: one for one in locked.runtime.releases}
    assert releases["av==18.1.0"].licence == "MIT"
    assert releases[NATIVE].licence == "The MIT License"
    assert releases["setuptools==80.0"].licence == "unknown"
    for file in releases[NATIVE].files:
        content = published.archives["ctranslate2"][file.path]
        assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert locked.runtime.sources == (Wheels(),)
    assert locked.missing() == []


def test_the_lock_reads_back(locked: Lock) -> None:
    assert Lock.parse(locked.to_bytes(), "l") == locked
    assert Lock.parse(locked.to_bytes(), "l").to_bytes() == locked.to_bytes()


def test_locking_again_changes_nothing_and_asks_no_wheel(
    locked: Lock, published: Any, access: Access
) -> None:
    published.headers.clear()
    again = lock_profile(parse(PROFILE + ONE), locked, access)
    assert again.lock is locked
    assert again.changes == ()
    assert not any("bytes=-" in one.get("range", "") for one in published.headers)


def test_sources_that_somebody_added_stay(locked: Lock, access: Access) -> None:
    assert locked.runtime is not None
    runtime = replace(locked.runtime, sources=(Local("mirror"), *locked.runtime.sources))
    again = lock_profile(parse(PROFILE + ONE), replace(locked, runtime=runtime), access)
    assert again.lock.runtime is not None
    assert again.lock.runtime.sources == (Local("mirror"), Wheels())


def test_a_new_release_is_told(locked: Lock, published: Any, access: Access) -> None:
    published.publish("av==18.2.0", License_Expression="MIT")
    again = lock_profile(parse(PROFILE + ONE), locked, access)
    told = [str(one) for one in again.changes]
    assert any(one.startswith("+ av-18.2.0") for one in told)
    assert any(one.startswith("- av-18.1.0") for one in told)
    assert (again.lock.version, again.lock.sequence) == ("1.0.1", 2)


def test_the_models_can_stay_as_they_are(
    locked: Lock, published: Any, access: Access, hub: Any
) -> None:
    published.publish("av==18.2.0")
    hub.asked.clear()
    again = lock_profile(parse(PROFILE + ONE), locked, access, runtime_only=True)
    assert again.lock.models == locked.models
    assert again.lock.sequence == 2
    assert hub.asked == []
    with pytest.raises(UsageError, match="--runtime-only leaves the models as they are locked"):
        lock_profile(parse(PROFILE + ONE), None, access, runtime_only=True)


def test_a_project_comes_from_its_own_index_and_no_other(
    published: Any, access: Access, kit: Any, web: Any
) -> None:
    name, content = kit.installable("av==17.0.0+cpu")
    other = type(published)()
    try:
        other.add("av", name, content)
        other.add("numpy", *kit.installable("numpy==9.9"))  # confusion: it is nobody's wish
        address = f"{other.url}/simple"
        profile = parse(PROFILE + ONE + f"  indexes: {{av: '{address}'}}\n")
        lock = lock_profile(profile, None, access).lock
        lock = replace(lock, models=lock.models[1:])
        assert lock.runtime is not None
        names = {one.name for one in lock.runtime.releases}
        assert {"av==17.0.0+cpu", "numpy==2.4.6"} <= names
        assert lock.runtime.sources == (Wheels(), Wheels(address))
        assert fetch(lock, access).paths[kit.sha256(content)].read_bytes() == content
        assert "av-17.0.0-cpu" in {one.id for one in lock.artifacts}
    finally:
        other.close()


def test_what_is_only_source_is_refused(
    published: Any, access: Access, kit: Any, cached: Cached
) -> None:
    published.archives["av"] = {}
    published.add(
        "av", "av-18.1.0.tar.gz", kit.sdist("av-18.1.0", {"setup.py": b"raise SystemExit"})
    )
    with pytest.raises(AirgapError, match=f"no wheels of everything for cp312-{ARM}") as caught:
        lock_profile(parse(PROFILE + ONE), None, access)
    assert "av" in caught.value.message
    assert "no_binary: [PROJECT]" in str(caught.value.hint)
    assert caught.value.exit_code == 1


@pytest.mark.heavy  # the resolver tries several times
def test_an_index_that_is_not_there(published: Any, access: Access) -> None:
    from bundler.sources.pypi import Index  # noqa: PLC0415 - beside what it tries

    nowhere = replace(access, index=Index("http://user:secret@127.0.0.1:9/simple/"))
    with pytest.raises(AirgapError) as caught:
        lock_profile(parse(PROFILE + ONE), None, nowhere)
    assert "secret" not in caught.value.message


# --- the bundle ---------------------------------------------------------------------------------


@pytest.fixture
def arm(published: Any, access: Access) -> tuple[Profile, Lock]:
    """Of another machine and, mostly, another Python than this one; without a model to load."""
    profile = parse(PROFILE + ONE)
    return profile, replace(lock_profile(profile, None, access).lock, models=())


@pytest.fixture
def bundled(arm: tuple[Profile, Lock], access: Access, tmp_path: Path) -> Manifest:
    built = build(*arm, access, tmp_path, {})
    (tmp_path / "tree").mkdir()
    command = ["tar", "--zstd", "-xf", built.path, "-C", tmp_path / "tree"]
    subprocess.run(command, check=True)
    return built.manifest


def test_the_tree_has_wheels_requirements_and_our_own(bundled: Manifest, tmp_path: Path) -> None:
    folder = tmp_path / "tree/wheels"
    listed = (folder / f"requirements-cp312-{ARM}.txt").read_text().splitlines()
    assert listed == sorted(listed)
    digests = {line.rpartition(":")[2] for line in listed}
    assert digests == {hashlib.sha256(one.read_bytes()).hexdigest() for one in folder.glob("*.whl")}
    assert listed[0].startswith("airgap-bundler[cpu]==")
    assert "av==18.1.0 --hash=sha256:" in listed[1]
    assert bundled.built == (f"wheels/{FILE}",)
    assert bundled.platform == ARM
    (derived,) = [one for one in bundled.derived if one.rule == "wheel-requirements"]
    assert set(derived.sources) == {f"wheels/{one.name}" for one in folder.glob("*.whl")}


@pytest.fixture
def build_on(
    locked: Lock, access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Manifest]:
    """Build wheels for aarch64 and a model, by a version that could load no model of any engine."""
    profile = parse(PROFILE + ONE + "scan: {dangers: warn}\n")  # the model is a stub
    models = tuple(one for one in locked.models if one.engine)

    def built(machine: str) -> Manifest:
        monkeypatch.setattr("bundler.dryload.LIBRARIES", {})
        monkeypatch.setattr("bundler.dryload.platform.machine", lambda: machine)
        return build(profile, replace(locked, models=models), access, tmp_path / "out", {}).manifest

    return built


def test_models_of_a_bundle_for_another_machine_are_not_loaded(
    build_on: Callable[[str], Manifest],
) -> None:
    check = build_on("x86_64").dry_load
    assert check is not None
    assert check.verdict == "not dry-loaded"
    assert check.exempt == (Exemption("tiny", "built on x86_64 for aarch64"),)


def test_models_are_loaded_where_the_bundle_is_for_such_a_machine(
    build_on: Callable[[str], Manifest], tmp_path: Path
) -> None:
    with pytest.raises(AirgapError, match="this version cannot load models of 'faster-whisper'"):
        build_on("aarch64")
    assert not (tmp_path / "out").exists()


def test_pip_would_install_it_there(bundled: Manifest, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "uv", "pip", "install", "--no-index", "--require-hashes"]
    command += ["--find-links", tmp_path / "tree/wheels", "--python-version", "3.12"]
    command += ["--python-platform", "aarch64-manylinux_2_28", "--target", tmp_path / "host"]
    command += ["-r", tmp_path / f"tree/wheels/requirements-cp312-{ARM}.txt"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "host/airgap/cli.py").exists()


def test_the_papers_tell_of_the_programs(bundled: Manifest, tmp_path: Path) -> None:
    bom = json.loads((tmp_path / "tree/sbom.cdx.json").read_text())
    found = {one.get("purl"): one for one in bom["components"]}
    assert found["pkg:pypi/av@18.1.0"]["type"] == "library"
    assert found["pkg:pypi/av@18.1.0"]["licenses"] == [{"license": {"id": "MIT"}}]
    assert (
        found["pkg:pypi/ctranslate2@4.8.5"]["licenses"][0]["license"]["name"] == "The MIT License"
    )
    page = (tmp_path / "tree/REVIEW.html").read_text()
    assert "Programs for the isolated host" in page
    assert "BUILT HERE" in page
    assert "ctranslate2-4.8.5-cp312-cp312" in page
    assert bundled.scan is not None
    assert bundled.scan.verdict == "clean"


def test_the_same_lock_gives_the_same_bytes(
    arm: tuple[Profile, Lock], access: Access, tmp_path: Path
) -> None:
    first, second = (build(*arm, access, tmp_path / name, {}).path for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_a_plan_counts_the_runtime(everywhere: Lock, access: Access) -> None:
    plan = make_plan(parse(PROFILE + HOST), everywhere, access)
    assert plan.runtime is not None
    assert everywhere.runtime is not None
    files = {file.path: file.size for one in everywhere.runtime.releases for file in one.files}
    assert plan.runtime.files == len(files) == 15
    assert plan.runtime.size == sum(size or 0 for size in files.values())
    assert {one.wheels for one in plan.runtime.targets} == {10, 11, 12}
    assert plan.hosts == ("127.0.0.1",)


# --- what a build refuses -----------------------------------------------------------------------


def without(lock: Lock, project: str) -> Lock:
    """The lock, as if somebody had taken a wheel out of its target by hand."""
    assert lock.runtime is not None
    targets = tuple(
        replace(one, wheels=tuple(w for w in one.wheels if not w.startswith(project)))
        for one in lock.runtime.targets
    )
    return replace(lock, runtime=replace(lock.runtime, targets=targets))


def refused(
    profile: Profile, lock: Lock, access: Access, out: Path, error: type[AirgapError]
) -> AirgapError:
    """Build, which raises; nothing is left."""
    with pytest.raises(error) as caught:
        build(profile, lock, access, out, {})
    assert not out.exists() or list(out.iterdir()) == []
    return caught.value


def test_a_wheel_that_is_missing_is_named(
    arm: tuple[Profile, Lock], access: Access, tmp_path: Path
) -> None:
    profile, lock = arm
    error = refused(profile, without(lock, "setuptools"), access, tmp_path / "out", UsageError)
    assert "ctranslate2 asks for 'setuptools; python_version >= \"3.12\"'" in error.message
    assert "which is not locked" in error.message
    assert error.hint == "airgap lock ward"


def test_a_wheel_of_another_version_is_named(
    locked: Lock, access: Access, published: Any, kit: Any
) -> None:
    name, content = kit.installable("av==19.0")
    published.add("av", name, content)
    text = locked.to_bytes().decode().replace("av-18.1.0-py3", "av-19.0-py3")
    old = next(one for one in published.archives["av"] if one.startswith("av-18"))
    text = text.replace(published.digests[old], published.digests[name])
    text = text.replace("release: av==18.1.0", "release: av==19.0")
    size = len(published.archives["av"][old])
    text = text.replace(f"{name}, size: {size}", f"{name}, size: {len(content)}")
    swapped = replace(Lock.parse(text.encode(), "l"), models=())
    with pytest.raises(UsageError, match=r"asks for 'av<19.*', and 19\.0 is locked"):
        check_complete(swapped, fetch(swapped, access).paths)


def test_a_lock_that_was_never_resolved_is_incomplete(
    arm: tuple[Profile, Lock], access: Access, tmp_path: Path
) -> None:
    profile, lock = arm
    assert lock.runtime is not None
    targets = tuple(replace(one, wheels=()) for one in lock.runtime.targets)
    lock = replace(lock, runtime=replace(lock.runtime, targets=targets, releases=()))
    error = refused(profile, lock, access, tmp_path / "out", UsageError)
    assert f"runtime: what cp312-{ARM} installs is not known" in error.message


def test_a_wheel_that_is_not_the_locked_one_is_refused(
    arm: tuple[Profile, Lock], access: Access, published: Any, kit: Any, tmp_path: Path
) -> None:
    profile, lock = arm
    name, _ = kit.installable("av==18.1.0")
    _, other = kit.installable("av==18.1.0", files={"av/__init__.py": b"import os"})
    published.served[name] = kit.Reply(200, other)
    error = refused(profile, lock, access, tmp_path / "out", AirgapError)
    assert f"'{name}'" in error.message


def test_a_wheel_that_runs_code_at_each_start_is_refused(
    published: Any, access: Access, kit: Any, tmp_path: Path
) -> None:
    published.archives["av"] = {}
    files = {"av/__init__.py": b"", "av.pth": b"import os; os.system('true')\n"}
    published.add("av", *kit.installable("av==18.1.0", files=files))
    profile = parse(PROFILE + ONE)
    lock = lock_profile(profile, None, access).lock
    lock = replace(lock, models=())
    error = refused(profile, lock, access, tmp_path / "out", UnsafeError)
    assert "av.pth' [wheel.startup]" in error.message
    assert error.exit_code == 3


OVERLAPS = [
    ("shared/lib/libshared.so.9", "shared/lib/libshared.so.9"),
    ("shared/one.py", "numpy-2.4.6.data/purelib/shared/one.py"),
    ("av-18.1.0.data/platlib/shared/one.py", "numpy-2.4.6.data/purelib/shared/one.py"),
    ("av-18.1.0.data/scripts/tool", "numpy-2.4.6.data/data/bin/tool"),
]
"""What two wheels bring, that goes to one place."""


@pytest.fixture
def overlapping(published: Any, access: Access, kit: Any) -> Callable[..., Lock]:
    """A lock of two wheels, each with a file more."""

    def make(one: dict[str, bytes], other: dict[str, bytes]) -> Lock:
        for release, files in (("av==18.1.0", one), ("numpy==2.4.6", other)):
            project = release.partition("==")[0]
            published.archives[project] = {}
            members = {f"{project}/__init__.py": b"", **files}
            published.add(project, *kit.installable(release, files=members))
        return replace(lock_profile(parse(PROFILE + ONE), None, access).lock, models=())

    return make


@pytest.mark.parametrize(("one", "other"), OVERLAPS)
def test_two_wheels_that_would_overwrite_each_other_are_refused(
    overlapping: Callable[..., Lock], access: Access, tmp_path: Path, one: str, other: str
) -> None:
    lock = overlapping({one: b"of CUDA 12"}, {other: b"of CUDA 13"})
    error = refused(parse(PROFILE + ONE), lock, access, tmp_path / "out", UsageError)
    assert "wheels of 'ward' would overwrite each other on the isolated host" in error.message
    assert f"cp312-{ARM}: 'av-18.1.0-py3-none-any.whl' and 'numpy-2.4.6-" in error.message
    assert error.hint is not None
    assert "airgap lock ward --runtime-only" in error.hint
    assert error.exit_code == 2


def test_what_two_wheels_bring_alike_is_no_overlap(
    overlapping: Callable[..., Lock], access: Access
) -> None:
    same = {"shared/__init__.py": b"", "shared/no_init.md": b"a namespace\n"}
    apart = {"av-18.1.0.data/headers/a.h": b"1"}, {"numpy-2.4.6.data/headers/a.h": b"2"}
    lock = overlapping({**same, **apart[0]}, {**same, **apart[1]})
    check_overlaps(lock, fetch(lock, access).paths)


def test_wheels_of_two_targets_do_not_meet(published: Any, access: Access, kit: Any) -> None:
    published.archives["ctranslate2"] = {}
    for python in ("cp311", "cp312"):
        for platform in (X86, ARM):
            tag = f"{python}-{python}-{platform}"
            files = {"ctranslate2/lib.so": tag.encode()}
            published.add("ctranslate2", *kit.installable("ctranslate2==4.8.5", (), tag, files))
    lock = replace(lock_profile(parse(PROFILE + HOST), None, access).lock, models=())
    check_overlaps(lock, fetch(lock, access).paths)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("release: av==18.1.0", "release: AV==18.1.0", "NAME==VERSION"),
        ("release: av==18.1.0", "release: aw==18.1.0", "is not a wheel of 'aw==18.1.0'"),
        ("wheels: [av-18", "wheels: [aw-18", "'aw-18.1.0-py3-none-any.whl' of cp3"),
        ("target: cp312", "target: cp39", "expected a target such as cp311-"),
        ("{path: av-18.1.0-py3", "{path: ../av-18.1.0-py3", "'..'"),
        ("extras: [cpu]", "extras: [cpus]", "did you mean 'cpu'"),
        ("- {wheels: pypi}", "- {wheels: 'ftp://h/'}", "an address"),
        ("- {wheels: pypi}", "- {wheel: pypi}", "unknown source 'wheel'"),
    ],
)
def test_a_lock_that_contradicts_itself(locked: Lock, old: str, new: str, said: str) -> None:
    text = locked.to_bytes().decode()
    assert old in text
    with pytest.raises(UsageError) as caught:
        Lock.parse(text.replace(old, new).encode(), "l.yaml")
    assert said in caught.value.message


# --- this project's own wheel, and a carried Python -----------------------------------------------


def test_our_own_wheel_is_a_function_of_its_files() -> None:
    assert own_wheel().content == own_wheel().content
    assert own_wheel().metadata.licence == "Apache-2.0"


def archive(members: dict[str, bytes | str]) -> bytes:
    """A .tar.gz; a text is a link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.mode = 0o755
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                tar.addfile(entry)
            else:
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


PYTHON = Path(sys.executable).resolve().read_bytes()


@pytest.fixture
def carried(published: Any, tmp_path: Path) -> Callable[..., Profile]:
    """A profile that carries a Python, made of this one's program, from a local folder."""
    (tmp_path / "pythons").mkdir()

    def make(sha256: str = "", members: dict[str, bytes | str] | None = None) -> Profile:
        content = archive(
            members or {"python/bin/python3.12": PYTHON, "python/bin/python3": "python3.12"}
        )
        (tmp_path / "pythons/cpython.tar.gz").write_bytes(content)
        digest = f", sha256: '{sha256}'" if sha256 else ""
        return parse(
            PROFILE + "  python: carried\n  interpreters:\n"
            f"  - {{target: cp312-{X86}, file: cpython.tar.gz{digest},\n"
            "     source: {local: pythons}}\n"
        )

    return make


def test_a_carried_python_is_locked_and_travels(
    carried: Callable[..., Profile], access: Access, tmp_path: Path
) -> None:
    profile = carried()
    lock = lock_profile(profile, None, access).lock
    assert Lock.parse(lock.to_bytes(), "l") == lock
    lock = replace(lock, models=())
    tree = whole_tree(lock, fetched := fetch(lock, access).paths)
    manifest, contents = compose(profile, lock, fetched, tree=tree)
    path = f"wheels/python/cp312-{X86}.tar.gz"
    place = contents[path]
    assert isinstance(place, Path)
    assert place.read_bytes() == (tmp_path / "pythons/cpython.tar.gz").read_bytes()
    (python,) = [one for one in manifest.artifacts if one.role == "python"]
    assert (python.id, python.path, python.licence) == (
        f"python-cp312-{X86}",
        "wheels/python",
        "PSF-2.0",
    )
    assert make_plan(profile, lock, access).runtime.python == "carried"  # type: ignore[union-attr]


def test_a_carried_python_of_another_digest_is_not_locked(
    carried: Callable[..., Profile], access: Access, cached: Cached
) -> None:
    with pytest.raises(AirgapError, match="is not what the profile says: expected sha256 000"):
        lock_profile(carried("0" * 64), None, access)
    assert not any(len(name) == 64 and name.startswith("0") for name in cached())


@pytest.mark.skipif(sys.platform != "linux" or PYTHON[18] != 62, reason="an x86-64 Python")
def test_a_carried_python_is_judged(
    carried: Callable[..., Profile], access: Access, tmp_path: Path
) -> None:
    profile = carried(members={"python/bin/python3": PYTHON, "python/lib/x": "../../../etc"})
    lock = lock_profile(profile, None, access).lock
    lock = replace(lock, models=())
    error = refused(profile, lock, access, tmp_path / "out", UnsafeError)
    assert "[python.link]" in error.message
