"""The profile's key `runtime`: what is read, and every way in which it may be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from airgap.errors import UsageError
from bundler.profile import Profile, shipped_profiles
from bundler.sources.https import Https
from bundler.wheelhouse.targets import Target
from bundler.wheelhouse.wanted import WantedInterpreter

PROFILE = """\
profile: 1
name: ward
description: A Whisper
device: DEVICE
diarization: none
models:
- asr: tiny
runtime: RUNTIME
"""
X86, ARM = "manylinux_2_28_x86_64", "manylinux_2_28_aarch64"
HOST = f"{{extras: [server, cpu], pythons: ['3.12', '3.11'], platforms: [{X86}, {ARM}]}}"
INTERPRETER = (
    f"{{target: cp312-{X86}, file: cpython-3.12.tar.gz, source: {{https: https://h/20250818}}}}"
)


def parse(runtime: str, device: str = "cpu") -> Profile:
    text = PROFILE.replace("DEVICE", device).replace("RUNTIME", runtime)
    return Profile.parse(text.encode(), "p.yaml")


def test_targets_are_every_python_on_every_platform() -> None:
    runtime = parse(HOST).runtime
    assert runtime is not None
    assert runtime.extras == ("cpu", "server")
    assert [one.name for one in runtime.targets] == [
        f"cp311-{ARM}",
        f"cp311-{X86}",
        f"cp312-{ARM}",
        f"cp312-{X86}",
    ]
    assert runtime.interpreters == ()


def test_none_is_a_word_and_the_default() -> None:
    assert parse("none").runtime is None
    text = PROFILE.replace("DEVICE", "cpu").replace("runtime: RUNTIME\n", "")
    assert Profile.parse(text.encode(), "p.yaml").runtime is None


def test_a_carried_python_is_its_own_target() -> None:
    runtime = parse(f"{{extras: [cpu], python: carried, interpreters: [{INTERPRETER}]}}").runtime
    assert runtime is not None
    assert runtime.targets == (Target("3.12", X86),)
    assert runtime.interpreters == (
        WantedInterpreter(
            Target("3.12", X86), "cpython-3.12.tar.gz", Https("https://h/20250818"), None, "PSF-2.0"
        ),
    )


def test_a_project_may_have_an_index_of_its_own() -> None:
    index = "https://download.pytorch.org/whl/cpu"
    wanted = HOST.replace("}", f", indexes: {{torchaudio: {index}, torch: {index}}}}}")
    runtime = parse(wanted).runtime
    assert runtime is not None
    assert runtime.indexes == (("torch", index), ("torchaudio", index))


@pytest.mark.parametrize(
    ("runtime", "said"),
    [
        ("yes", "'runtime': expected none, or what shall travel"),
        ("{pythons: ['3.11'], platforms: [x]}", "'runtime' lacks 'extras'"),
        ("{extras: [cpu], pythons: ['3.11']}", "'runtime' lacks 'platforms'"),
        (HOST.replace("'3.11'", "3.11"), "expected text"),
        (HOST.replace("'3.11'", "'3.9'"), "'pythons'"),
        (HOST.replace("'3.11'", "'3.12'"), "'pythons': one stands twice"),
        (HOST.replace(ARM, "win_amd64"), "expected a platform such as manylinux_2_28_x86_64"),
        (HOST.replace(ARM, "manylinux_2_17_x86_64"), "expected one of each machine"),
        (HOST.replace("server", "servers"), "did you mean 'server'?"),
        (HOST.replace("cpu", "recovery"), "'extras': this profile needs 'cpu' as well"),
        (HOST.replace("server", "gpu"), "'gpu' is of no use with 'device: cpu'"),
        (HOST.replace("extras", f"interpreters: [{INTERPRETER}], extras"), "'python: carried'"),
        (HOST.replace("extras", "python: carried, extras"), "follow from 'interpreters'"),
        ("{extras: [cpu], python: carried}", "'python: carried' needs 'interpreters'"),
        (
            f"{{extras: [cpu], python: carried, interpreters: [{INTERPRETER}, {INTERPRETER}]}}",
            "a target stands twice",
        ),
        (HOST.replace("}", ", indexes: {torch: https://u:p@h/}}"), "without a password"),
        (HOST.replace("}", ", indexes: {Torch_X: https://h/}}"), "normalised name"),
    ],
)
def test_a_defect_is_named(runtime: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(runtime)
    assert said in caught.value.message
    assert caught.value.message.startswith("p.yaml:")


def test_a_gpu_needs_its_extra() -> None:
    with pytest.raises(UsageError, match="needs 'gpu' as well"):
        parse(HOST, "gpu")


@pytest.mark.parametrize("path", list(shipped_profiles()), ids=lambda path: path.stem)
def test_every_shipped_profile_says_what_travels(path: Path) -> None:
    assert "\nruntime:" in path.read_text()


@pytest.mark.parametrize("name", [f"cp311-{X86}", f"cp314-{ARM}", "cp312-manylinux_2_17_aarch64"])
def test_a_target_is_its_name(name: str) -> None:
    assert Target.parse(name).name == name


def test_tags_are_in_pips_order() -> None:
    ranks = Target("3.12", X86).ranks()
    ordered = [str(one) for one, _ in sorted(ranks.items(), key=lambda pair: pair[1])]
    assert ordered[0] == f"cp312-cp312-{X86}"
    assert ordered.index("cp312-cp312-manylinux2014_x86_64") < ordered.index(f"cp311-abi3-{X86}")
    assert ordered[-1] == "py30-none-any"
    assert "cp312-cp312-manylinux_2_29_x86_64" not in ordered
