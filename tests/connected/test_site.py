"""survey.sh and what is made of its page: what would fail at a site, before anything is built."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from airgap.cuda import of_major
from airgap.errors import UsageError
from airgap.finding import State
from bundler.site.page import SCRIPT, SiteGpu, SitePlace, SitePython, read_site
from bundler.site.rules import RULES, Needs, judge
from bundler.wheelhouse.cuda import newest_cuda
from bundler.wheelhouse.locked import LockedRuntime, Release

GIB = 1 << 30
TARGETS = ("cp311-manylinux_2_28_aarch64", "cp311-manylinux_2_28_x86_64")
NEEDS = Needs(
    TARGETS, False, 2 * GIB, 1 * GIB, None, of_major(12), datetime(2026, 1, 1, tzinfo=UTC)
)
PAGE = """\
survey: airgap 1
clock: 2026-06-01T10:00:00Z
system: Linux 5.14.0-427.el9.x86_64
distribution: Rocky Linux 9.4
machine: x86_64
user: 1000
libc: glibc 2.34
openssl: OpenSSL 3.0.7 1 Nov 2022
tool sha256sum: /usr/bin/sha256sum
tool tar: /usr/bin/tar
tool gzip: none
python: /usr/bin/python3 3.9.18 no-venv
python: /usr/bin/python3.11 3.11.7 venv
processor features: fma avx avx2
processor cores: 8
memory total: 16777216 KiB
memory available: 10000000 KiB
gpu: 550.54.15, 24564 MiB, NVIDIA A10
gpu capability: 8.6
place: 1000 KiB, tmpfs rw,nosuid,noexec, writable, /tmp
place: 40000000 KiB, xfs rw,relatime, writable, /home/with, a comma
selinux: none
fapolicyd: inactive
user namespaces: 255000
user namespaces, unprivileged: 1
"""


@pytest.fixture
def page(tmp_path):
    def page(text=PAGE):
        path = tmp_path / "site.txt"
        path.write_text(text)
        return path

    return page


@pytest.fixture
def site(page):
    return read_site(page())


def found(site, needs=NEEDS):
    return dict(judge(site, needs))


# --- the script and the page --------------------------------------------------------------------


def test_the_script_writes_a_page_of_this_machine_and_nothing_else(tmp_path, snapshot_of):
    before = snapshot_of(tmp_path)
    done = subprocess.run(["sh", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert snapshot_of(tmp_path) == before
    assert done.stderr == ""
    (tmp_path / "page").write_text(done.stdout)
    here = read_site(tmp_path / "page")
    assert here.system.startswith("Linux ")
    assert here.machine == platform.machine()
    assert abs(here.clock - datetime.now(UTC)).days == 0
    assert here.glibc == tuple(map(int, platform.libc_ver()[1].split(".")))
    assert sys.version_info[:2] in {one.version[:2] for one in here.pythons}
    assert here.memory
    assert here.places
    assert "sha256sum" in here.tools


@pytest.mark.parametrize(
    ("compute", "capabilities"),
    [
        ("8.6\n12.0", [(8, 6), (12, 0)]),
        ('Field "compute_cap" is not a valid field to query.', [None, None]),
    ],
)
def test_the_script_asks_for_each_gpu(tmp_path, compute, capabilities):
    tool = tmp_path / "nvidia-smi"
    boards = "550.54.15, 24564 MiB, NVIDIA A10\n550.54.15, 97887 MiB, NVIDIA RTX PRO 6000"
    tool.write_text(
        f"#!/bin/sh\ncase $1 in *compute_cap*) echo '{compute}' ;; *) echo '{boards}' ;; esac\n"
    )
    tool.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", SCRIPT], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    (tmp_path / "page").write_text(done.stdout)
    gpus = read_site(tmp_path / "page").gpus
    assert [one.capability for one in gpus] == capabilities
    assert [one.name for one in gpus] == ["NVIDIA A10", "NVIDIA RTX PRO 6000"]


@pytest.fixture
def snapshot_of():
    return lambda folder: sorted((path, path.lstat().st_mtime_ns) for path in folder.rglob("*"))


def test_the_script_is_short_and_changes_nothing():
    text = SCRIPT.read_text()
    assert len(text.splitlines()) < 80
    code = re.sub(r"#.*", "", text)
    assert not re.search(r"\b(rm|mv|cp|mkdir|touch|tee|dd|chmod|sudo|curl|wget)\b", code)
    assert not re.search(r"(?<![0-9&])>(?!&|/dev/null)", re.sub(r"2>/dev/null", "", code))


def test_a_page_is_read(site):
    assert site.clock == datetime(2026, 6, 1, 10, tzinfo=UTC)
    assert (site.glibc, site.openssl) == ((2, 34), (3, 0))
    assert site.tools == {"sha256sum", "tar"}
    assert site.pythons[1] == SitePython("/usr/bin/python3.11", (3, 11, 7), venv=True)
    assert site.gpus == (SiteGpu(550, 24564 << 20, "NVIDIA A10", (8, 6)),)
    assert site.places[1].path == "/home/with, a comma"
    assert site.memory == 16 * GIB
    assert site.namespaces is True


@pytest.mark.parametrize("text", ["", "survey: airgap 2\n", "<html>", "\x00\x1b[2J"])
def test_what_is_no_page_is_refused(page, text):
    with pytest.raises(UsageError, match=r"is no page of survey\.sh") as caught:
        read_site(page(text))
    assert "sh survey.sh > site.txt" in caught.value.hint


def test_a_page_without_end_is_refused(page):
    with pytest.raises(UsageError, match="too large"):
        read_site(page(PAGE + "x: y\n" * 20_000))


@pytest.mark.parametrize("line", range(1, len(PAGE.splitlines())))
def test_a_page_with_any_row_missing_or_odd_is_judged_all_the_same(page, line):
    rows = PAGE.splitlines(keepends=True)
    key = rows[line].partition(":")[0]
    for odd in ("", f"{key}: \n", f"{key}: ?, ?\n", f"{key}: unknown\n", f"{key}: {'9' * 99}\n"):
        assert len(found(read_site(page("".join([*rows[:line], odd, *rows[line + 1 :]]))))) == 10


# --- the rules ----------------------------------------------------------------------------------


def test_a_site_that_is_fit_is_all_ok(site):
    assert {one.state for one in found(site).values()} == {State.OK}
    assert list(found(site)) == [name for name, _ in RULES]


PLACE = SitePlace("/srv", 9 * GIB, "ext4", frozenset({"rw"}), writable=True)
CARRIED = replace(NEEDS, carries_python=True)
ON_GPU = replace(NEEDS, gpu_memory=6 * GIB)
ON_CUDA_13 = replace(ON_GPU, cuda=of_major(13))
NO_RUNTIME = replace(NEEDS, targets=())


@pytest.mark.parametrize(
    ("rule", "changes", "needs", "state", "says"),
    [
        ("system", {"system": "Darwin 23"}, NEEDS, "fail", "the system is Darwin 23"),
        ("system", {"machine": "riscv64"}, NEEDS, "fail", "the processor is riscv64"),
        ("libc", {"glibc": (2, 17)}, NEEDS, "fail", "glibc is 2.17, and the wheels want 2.28"),
        ("libc", {"glibc": None}, NEEDS, "fail", "not glibc"),
        ("libc", {"glibc": None}, NO_RUNTIME, "ok", "no programs are carried"),
        ("openssl", {"openssl": None}, NEEDS, "fail", "missing"),
        ("openssl", {"openssl": (1, 0)}, NEEDS, "fail", "OpenSSL 1.0"),
        ("openssl", {"openssl": (1, 1)}, NEEDS, "warn", "checks no Ed25519"),
        ("python", {"pythons": ()}, NEEDS, "fail", "expected Python 3.11, found: none"),
        (
            "python",
            {"pythons": (SitePython("/p", (3, 11, 2), venv=False),)},
            NEEDS,
            "fail",
            "'/p' has no module venv",
        ),
        ("python", {"pythons": ()}, NO_RUNTIME, "warn", "the bundle carries no programs"),
        ("python", {}, CARRIED, "fail", "no gzip: needed to unpack"),
        ("python", {"tools": frozenset({"tar", "gzip"})}, CARRIED, "ok", "brings its own"),
        ("processor", {"features": frozenset({"avx"})}, NEEDS, "warn", "no AVX2"),
        ("memory", {"memory": GIB // 2}, NEEDS, "fail", "of memory, and loading takes"),
        ("memory", {"memory": None}, NEEDS, "warn", "does not tell"),
        ("gpu", {"gpus": ()}, ON_GPU, "fail", "for a GPU, and none is told"),
        ("gpu", {"gpus": (SiteGpu(470, 24 * GIB, "A"),)}, ON_GPU, "fail", "driver is 470"),
        ("gpu", {"gpus": (SiteGpu(550, 4 * GIB, "A"),)}, ON_GPU, "fail", "'A' has"),
        ("gpu", {"gpus": (SiteGpu(524, 24 * GIB, "A"),)}, ON_GPU, "fail", "wants 525 or newer"),
        ("gpu", {}, ON_GPU, "ok", "NVIDIA A10"),
        ("gpu", {}, ON_CUDA_13, "fail", "driver is 550, and CUDA 13 wants 580 or newer"),
        (
            "gpu",
            {"gpus": (SiteGpu(580, 32 * GIB, "V100", (7, 0)),)},
            ON_CUDA_13,
            "fail",
            "'V100' has compute capability 7.0, and CUDA 13 has code from 7.5 on",
        ),
        ("gpu", {"gpus": (SiteGpu(580, 32 * GIB, "T4", (7, 5)),)}, ON_CUDA_13, "ok", "T4"),
        ("gpu", {"gpus": (SiteGpu(580, 32 * GIB, "old"),)}, ON_CUDA_13, "ok", "old"),
        ("place", {"places": (replace(PLACE, free=GIB),)}, NEEDS, "fail", "has most room"),
        (
            "place",
            {"places": (replace(PLACE, options=frozenset({"noexec"})),)},
            NEEDS,
            "fail",
            "programs may not run in '/srv'",
        ),
        ("place", {"places": (replace(PLACE, writable=False),)}, NEEDS, "warn", "may write none"),
        ("guards", {"guards": frozenset({"fapolicyd"})}, NEEDS, "fail", "fapolicyd lets no"),
        ("guards", {"guards": frozenset({"fapolicyd"})}, NO_RUNTIME, "ok", "nothing in the way"),
        ("guards", {"guards": frozenset({"selinux"})}, NEEDS, "warn", "SELinux is enforcing"),
        ("guards", {"namespaces": False}, NEEDS, "warn", "no namespaces"),
        ("clock", {"clock": datetime(2020, 1, 1, tzinfo=UTC)}, NEEDS, "warn", "its clock said"),
        ("clock", {"clock": None}, NEEDS, "warn", "does not tell the time"),
    ],
)
def test_what_would_fail_is_told_with_its_fix(site, *, rule, changes, needs, state, says):
    one = found(replace(site, **changes), needs)[f"site.{rule}"]
    assert (one.state, says in one.found) == (state, True), one
    assert bool(one.fix) is (state != "ok")


# --- the verbs ----------------------------------------------------------------------------------


def test_survey_prints_the_script(place):
    said = place.airgap("survey")
    assert said.code == 0
    assert said.out == SCRIPT.read_text()
    assert "sh survey.sh > site.txt" in said.err


@pytest.mark.parametrize(("driver", "code"), [("535.54", 1), ("580.65", 0)])
def test_a_driver_is_judged_by_the_cuda_that_is_locked(place, page, driver, code):
    text = PAGE.replace("550.54.15", driver).replace("40000000 KiB", "90000000 KiB")
    said = place.airgap("plan", "gpu-full", "--site", page(text))
    assert said.code == code, said.out
    assert ("driver is 535, and CUDA 13 wants 580 or newer" in said.out) is bool(code)


@pytest.mark.parametrize(
    ("releases", "major"),
    [
        (("cuda-toolkit==13.2.2", "nvidia-cublas-cu12==12.9"), 13),
        (("nvidia-cudnn-cu13==9.26", "nvidia-cublas-cu12==12.9"), 13),
        (("nvidia-cublas-cu12==12.9", "cuda-toolkit==12.9.1"), 12),
        (("numpy==2.4.6",), 12),
        (("nvidia-nccl-cu11==2.2",), 12),
    ],
)
def test_the_newest_cuda_among_wheels(releases, major):
    wheels = tuple(Release(name, "MIT", ()) for name in releases)
    assert newest_cuda(LockedRuntime((), (), (), wheels)) == of_major(major)


def test_plan_with_a_site_fails_where_the_site_would(place, page):
    fit = place.airgap("plan", "demo", "--site", page(), "--json")
    assert fit.code == 0, fit.err
    assert {one["state"] for one in fit.document["site"]} <= {"ok", "warn"}
    poor = page(PAGE.replace("memory total: 16777216", "memory total: 1024"))
    said = place.airgap("plan", "demo", "--site", poor)
    assert said.code == 1
    assert re.search(r"FAIL  site.memory +1\.0 MB of memory, and loading takes", said.out)
    assert "fix: a smaller model" in said.out
    assert place.airgap("plan", "demo", "--site", page("no page")).code == 2
