"""A host without an engine, and a bundle that brings one: what each verb says, and where it goes.

The environment of the suite has an engine; modules are hidden from who looks for them. The runtime
that is installed is a stand-in: the real one is at work in tests/e2e/test_bootstrap.py.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import subprocess
import sys
import textwrap

import pytest

from airgap.errors import UsageError
from airgap.manifest import Artifact
from runtime import environments, generation
from runtime.engine.speakers.choosing import Diarization

TARGET = f"cp3{sys.version_info.minor}-manylinux_2_17_{platform.machine()}"
WHEELS = {f"wheels/requirements-{TARGET}.txt": b""}
FOLDERS = {"wheels": "wheels/", "python": "python/", "image": "images/", "sample": "samples/"}
IDENTITY = "0123456789abcdef"
SERVE = ("serve", "--host", "0.0.0.0", "--port", "0")  # noqa: S104 - refused: there is no key
"""Should what is tested be lost, that is refused before this process leaves its network."""


@pytest.fixture
def lacks(monkeypatch):
    """Hides modules from who looks for them before they are imported."""
    real = importlib.util.find_spec

    def lacks(*modules):
        def find(name, package=None):
            return None if name.partition(".")[0] in modules else real(name, package)

        monkeypatch.setattr("importlib.util.find_spec", find)
        for module in ("runtime.verbs.handover", "runtime.promises"):
            monkeypatch.setattr(f"{module}.find_spec", find)

    return lacks


@pytest.fixture
def brings(host, write, contents):
    """Mounts a bundle that carries a runtime; what mounting it said."""

    def brings(name="ward", **changes):
        bundle = write(name, title=name, contents={**contents, **WHEELS}, **changes)
        said = host.airgap("mount", bundle)
        assert said.code == 0, said.err
        return said

    return brings


def install(host, name="ward", program="exit 0"):
    """A stand-in for the runtime of what is mounted."""
    runtime = host.root / "runtimes" / IDENTITY
    (runtime / "bin").mkdir(parents=True, exist_ok=True)
    (runtime / "installed.json").write_text("{}")
    (runtime / "bin/airgap").write_text(f"#!/bin/sh\n{program}\n")
    (runtime / "bin/airgap").chmod(0o755)
    (host.root / "mounts" / name / "current/runtime").symlink_to(f"../../../../runtimes/{IDENTITY}")
    return runtime


# --- what is missing is named with what brings it -------------------------------------------------


@pytest.mark.parametrize(
    ("missing", "verb"),
    [
        ("faster_whisper", SERVE),
        ("fastapi", SERVE),
        ("faster_whisper", ("transcribe", "speech.wav")),
        ("faster_whisper", ("runtime", "try")),
    ],
)
def test_a_bundle_that_brings_the_library_is_what_is_pointed_to(
    host, brings, lacks, missing, verb, *, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "speech.wav").touch()
    brings()
    lacks(missing)
    before = sorted(host.root.rglob("*"))
    said = host.airgap(*verb)
    assert said.code == 2
    assert f"needs {missing}, which is not installed" in said.err
    assert "next: airgap runtime install ward" in said.err
    assert sorted(host.root.rglob("*")) == before


def test_a_bundle_without_a_runtime_leaves_it_to_pip(mounted, lacks):
    lacks("fastapi")
    said = mounted.airgap(*SERVE)
    assert said.code == 2
    assert "`airgap serve` needs fastapi, which is not installed" in said.err
    assert "pip install 'airgap-bundler[server]'" in said.err


def test_serving_a_bundle_s_file_says_the_same_once_it_is_mounted(host, write, contents, lacks):
    bundle = write(contents={**contents, **WHEELS})
    lacks("faster_whisper", "fastapi")
    said = host.airgap(*SERVE, bundle)
    assert said.code == 2
    assert said.err.rstrip().endswith("next: airgap runtime install ward")
    assert "ward-1.0.0: verified and mounted" in said.out


def test_a_runtime_that_is_installed_is_to_be_used(host, brings, lacks):
    """The environment has an engine of its own, so that nothing was handed over."""
    brings()
    install(host)
    lacks("fastapi")
    said = host.airgap(*SERVE)
    assert said.code == 2
    assert f"type '{host.current}/runtime/bin/airgap' in place of airgap" in said.err


def test_a_runtime_that_lacks_it_itself_was_built_so(host, brings, lacks, monkeypatch):
    brings()
    monkeypatch.setattr(sys, "prefix", str(install(host)))
    lacks("fastapi")
    said = host.airgap(*SERVE)
    assert said.code == 2
    assert "a bundle whose profile has `server` among the `extras` of its `runtime`" in said.err


@pytest.fixture
def voices(manifest_of, contents):
    """The artifacts of a bundle that tells speakers apart."""
    voices = Artifact(
        "voices", "diarization", "pyannote", "diarization/voices", None, None, "MIT", gated=False
    )
    return (*manifest_of(contents).artifacts, voices)


def test_speakers_and_emotion_are_looked_for_in_the_bundle_as_well(host, brings, lacks, voices):
    brings(artifacts=voices)
    lacks("pyannote", "transformers")
    serve = host.airgap(*SERVE)
    assert "and pyannote.audio is not installed" in serve.err
    assert "next: airgap runtime install ward" in serve.err
    emotion = host.airgap(*SERVE, "--diarization", "none", "--emotion")
    assert "emotion needs transformers" in emotion.err
    assert "next: airgap runtime install ward" in emotion.err


def test_so_they_are_for_texts_and_from_python(host, brings, lacks, voices):
    from runtime import library  # noqa: PLC0415 - imports the engine, which other tests hide
    from runtime.engine.options import TranscribeOptions  # noqa: PLC0415
    from runtime.transcriber import Transcriber, Wish  # noqa: PLC0415

    brings(artifacts=voices)
    lacks("pyannote")
    wish = Wish(TranscribeOptions(), diarization=Diarization.AUTO)
    with generation.current(host.root, "ward") as one, pytest.raises(UsageError) as texts:
        Transcriber.work(one, wish)
    with pytest.raises(UsageError) as python:
        library.load("ward", root=host.root, diarization="auto")
    assert texts.value.hint == python.value.hint == "airgap runtime install ward"


# --- doctor ---------------------------------------------------------------------------------------


@pytest.fixture
def bare(host):
    """Types `airgap` in a process that has no engine, as `bootstrap.sh` leaves one behind."""
    program = textwrap.dedent("""
        import importlib.util, sys
        from importlib import metadata
        real, version = importlib.util.find_spec, metadata.version
        LACKS = {"av", "ctranslate2", "faster_whisper", "fastapi", "pyannote"}
        def find(name, package=None):
            return None if name.partition(".")[0] in LACKS else real(name, package)
        def versions(name):
            if name.replace("-", "_") in LACKS:
                raise metadata.PackageNotFoundError(name)
            return version(name)
        importlib.util.find_spec, metadata.version = find, versions
        from airgap import cli
        sys.exit(cli.run(sys.argv[1:]))
    """)

    def bare(*arguments):
        command = [sys.executable, "-c", program, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return bare


def libraries(done):
    """What a doctor's document says of the libraries and of promises."""
    found = {one["check"]: one for one in json.loads(done.stdout)["checks"]}
    names = ("libraries.whisper", "libraries.av", "bundle.promise")
    return [(found[name]["state"], found[name]["fix"]) for name in names if name in found]


