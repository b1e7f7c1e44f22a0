"""Runtimes and updates: models and programs change together, or not at all.

The carried program is a stand-in of a few lines, in a real wheel that the real pip installs; the
real one is at work in tests/e2e/test_bootstrap.py.
"""

from __future__ import annotations

import base64
import ensurepip
import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.heavy

TARGET = f"cp3{sys.version_info.minor}-manylinux_2_17_{platform.machine()}"
PROGRAM = """#!python
import sys
assert sys.argv[1:3] == ["runtime", "try"], sys.argv
{}
"""
HEARS = "print('heard by {}')"
FAILS = "sys.exit('error: cannot load')"


def wheel(version: str, program: str) -> tuple[str, bytes]:
    """A wheel of this project's name, with a command and nothing else."""
    top = f"airgap_bundler-{version}"
    files = {
        f"{top}.data/scripts/airgap": program.encode(),
        f"{top}.dist-info/METADATA": (
            f"Metadata-Version: 2.1\nName: airgap-bundler\nVersion: {version}\n"
        ).encode(),
        f"{top}.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(one).digest()).decode()[:-1]},"
        f"{len(one)}"
        for path, one in files.items()
    ]
    files[f"{top}.dist-info/RECORD"] = "\n".join([*lines, f"{top}.dist-info/RECORD,,\n"]).encode()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path, one in files.items():
            member = zipfile.ZipInfo(path)
            member.external_attr = 0o100755 << 16
            archive.writestr(member, one)
    return f"{top}-py3-none-any.whl", content.getvalue()


