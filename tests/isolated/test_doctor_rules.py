"""Doctor's rules, each provoked by facts: what it says of them, how bad it is, and the fix."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airgap.finding import State, Trouble
from airgap.trust_check import Concern
from runtime.doctor import checks, memory, network
from runtime.doctor.facts import (
    Bundle,
    Cuda,
    Gpu,
    Host,
    Libraries,
    Machine,
    Model,
    Mount,
    Offer,
    Place,
    Surroundings,
    Trust,
    Wish,
)
from runtime.engine.speakers.choosing import Diarization
from runtime.verified_load import VerifiedLoad

GB = 10**9
NOW = datetime(2026, 6, 1, tzinfo=UTC)
H100 = Gpu("NVIDIA H100", (9, 0), 80 * GB)
CUDA = Cuda(1, (12, 4), None, (H100,), cublas=True, wheels=())
NO_CUDA = Cuda(0, None, None, (), cublas=False, wheels=())

HOST = Host(
    wish=Wish(),
    trust=Trust(1, (), NOW, None, NOW, "12 event(s), unbroken"),
    place=Place(
        root=Path("/r"),
        free=90 * GB,
        free_files=None,
        writable=True,
        open_to_others=(),
        spool=Path("/r/spool"),
        spool_owner=None,
        spool_makeable=True,
        user=7,
        temporary=Path("/tmp"),  # noqa: S108
        temporary_free=90 * GB,
    ),
    machine=Machine(
        "x86_64", frozenset({"avx", "avx2"}), 4, 16 * GB, 12 * GB, "cpu, int8, 4 threads", NO_CUDA
    ),
    libraries=Libraries(
        {"av": "18.1.0", "ctranslate2": "4.8.5", "faster-whisper": "1.2.1"}, None, False
    ),
    surroundings=Surroundings({}, (), (), "no network: seccomp filter; 38 escapes tried"),
)
MODEL = Model("large-v3", "asr", "faster-whisper", 3 * GB)
SPEAKERS = Model("community-1", "diarization", "pyannote", 1 * GB)
MOUNT = Mount(Path("/r/mounts/ward/current"), (), (), (), (), (), (), (), NOW)
MOUNTED = Bundle(HOST, "ward-1.0.0", (MODEL,), mount=MOUNT)
OFFERED = Bundle(HOST, "ward-1.0.0", (MODEL,), offer=Offer(3 * GB))


def on(part, **changes):
    """The healthy host, with facts of one part changed."""
    return replace(HOST, **{part: replace(getattr(HOST, part), **changes)})


def variables(**values):
    return on("surroundings", variables=values)


def cuda(wish="auto", compute_type="auto", base=CUDA, **changes):
    there = replace(base, **changes)
    engine = "cuda, float16, 4 threads" if there.gpus and wish != "cpu" else "cpu, int8, 4 threads"
    host = on("machine", cuda=there, engine=engine)
    return replace(host, wish=Wish(device=wish, compute_type=compute_type))


def versions(**changes):
    named = {name.replace("_", "-"): value for name, value in changes.items()}
    return on("libraries", versions={**HOST.libraries.versions, **named})


def torch(*, torch_cuda=None, torchaudio_cuda=True):
    with_torch = {**HOST.libraries.versions, "torch": "2.13.0", "torchaudio": "2.11.0"}
    return on(
        "libraries", versions=with_torch, torch_cuda=torch_cuda, torchaudio_cuda=torchaudio_cuda
    )


def torch_on_gpu(torch_cuda, **changes):
    there = cuda(**changes)
    return replace(there, libraries=replace(there.libraries, torch_cuda=torch_cuda))


def mount(**changes):
    return replace(MOUNTED, mount=replace(MOUNT, **changes))


def bundle(*models, host=HOST, base=MOUNTED, **changes):
    return replace(base, host=host, models=models or base.models, **changes)


def small_memory(total, available, way=VerifiedLoad.BUFFER):
    host = on("machine", memory=total, available=available)
    return bundle(host=replace(host, wish=Wish(verified_load=way)))


TROUBLE = Trouble("it is so", "do this", refused=True)
UNHINTED = Trouble("it is so", None)

PROVOKED = [
    ("trust.store", on("trust", store=TROUBLE), "fail", "it is so", "do this"),
    ("trust.store", on("trust", store=UNHINTED), "fail", "it is so", "airgap trust init"),
    (
        "trust.store",
        on("trust", concerns=(Concern("2 must sign", stops=True),)),
        "fail",
        "no bundle can be accepted: 2 must sign",
        "airgap trust add",
    ),
    ("trust.keys", on("trust", concerns=(Concern("expires"),)), "warn", "expires", "trust check"),
    ("trust.record", on("trust", record=TROUBLE), "fail", "it is so", "do this"),
    (
        "trust.clock",
        on("trust", clock=datetime(2026, 5, 31, tzinfo=UTC)),
        "warn",
        "the clock says 2026-05-31 00:00 UTC, and this host has accepted a bundle of 2026-06-01",
        "set the clock",
    ),
    ("trust.audit", on("trust", audit=TROUBLE), "fail", "it is so", "do this"),
    ("trust.audit", on("trust", audit=UNHINTED), "warn", "it is so", "owner"),
    ("room.space", on("place", free=None), "fail", "cannot be looked at", "--root"),
    ("room.space", on("place", free=1000), "fail", "1.0 kB are free in '/r'", "free some space"),
    ("room.space", on("place", free_files=3), "fail", "room for 3 more files", "--root"),
    ("room.temporary", on("place", temporary_free=None), "fail", "cannot write '/tmp'", "TMPDIR"),
    ("room.rights", on("place", writable=False), "warn", "may read '/r' and not write", "owner"),
    (
        "room.rights",
        on("place", open_to_others=(Path("/r/store"),)),
        "warn",
        "others than their owner may write '/r/store'",
        "chmod -R go-w /r",
    ),
    ("room.spool", on("place", spool_makeable=False), "fail", "cannot make '/r/spool'", "--spool"),
    ("room.spool", on("place", spool_owner=8), "fail", "belongs to user 8, expected 7", "--spool"),
    (
        "settings.offline",
        variables(HF_HUB_OFFLINE="0", TRANSFORMERS_OFFLINE="1"),
        "warn",
        "HF_HUB_OFFLINE=0 sends other programs to a network, and overrides TRANSFORMERS_OFFLINE",
        "export HF_HUB_OFFLINE=1",
    ),
    (
        "settings.offline",
        variables(HF_HOME="/elsewhere"),
        "warn",
        "a cache is named, and HF_HUB_OFFLINE is not set",
        "export HF_HUB_OFFLINE=1",
    ),
    (
        "settings.endpoint",
        variables(HF_ENDPOINT="https://mirror"),
        "warn",
        "HF_ENDPOINT is set",
        "unset HF_ENDPOINT",
    ),
    ("settings.token", variables(HF_TOKEN="x"), "warn", "HF_TOKEN is set", "unset HF_TOKEN"),
    ("settings.proxy", variables(https_proxy="p"), "warn", "https_proxy", "unset https_proxy"),
    (
        "settings.telemetry",
        variables(PYANNOTE_METRICS_ENABLED="1"),
        "warn",
        "pyannote reports",
        "PYANNOTE_METRICS_ENABLED=0",
    ),
    (
        "settings.telemetry",
        variables(OTEL_EXPORTER_OTLP_ENDPOINT="http://c"),
        "warn",
        "report what they do",
        "unset OTEL_EXPORTER_OTLP_ENDPOINT",
    ),
    ("network.route", on("surroundings", routes=("eth0",)), "warn", "by eth0", "unreachable"),
    (
        "network.resolver",
        on("surroundings", routes=("eth0",), resolvers=("10.0.0.1",)),
        "warn",
        "asked of 10.0.0.1",
        "/etc/resolv.conf",
    ),
    ("network.guard", on("surroundings", guard=TROUBLE), "fail", "it is so", "do this"),
    ("libraries.whisper", on("libraries", versions={}), "fail", "not installed", "[cpu]"),
    ("libraries.whisper", versions(ctranslate2="4.8.0"), "fail", "4.8.0 overflows", "[cpu]"),
    ("libraries.av", versions(av="19.0.1"), "fail", "av 19.0.1 breaks", "pip install 'av<19'"),
    ("libraries.av", on("libraries", versions={}), "fail", "nothing decodes", "[cpu]"),
    ("libraries.torchaudio", torch(), "fail", "is built for CUDA", "runtime.torchaudio_cpu"),
    ("hardware.cpu", on("machine", features=frozenset({"avx"})), "warn", "takes AVX,", "-cpu host"),
    ("hardware.cpu", on("machine", features=frozenset()), "warn", "takes GENERIC", "-cpu host"),
    ("hardware.cpu", variables(CT2_FORCE_CPU_ISA="AVX512"), "warn", "choose AVX2", "unset CT2"),
    ("hardware.engine", on("machine", engine=TROUBLE), "fail", "it is so", "do this"),
    ("hardware.engine", on("machine", engine=UNHINTED), "fail", "it is so", "--device"),
    ("gpu.driver", cuda("cuda", base=NO_CUDA), "fail", "driver is not loaded", "nvidia-smi"),
    ("gpu.driver", cuda(driver=None, gpus=()), "warn", "the CPU is taken", "or --device cpu"),
    ("gpu.driver", cuda("cuda", error="CUDA_ERROR_NO_DEVICE"), "fail", "NO_DEVICE", "nvidia-smi"),
    ("gpu.driver", cuda("cuda", driver=(11, 8)), "fail", "CUDA 11.8, expected 12.0", "525"),
    ("gpu.driver", cuda("cuda", gpus=()), "fail", "shows no GPU", "unset CUDA_VISIBLE_DEVICES"),
    ("gpu.cublas", cuda(cublas=False), "fail", "no libcublas.so.12", "[gpu]"),
    (
        "gpu.cublas",
        cuda(cublas=False, wheels=("/w/cublas/lib",)),
        "fail",
        "first inference would fail",
        "what lies in /w/cublas/lib does not load: install those wheels again",
    ),
    (
        "gpu.capability",
        cuda(gpus=(replace(H100, capability=(3, 5)),)),
        "fail",
        "compute capability 3.5",
        "--device cpu",
    ),
    (
        "gpu.capability",
        cuda(compute_type="float16", gpus=(replace(H100, capability=(6, 1)),)),
        "fail",
        "expected 7.0 or newer",
        "--compute-type auto",
    ),
    (
        "gpu.capability",
        cuda(gpus=(replace(H100, capability=(6, 1)),)),
        "warn",
        "no quick float16",
        "int8_float32",
    ),
    (
        "gpu.torch",
        torch_on_gpu("13.0"),
        "warn",
        "built for CUDA 13.0, and NVIDIA's driver runs CUDA 12.4, expected 13.0",
        "install driver 580",
    ),
    (
        "gpu.torch",
        torch_on_gpu("13.0", driver=(13, 0), gpus=(replace(H100, capability=(7, 0)),)),
        "warn",
        "no code for NVIDIA H100: compute capability 7.0, expected 7.5 or newer: Whisper works",
        "a newer GPU",
    ),
    (
        "bundle.torch",
        bundle(*MOUNTED.models, SPEAKERS, host=torch_on_gpu("13.0")),
        "fail",
        "'community-1': torch is built for CUDA 13.0, and NVIDIA's driver runs CUDA 12.4",
        "install driver 580 or newer; or --device cpu",
    ),
    ("bundle.readable", bundle(trouble=TROUBLE), "fail", "it is so", "do this"),
    ("bundle.promise", bundle(promise=TROUBLE), "fail", "it is so", "do this"),
    (
        "bundle.emotion",
        bundle(Model("dims", "emotion", "transformers", GB)),
        "warn",
        "transformers is not installed",
        "[emotion]",
    ),
    (
        "bundle.memory",
        small_memory(8 * GB, 8 * GB),
        "fail",
        "takes about 9.40 GB, and there are 8.00 GB",
        "--verified-load path takes about 3.40 GB",
    ),
    ("bundle.memory", small_memory(3 * GB, 3 * GB), "fail", "9.40 GB", "more memory, or a smaller"),
    ("bundle.memory", small_memory(16 * GB, 8 * GB), "warn", "only 8.00 GB are available", "path"),
    (
        "bundle.memory",
        small_memory(3 * GB, 3 * GB, VerifiedLoad.PATH),
        "fail",
        "takes about 3.40 GB",
        "more memory",
    ),
    (
        "bundle.gpu-memory",
        bundle(host=cuda(gpus=(replace(H100, memory=4 * GB),))),
        "fail",
        "about 4.50 GB of the GPU, which has 4.00 GB",
        "--device cpu",
    ),
    (
        "bundle.copies",
        bundle(MODEL, SPEAKERS, host=on("place", temporary_free=GB // 2)),
        "fail",
        "are copied to '/tmp' while they are loaded: 1.00 GB, and 500.0 MB are free",
        "TMPDIR",
    ),
    ("offer.space", bundle(host=on("place", free=GB), base=OFFERED), "fail", "3.07 GB", "--root"),
    (
        "offer.base",
        replace(OFFERED, offer=Offer(GB, 4, "ward-1.0.0")),
        "fail",
        "4 files that it leaves to ward-1.0.0",
        "airgap mount ward-1.0.0.tar.zst",
    ),
    (
        "mount.files",
        mount(differ=("a", "b", "c", "d", "e")),
        "fail",
        "'a', 'b', 'c' and 2 more",
        "once more",
    ),
    (
        "mount.unsigned",
        mount(unsigned=(Path("/r/x y"),)),
        "fail",
        "signed by nobody: '/r/x y'",
        "rm -r '/r/x y'",
    ),
    ("mount.refs", mount(bad_refs=("refs/main",)), "fail", "no newline in 'refs/main'", "again"),
    ("mount.models", mount(incomplete=("no tokenizer",)), "fail", "no tokenizer", "again"),
    ("mount.standing", mount(standing=("expires soon",)), "warn", "expires soon", "newer bundle"),
    ("mount.standing", mount(standing=TROUBLE), "fail", "it is so", "do this"),
    (
        "mount.clock",
        mount(created=datetime(2027, 1, 1, tzinfo=UTC)),
        "warn",
        "made on 2027-01-01, and it is 2026-06-01 here",
        "set the clock",
    ),
    ("mount.shadow", mount(astray=("it is so",)), "warn", "it is so", "airgap cache env"),
    ("mount.shadow", mount(shadows=("/c/m",)), "warn", "'/c/m'", "HF_HOME=/r/mounts/ward/current"),
]


def found_by(name, facts):
    """What the check of that name finds."""
    (check,) = [one for one in (*checks.OF_HOST, *checks.OF_BUNDLE) if one.name == name]
    return check.rule(facts)


@pytest.mark.parametrize(
    ("name", "facts", "state", "says", "fix"),
    PROVOKED,
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_rule_is_provoked(name, facts, state, says, fix):
    finding = found_by(name, facts)
    assert finding is not None
    assert (finding.state, says in finding.found) == (state, True), finding
    assert finding.fix is not None
    assert fix in finding.fix


def test_every_check_is_provoked():
    names = [one.name for one in (*checks.OF_HOST, *checks.OF_BUNDLE)]
    assert len(set(names)) == len(names)
    assert {name for name, *_ in PROVOKED} == set(names)


WELL = {
    "mounted": [MOUNTED],
    "offered": [OFFERED],
    "with a GPU": [replace(MOUNTED, host=cuda("cuda"))],
    "with everything installed": [replace(MOUNTED, host=torch(torch_cuda="12.6"))],
    "torchaudio mended": [replace(MOUNTED, host=torch(torchaudio_cuda=False))],
    "several": [MOUNTED, OFFERED],
    "none": [],
}


@pytest.mark.parametrize("name", WELL)
def test_of_what_is_well_nothing_is_said(name):
    host = WELL[name][0].host if WELL[name] else HOST
    for one in checks.diagnose(host, WELL[name]):
        assert (one.finding.state, one.finding.fix) == (State.OK, None), one


QUIET = [
    ("trust.clock", on("trust", clock=datetime(2026, 5, 31, 23, 57, tzinfo=UTC))),
    ("trust.audit", on("trust", audit=None)),
    ("hardware.cpu", on("machine", architecture="aarch64", features=frozenset())),
    ("network.resolver", on("surroundings", resolvers=("10.0.0.1",))),
    ("settings.offline", variables(HF_HUB_OFFLINE="yes", HF_HOME="/m")),
    ("settings.telemetry", variables(PYANNOTE_METRICS_ENABLED="0")),
    ("gpu.cublas", cuda("cpu", cublas=False)),
    ("gpu.driver", cuda("auto", base=NO_CUDA)),
    ("gpu.cublas", on("machine", cuda=replace(CUDA, cublas=False))),  # the engine took the CPU
    (
        "bundle.emotion",
        bundle(Model("e", "emotion", "transformers", 1), host=versions(transformers="5")),
    ),
    (
        "bundle.copies",
        bundle(
            SPEAKERS,
            host=replace(on("place", temporary_free=1), wish=Wish(diarization=Diarization.NONE)),
        ),
    ),
    ("bundle.memory", bundle(MODEL, Model("e", "emotion", "transformers", 90 * GB))),
    (
        "bundle.memory",
        bundle(
            MODEL,
            replace(MODEL, id="b", size=90 * GB),
            host=replace(HOST, wish=Wish(("large-v3",))),
        ),
    ),
    ("bundle.memory", small_memory(8 * GB, 8 * GB, VerifiedLoad.PATH)),
    ("bundle.memory", replace(MOUNTED, trouble=TROUBLE)),
    ("mount.files", OFFERED),
    ("offer.space", MOUNTED),
]


@pytest.mark.parametrize(("name", "facts"), QUIET, ids=[name for name, _ in QUIET])
def test_a_rule_lets_pass(name, facts):
    finding = found_by(name, facts)
    assert finding is None or finding.state == State.OK


# --- facts out of the system's own texts --------------------------------------------------------

IPV4 = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
ZEROS = "0" * 32
IPV6 = f"""\
{ZEROS} 00 {ZEROS} 00 fd000000000000000000000000000001 00000400 00000003 00000000 00000003     eth1
{ZEROS} 00 {ZEROS} 00 {ZEROS} ffffffff 00000001 00000000 00200200       lo
fe800000000000000000000000000000 40 {ZEROS} 00 {ZEROS} 00000100 00000002 00000000 00000001     eth2
"""


def test_default_routes():
    assert network.default_routes(IPV4, IPV6) == ("eth0", "eth1")
    assert network.default_routes("", "") == ()


def test_a_route_that_answers_with_an_error_leads_nowhere():
    assert network.default_routes(IPV4.replace("0003", "0201"), "") == ()
    assert network.default_routes("", IPV6.replace("00000003     eth1", "00200201     eth1")) == ()


def test_resolvers_of_this_host_itself_do_not_count():
    content = "# by hand\nnameserver 127.0.0.53\nsearch a\nnameserver\nnameserver 10.0.0.1\n"
    assert network.resolvers(content) == ("10.0.0.1",)


def test_memory_of_the_machine_and_of_this_process():
    told = "MemTotal:  2000 kB\nMemFree: 1 kB\nMemAvailable:   1000 kB\nHugePages_Total:   0\n"
    assert memory.of_machine(told) == (2_048_000, 1_024_000)
    total, available = memory.total_and_available()
    assert 0 < available <= total


# --- the page -------------------------------------------------------------------------------------


def test_the_page_lists_every_check():
    page = (Path(__file__).parents[2] / "docs/doctor.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+\.[a-z-]+)` \| (.+?) \|", page, re.MULTILINE)
    assert rows == [(one.name, one.asks) for one in (*checks.OF_HOST, *checks.OF_BUNDLE)]