def test_doctor_goes_on_in_the_runtime_of_what_is_mounted(host, brings, bare):
    brings()
    install(host, program='echo "doctor of the runtime: $*"')
    done = bare("doctor", "--quiet")
    assert (done.returncode, done.stdout) == (0, "doctor of the runtime: doctor --quiet\n")


def test_doctor_says_what_installs_the_runtime(host, brings, bare, voices):
    brings(artifacts=voices)
    done = bare("doctor", "--json")
    assert done.returncode == 1, done.stderr
    assert libraries(done) == [("fail", "airgap runtime install ward")] * 3


@pytest.mark.heavy
def test_doctor_of_several_bundles_says_by_which_command_each_runs(host, brings, bare):
    brings()
    brings("clinic")
    install(host, "clinic")
    done = bare("doctor", "--json")
    command = host.root / "mounts/clinic/current/runtime/bin/airgap"
    assert libraries(done)[0] == (
        "fail",
        f"type '{command}' in place of airgap: the bundle's own runtime",
    )
    install(host, "ward", program="echo by the runtime")
    assert bare("doctor", "--bundle", "ward").stdout == "by the runtime\n"


@pytest.mark.heavy
def test_doctor_of_what_is_not_mounted_is_content_with_what_it_brings(
    host, write, contents, bare, voices
):
    bundle = write(contents={**contents, **WHEELS}, artifacts=voices)
    done = bare("doctor", bundle, "--json")
    assert done.returncode == 0, done.stdout
    (whisper, _av, promise) = libraries(done)
    assert whisper[0] == "warn"
    assert whisper[1].startswith("airgap update BUNDLE, which installs it")
    assert promise == ("ok", None)
    other = bare("doctor", bundle, "--json", "--diarization", "nemo")
    assert libraries(other)[2][0] == "fail"  # no runtime brings models


