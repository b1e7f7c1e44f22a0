"""What a plan adds up."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from airgap.console import Console
from bundler.lock import Lock, read_lock
from bundler.locked_model import LockedFile
from bundler.plan import Plan, make_plan, show_plan
from bundler.profile import Profile, read_profile
from bundler.sources import Access
from bundler.wheelhouse.installed import installed_size
from bundler.wheelhouse.locked import LockedInterpreter

LARGE_V3 = 3_087_284_237 + 2394 + 340 + 2_480_617 + 1_068_114
COMMUNITY = 444 + 26_646_242 + 133_852 + 134_376 + 5_906_507
JFK = 352_078


@pytest.fixture
def gpu() -> tuple[Profile, Lock]:
    path, profile = read_profile("gpu-pyannote")
    return profile, read_lock(path, profile)


@pytest.fixture
def planned(gpu: tuple[Profile, Lock], access: Access) -> Plan:
    return make_plan(*gpu, access)


def test_sizes_add_up(planned: Plan) -> None:
    assert planned.runtime is not None
    total = LARGE_V3 + COMMUNITY + JFK + planned.runtime.size
    assert planned.size == planned.cache_disk == total
    assert [model.size for model in planned.models] == [LARGE_V3, COMMUNITY, JFK]
    assert total < planned.bundle_disk <= total * 1.0015
    assert planned.host_disk == planned.bundle_disk + total + planned.runtime.installed


@pytest.mark.parametrize(
    ("name", "measured"),
    [("cpu-small", 534_000_000), ("gpu-pyannote", 7_734_000_000), ("gpu-full", 8_306_000_000)],
)
def test_what_is_installed_is_reckoned_as_it_was_measured(
    access: Access, name: str, measured: int
) -> None:
    path, profile = read_profile(name)
    runtime = make_plan(profile, read_lock(path, profile), access).runtime
    assert runtime is not None
    assert measured < runtime.installed - 110_000_000 < 1.05 * measured  # benchmarks/wheels.py


def test_the_largest_target_counts_and_a_carried_python_three_times(
    gpu: tuple[Profile, Lock],
) -> None:
    runtime = gpu[1].runtime
    assert runtime is not None
    small, large = (
        replace(one, wheels=one.wheels[:count])
        for one, count in zip(runtime.targets, (1, 9), strict=True)
    )
    alone = installed_size(replace(runtime, targets=(large,)))
    assert installed_size(replace(runtime, targets=(small, large))) == alone
    archive = LockedFile("python.tar.gz", 30_000_000, "0" * 64)
    python = LockedInterpreter(large.target, "PSF-2.0", (), (archive,))
    carried = replace(runtime, targets=(small, large), interpreters=(python,))
    assert installed_size(carried) == alone + 9 * archive.bytes_expected


def test_verified_loading_holds_two_copies_beside_the_loaded_model(planned: Plan) -> None:
    assert planned.memory == 400_000_000 + 1_000_000_000 + LARGE_V3 + COMMUNITY + 2 * LARGE_V3
    assert planned.gpu_memory == LARGE_V3 + COMMUNITY + 1_500_000_000


def test_what_the_host_must_have_is_told(planned: Plan, access: Access, capsys: Any) -> None:
    show_plan(planned, Console())
    assert "3.11 or 3.12, and nothing else" in capsys.readouterr().out
    assert planned.runtime is not None
    alone = replace(planned.runtime, extras=("gpu", "pyannote"))
    for runtime, told in ((planned.runtime, False), (alone, True)):
        show_plan(replace(planned, runtime=runtime), Console())
        said = capsys.readouterr().out
        assert ("not with this runtime: `server` is not among its extras" in said) is told
    path, profile = read_profile("cpu-full")
    show_plan(make_plan(profile, read_lock(path, profile), access), Console())
    assert "airgap-bundler[cpu,nemo,server] installed, with all" in capsys.readouterr().out
    path, profile = read_profile("gpu-full")
    show_plan(make_plan(profile, read_lock(path, profile), access), Console())
    assert "antlr4-python3-runtime-4.9.3.tar.gz (confined" in capsys.readouterr().out


def test_a_cpu_needs_no_gpu_memory(access: Access) -> None:
    path, profile = read_profile("demo")
    planned = make_plan(profile, read_lock(path, profile), access)
    assert planned.gpu_memory is None


def test_a_file_that_two_models_share_counts_once(
    gpu: tuple[Profile, Lock], access: Access, planned: Plan
) -> None:
    profile, lock = gpu
    twice = replace(lock, models=(*lock.models, replace(lock.models[1], id="twin")))
    assert make_plan(profile, twice, access).size == planned.size


def test_it_is_told_for_people(planned: Plan, capsys: Any) -> None:
    show_plan(planned, Console())
    told = capsys.readouterr().out
    assert re.search(r"isolated host's disk +about .* \(bundle, one copy, and 8\.\d\d GB ins", told)
    assert "gpu-pyannote 1.0.0 (sequence 1), for gpu" in told
    assert "Systran/faster-whisper-large-v3@edaa852e" in told
    page = "https://huggingface.co/pyannote/speaker-diarization-community-1"
    assert f"CC-BY-4.0, GATED: accept its terms at {page} (auto, no text" in told
    assert "isolated host's VRAM" in told
    assert "127.0.0.1" in told


def test_a_non_commercial_licence_stands_out(
    gpu: tuple[Profile, Lock], access: Access, capsys: Any
) -> None:
    profile, lock = gpu
    models = (replace(lock.models[0], licence="CC-BY-NC-4.0"),)
    show_plan(make_plan(profile, replace(lock, models=models), access), Console())
    assert "CC-BY-NC-4.0, NON-COMMERCIAL" in capsys.readouterr().out


def test_an_incomplete_lock_is_planned_and_says_so(
    gpu: tuple[Profile, Lock], access: Access, capsys: Any
) -> None:
    profile, lock = gpu
    files = (replace(lock.models[2].files[0], sha256=None),)
    lock = replace(lock, models=(replace(lock.models[2], files=files),))
    show_plan(make_plan(profile, lock, access), Console())
    warned = capsys.readouterr().err
    assert warned == "warning: the lock is incomplete: jfk: 'jfk.wav' has no sha256\n"


def test_the_document_is_json(planned: Plan) -> None:
    body = json.loads(json.dumps(planned.as_json()))
    assert body["models"][1]["gated"] is True
    assert body["models"][1]["terms"].startswith("https://huggingface.co/pyannote/")
    assert body["hosts"] == ["127.0.0.1"]


def test_sizes_of_an_incomplete_lock_are_said_to_be_the_least(access: Access, capsys: Any) -> None:
    path, profile = read_profile("cpu-emotion-categories")
    show_plan(make_plan(profile, read_lock(path, profile), access), Console())
    told = capsys.readouterr()
    assert "at least 486.6 MB" in told.out
    assert re.search(r"isolated host's disk +at least 1\.", told.out)
    assert "the lock is incomplete: wav2vec2-emotion-categories: 'config.json' has no" in told.err


def test_a_licence_that_forbids_commercial_use_is_told(access: Access, capsys: Any) -> None:
    path, profile = read_profile("cpu-emotion")
    show_plan(make_plan(profile, read_lock(path, profile), access), Console())
    assert "CC-BY-NC-SA-4.0, NON-COMMERCIAL" in capsys.readouterr().out