def pip() -> tuple[str, bytes]:
    """pip's own wheel, which every CPython brings."""
    (path,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    return path.name, path.read_bytes()


def runtime(version: str, does: str, target: str = TARGET) -> dict[str, bytes]:
    """What a bundle's tree has below `wheels/`."""
    wheels = {"airgap-bundler": wheel(version, PROGRAM.format(does)), "pip": pip()}
    lines = [
        f"{name}=={file.split('-')[1]} --hash=sha256:{hashlib.sha256(content).hexdigest()}\n"
        for name, (file, content) in sorted(wheels.items())
    ]
    tree = {f"wheels/{file}": content for file, content in wheels.values()}
    return {**tree, f"wheels/requirements-{target}.txt": "".join(lines).encode()}


@pytest.fixture
def bring(write, contents):
    """Writes a bundle with a runtime: its number is version, sequence, and what it hears by."""

    def bring(number: int, does: str = HEARS, **changes):
        more = runtime(f"{number}.0", does.format(number), **changes)
        title = {"version": f"{number}.0.0", "sequence": number + 7}
        return write(f"b{number}", contents={**contents, **more}, **title)

    return bring


@pytest.fixture
def sample(tmp_path):
    """A recording; the stand-in does not listen."""
    path = tmp_path / "speech.wav"
    path.write_bytes(b"")
    return path


@pytest.fixture
def first(host, bring, sample):
    """The host, with the first bundle and its runtime in service."""
    said = host.airgap("update", bring(1), "--sample", sample)
    assert said.code == 0, said.err
    return host


def serves(host) -> tuple[str, str]:
    """The version that is mounted, and what the command beside it hears by."""
    (mount,) = host.airgap("list", "--json").document["mounts"]
    command = host.current / "runtime/bin/airgap"
    heard = subprocess.run([command, "runtime", "try"], capture_output=True, text=True, check=True)
    return mount["version"], heard.stdout.strip()


def test_an_update_brings_models_and_programs_and_rollback_takes_both_back(
    first, bring, sample, unsound
):
    assert serves(first) == ("1.0.0", "heard by 1")
    said = first.airgap("update", bring(2), "--sample", sample, "--json")
    assert said.code == 0, said.err
    assert said.document["heard"] == "heard by 2"
    assert (said.document["generation"], said.document["left"]) == (2, 1)
    assert serves(first) == ("2.0.0", "heard by 2")
    assert "restart the server, which still runs by the old runtime" in said.err
    back = first.airgap("rollback")
    assert back.code == 0, back.err
    assert serves(first) == ("1.0.0", "heard by 1")
    assert "its runtime is another one; next: restart the server" in back.err
    assert unsound(first.root) == []
    assert first.airgap("verify", "--mounted").code == 0
    events = first.airgap("audit", "show", "--json").out
    assert '"update"' in events


def test_gc_keeps_the_runtimes_that_rollback_needs_and_no_other(first, bring, sample):
    for number in (2, 3):
        assert first.airgap("update", bring(number), "--sample", sample).code == 0
    assert len(list((first.root / "runtimes").iterdir())) == 3
    shown = first.airgap("gc", "--json").document
    (gone,) = shown["runtimes"]
    assert first.airgap("gc", "--yes").code == 0
    left = {one.name for one in (first.root / "runtimes").iterdir()}
    assert len(left) == 2
    assert gone not in left
    assert serves(first) == ("3.0.0", "heard by 3")
    assert first.airgap("rollback").code == 0
    assert serves(first) == ("2.0.0", "heard by 2")


def test_a_bundle_with_the_same_wheels_shares_the_runtime(first, write, contents, bring):
    again = {**contents, **runtime("1.0", HEARS.format(1)), "README.txt": b"next\n"}
    newer = write("same", contents=again, version="1.1.0", sequence=9)
    said = first.airgap("mount", newer)
    assert said.code == 0
    assert "warning" not in said.err
    assert serves(first) == ("1.1.0", "heard by 1")
    assert len(list((first.root / "runtimes").iterdir())) == 1


def test_a_mount_without_its_runtime_says_what_to_do(host, bring):
    said = host.airgap("mount", bring(1))
    assert said.code == 0
    command = host.current / "runtime/bin/airgap"
    assert f"carries a runtime, which is not installed: nothing is at '{command}'" in said.err
    assert "next: airgap runtime install ward" in said.err
    assert not (host.current / "runtime").exists()
    done = host.airgap("runtime", "install")
    assert done.code == 0, done.err
    assert str(host.current / "runtime/bin/airgap") in done.out
    assert serves(host) == ("1.0.0", "heard by 1")
    again = host.airgap("runtime", "install")
    assert again.code == 0
    said = host.airgap("mount", bring(2), "--quiet")  # of the next version, and not update
    assert said.code == 0
    assert not command.exists()
    assert "'ward-2.0.0' carries a runtime, which is not installed" in said.err


# --- what fails changes nothing ------------------------------------------------------------------


@pytest.fixture
def unchanged(first, snapshot, unsound):
    """Looks that what is served is as it was, to the last inode."""
    before = snapshot(first.root / "mounts"), (first.root / "state/accepted.json").read_bytes()

    def unchanged() -> bool:
        assert serves(first) == ("1.0.0", "heard by 1")
        assert unsound(first.root) == []
        now = snapshot(first.root / "mounts"), (first.root / "state/accepted.json").read_bytes()
        return now == before

    return unchanged


def test_a_runtime_that_does_not_transcribe_is_not_switched_to(first, bring, sample, unchanged):
    said = first.airgap("update", bring(2, FAILS), "--sample", sample)
    assert said.code == 1
    assert "the new runtime does not transcribe: error: cannot load" in said.err
    assert "what was served is served still" in said.err
    assert unchanged()


def test_a_runtime_for_another_host_is_not_installed(first, bring, sample, unchanged):
    said = first.airgap("update", bring(2, target="cp310-manylinux_2_17_riscv64"))
    assert said.code == 2  # no target of that machine: it carries no runtime, and no sample
    other = f"cp399-manylinux_2_17_{platform.machine()}"
    said = first.airgap("update", bring(3, target=other), "--sample", sample)
    assert said.code == 2
    assert f"the bundle's wheels are for {other}; found {platform.machine()}, glibc" in said.err
    assert "`python: carried`" in said.err
    assert unchanged()


def test_without_a_recording_nothing_is_touched(first, bring, unchanged):
    said = first.airgap("update", bring(2))
    assert said.code == 2
    assert "carries no recording to try it with" in said.err
    assert unchanged()


def test_an_older_bundle_is_refused_before_anything_else(first, bring, sample, unchanged):
    old = bring(0)
    said = first.airgap("update", old, "--sample", sample)
    assert said.code == 3
    assert "has sequence 7, and this host has accepted sequence 8" in said.err
    assert unchanged()


def test_a_wheel_that_was_changed_in_the_store_is_not_run(host, bring):
    assert host.airgap("mount", bring(1)).code == 0
    (path,) = (host.current / "wheels").glob("pip-*.whl")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.resolve().chmod(0o644)
    path.resolve().write_bytes(content)
    said = host.airgap("runtime", "install")
    assert said.code == 3
    assert f"'wheels/{path.name}' has the SHA-256" in said.err
    assert list((host.root / "runtimes").iterdir()) == []
    assert not (host.current / "runtime").is_symlink()


UNKNOWN = f"requests==2.0 --hash=sha256:{'0' * 64}\n"


@pytest.mark.parametrize("lines", ["--index-url https://example.org/simple\n", "pip\n", UNKNOWN])
def test_requirements_name_wheels_of_the_bundle_and_nothing_else(host, write, contents, lines):
    more = runtime("1.0", HEARS)
    more[f"wheels/requirements-{TARGET}.txt"] += lines.encode()
    bundle = write("odd", contents={**contents, **more})
    said = host.airgap("update", bundle, "--sample", "x.wav", "--json")
    assert (said.code, said.document["rule"]) == (3, "runtime.requirements")
    assert "no wheel of the bundle is named by the line" in said.err
    assert host.airgap("list").out == ""


# --- the service --------------------------------------------------------------------------------


SYSTEMCTL = """#!/bin/sh
# A systemd with one unit, which runs whatever is mounted by the command that belongs to it.
echo "$*" >>{log}
case $1 in
    is-active) [ -e {up} ] ;;
    restart)
        rm -f {up}
        heard=$({command} runtime try)
        case $heard in {starts}) touch {up} ;; *) echo 'it died' >&2; exit 1 ;; esac ;;
esac
"""


@pytest.fixture
def systemd(first, tmp_path, monkeypatch):
    """Puts a stand-in for systemctl on the path: it starts what hears by one of these."""

    def systemd(starts: str) -> Path:
        log, up = tmp_path / "systemctl.log", tmp_path / "up"
        up.touch()
        tool = tmp_path / "bin/systemctl"
        tool.parent.mkdir(exist_ok=True)
        command = first.current / "runtime/bin/airgap"
        tool.write_text(SYSTEMCTL.format(log=log, up=up, command=command, starts=starts))
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
        monkeypatch.setattr("runtime.service._BETWEEN", 0.01)
        return log

    return systemd


def test_the_service_is_restarted_with_the_new_runtime(first, bring, sample, systemd):
    log = systemd("*")
    said = first.airgap("update", bring(2), "--sample", sample, "--service", "airgap.service")
    assert said.code == 0, said.err
    assert "restart -- airgap.service" in log.read_text()
    assert "airgap.service was restarted" in said.err
    assert serves(first) == ("2.0.0", "heard by 2")


def test_a_service_that_does_not_come_up_goes_back_to_what_served(
    first, bring, sample, systemd, *, unchanged, tmp_path
):
    log = systemd("*1")
    said = first.airgap("update", bring(2), "--sample", sample, "--service", "airgap.service")
    assert said.code == 1
    assert "'airgap.service' was not restarted: it died" in said.err
    assert log.read_text().count("restart") == 2
    assert (tmp_path / "up").exists()  # by what served before
    assert serves(first) == ("1.0.0", "heard by 1")
    said = first.airgap("list", "--all", "--json")
    assert [one["version"] for one in said.document["mounts"]] == ["1.0.0"]


def test_a_unit_that_does_not_run_is_named_before_anything_is_touched(
    first, bring, sample, systemd, *, unchanged, tmp_path
):
    systemd("*")
    (tmp_path / "up").unlink()
    said = first.airgap("update", bring(2), "--sample", sample, "--service", "airgap.service")
    assert said.code == 2
    assert "'airgap.service' is not running" in said.err
    assert unchanged()


# --- killed -------------------------------------------------------------------------------------


def test_killed_at_every_step_it_serves_the_one_or_the_other(
    first, bring, sample, unsound, dying_at
):
    """Every change to the disk and every program that is started, in turn."""
    newer = bring(2)
    deaths, switched = 0, False
    for call in (*range(1, 40, 8), *range(40, 400, 4)):
        done = dying_at(call, "update", newer, "--sample", sample)
        if done.returncode == 0:
            break
        assert done.returncode == 9, done.stderr
        deaths += 1
        found = serves(first)
        assert found in {("1.0.0", "heard by 1"), ("2.0.0", "heard by 2")}
        assert not switched or found[0] == "2.0.0"
        switched = found[0] == "2.0.0"
        assert unsound(first.root, staged=True) == []
    assert deaths > 10
    assert serves(first) == ("2.0.0", "heard by 2")
    assert first.airgap("gc", "--yes").code == 0
    assert unsound(first.root) == []
    assert first.airgap("rollback").code == 0
    assert serves(first) == ("1.0.0", "heard by 1")


AT = textwrap.dedent("""
    import importlib, os, sys
    from airgap import cli
    from runtime import service
    service._BETWEEN = 0
    module, name, side = sys.argv[1:4]
    owner = importlib.import_module(module)
    *path, last = name.split(".")
    for one in path:
        owner = getattr(owner, one)
    step = getattr(owner, last)
    def dying(*given, **more):
        if side == "after":
            step(*given, **more)
        os._exit(9)
    setattr(owner, last, dying)
    sys.exit(cli.run(sys.argv[4:]))
""")
STEPS = (
    "runtime.update settle",
    "runtime.update require_fit",
    "runtime.store Store.take",
    "runtime.environments install",
    "runtime.environments link",
    "runtime.trial by_runtime",
    "runtime.mount Prepared.switch",
    "airgap.accepted AcceptedFile.raise_to",
)
"""What `runtime/update.py` names, in its order, where nothing is restarted."""
RESTART = (
    "runtime.probation begin",
    "runtime.mount Prepared.switch",
    "runtime.service Service.restart",
    "runtime.probation end",
)
"""The same after the trial, where a service is restarted."""


def killed_at(words: tuple[str, ...], *arguments: str | Path) -> None:
    """Run the command until one side of a step."""
    done = subprocess.run(
        [sys.executable, "-c", AT, *words, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 9, (words, done.stderr)


def test_killed_before_and_after_each_step_by_name(first, bring, sample, unsound):
    """Until the switch returns the old one serves, from then on the new one."""
    newer = bring(2)
    sides = [(*step.split(), side) for step in STEPS for side in ("before", "after")]
    switch = sides.index(("runtime.mount", "Prepared.switch", "after"))
    for number, words in enumerate(sides):
        killed_at(words, "update", newer, "--sample", sample)
        assert serves(first)[0] == ("1.0.0" if number < switch else "2.0.0"), words
        assert unsound(first.root, staged=True) == []
    assert serves(first) == ("2.0.0", "heard by 2")
    assert first.airgap("gc", "--yes").code == 0
    assert unsound(first.root) == []


@pytest.mark.parametrize("step", RESTART)
def test_killed_before_its_service_was_up_the_next_one_goes_back_to_what_served(
    first, bring, sample, systemd, step, *, unsound, tmp_path
):
    """What works when it is tried, and not as a service."""
    after = RESTART.index(step)
    systemd("*")
    asked = ("update", bring(2), "--sample", sample, "--service", "airgap.service")
    killed_at((*step.split(), "after"), *asked)
    assert serves(first)[0] == ("2.0.0" if after else "1.0.0")
    assert first.airgap("verify", "--mounted").code == 0
    systemd("*1")
    said = first.airgap(*asked)
    assert said.code == 1
    assert "'airgap.service' was not restarted: it died" in said.err
    assert ("going back to generation 1, by" in said.err) == (after in {1, 2})
    proved = after == 3
    assert serves(first)[0] == ("2.0.0" if proved else "1.0.0")
    assert (tmp_path / "up").exists() != proved  # the unit starts what hears by 1
    assert unsound(first.root) == []


def test_what_is_on_probation_is_nothing_to_go_back_to(first, bring, sample, systemd):
    systemd("*")
    newer = bring(2)
    asked = ("update", newer, "--sample", sample, "--service", "airgap.service")
    killed_at(("runtime.service", "Service.restart", "before"), *asked)
    assert first.airgap("rollback").code == 0
    assert serves(first) == ("1.0.0", "heard by 1")
    assert first.airgap("rollback", "--to", "2").code == 0  # a person vouches for it
    assert first.airgap("update", bring(3), "--sample", sample).code == 0
    assert first.airgap("rollback").code == 0
    assert serves(first) == ("2.0.0", "heard by 2")


def test_a_mount_goes_back_from_what_is_on_probation_first(first, bring, sample, systemd):
    systemd("*")
    asked = ("update", bring(2), "--sample", sample, "--service", "airgap.service")
    killed_at(("runtime.service", "Service.restart", "before"), *asked)
    said = first.airgap("mount", bring(3))
    assert said.code == 0, said.err
    assert "had shown that generation 2 of 'ward' serves; going back to generation 1" in said.err
    assert first.airgap("rollback").code == 0
    assert serves(first) == ("1.0.0", "heard by 1")


def test_before_the_first_there_is_nothing_to_go_back_to(host, bring, sample, tmp_path):
    (tmp_path / "systemctl").symlink_to(shutil.which("true"))
    asked = ("update", bring(1), "--sample", sample, "--service", "airgap.service")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        killed_at(("runtime.service", "Service.restart", "before"), *asked)
    assert serves(host) == ("1.0.0", "heard by 1")
    said = host.airgap("mount", bring(2))
    assert "generation 1 of 'ward' serves; going back to none" in said.err
    assert host.airgap("list", "--json").document["mounts"][0]["version"] == "2.0.0"
    said = host.airgap("rollback")
    assert said.code == 2
    assert "nothing was served before generation" in said.err