def test_doctor_of_a_damaged_mount_is_still_a_doctor(host, brings, bare):
    brings()
    install(host)
    manifest = host.current / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_bytes(manifest.read_bytes() + b" ")
    done = bare("doctor", "--json")
    assert done.returncode == 1
    found = {one["check"]: one["state"] for one in json.loads(done.stdout)["checks"]}
    assert found["bundle.readable"] == "fail"


# --- a mount does not bring the programs ----------------------------------------------------------


def test_a_mount_says_that_its_runtime_is_not_installed(host, brings):
    said = brings()
    command = host.current / environments.COMMAND
    warned = "warning: 'ward-1.0.0' carries a runtime, which is not installed"
    assert f"{warned}: nothing is at '{command}', by which a unit starts" in said.err
    assert "next: airgap runtime install ward" in said.err
    assert "airgap transcribe FILE" not in said.err


def test_the_next_version_by_mount_alone_leaves_units_without_their_command(
    host, brings, write, contents
):
    brings()
    install(host)
    assert (host.current / environments.COMMAND).exists()
    newer = write("newer", contents={**contents, **WHEELS}, sequence=8, version="1.1.0")
    said = host.airgap("mount", newer, "--quiet")
    assert said.code == 0
    assert not (host.current / environments.COMMAND).exists()
    assert "'ward-1.1.0' carries a runtime, which is not installed" in said.err


def test_a_bundle_without_a_runtime_is_mounted_without_a_warning(host, bundle):
    said = host.airgap("mount", bundle)
    assert "warning" not in said.err
    assert "next: airgap transcribe FILE" in said.err


# --- wheels are no models -------------------------------------------------------------------------


def test_wheels_pythons_images_and_recordings_are_no_models(host, brings, manifest_of, contents):
    others = {
        "typer": "wheels",
        "click": "wheels",
        "cpython": "python",
        "cpu": "image",
        "jfk": "sample",
    }
    more = [
        Artifact(name, role, None, FOLDERS[role] + name, None, None, "MIT", gated=False)
        for name, role in others.items()
    ]
    brings(artifacts=(*manifest_of(contents).artifacts, *more))
    inventory = json.loads((host.current / "model_inventory.json").read_bytes())
    assert [one["id"] for one in inventory["models"]] == ["tiny"]
    assert {one["id"]: one["role"] for one in inventory["others"]} == others
    (listed,) = host.airgap("list", "--json").document["mounts"]
    assert listed["models"] == ["tiny"]
    assert {one["id"]: one["role"] for one in listed["others"]} == others
    shown = host.airgap("list").out
    assert "  models         tiny\n" in shown
    assert "  others         cpython (python), cpu (image), jfk (sample), 2 wheel(s)\n" in shown
    assert f"  contents       {len(contents) + 1} files, 5.0 MB\n" in shown
