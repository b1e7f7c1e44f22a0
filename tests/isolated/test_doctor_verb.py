"""`airgap doctor` on real hosts: facts gathered from what is really there, and nothing written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airgap import frames
from airgap.manifest import Artifact
from airgap.statement import Base
from runtime.doctor.host import _Probe
from runtime.doctor.surroundings import VARIABLES

SNAPSHOT = "hf/hub/models--org--name/snapshots/0d3d19a32d3338f10357c0889762bd8d64bbdeba"
NAMES = ("config.json", "model.bin", "tokenizer.json", "vocabulary.txt")
CONTENTS = {
    "hf/hub/models--org--name/refs/main": b"0d3d19a32d3338f10357c0889762bd8d64bbdeba",
    **{f"{SNAPSHOT}/{name}": f'{{"{name}": 1}}'.encode() * 9_000 for name in NAMES},
    f"{SNAPSHOT}/config.json": b'{"lang_ids": [1, 2, 3]}',
}


@pytest.fixture(scope="module")
def answers():
    """What the processes that doctor starts have said."""
    return {}


@pytest.fixture(autouse=True)
def calm(monkeypatch, tmp_path, answers):
    """A home of its own, no variables that a check asks for; real answers, each asked once."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)

    class Once:
        def __init__(self, *question):
            if question not in answers:
                answers[question] = _Probe(*question).answer()
            self.answer = lambda: answers[question]

    monkeypatch.setattr("runtime.doctor.host._Probe", Once)


@pytest.fixture
def whole(write):
    """Writes a bundle of a model to which nothing is lacking, some contents changed."""

    def whole(changed=None, **others):
        contents = {path: one for path, one in {**CONTENTS, **(changed or {})}.items() if one}
        return write(contents=contents, **others)

    return whole


@pytest.fixture
def ward(host, whole):
    """A host on which all is well."""
    return mounted(host, whole())


def mounted(host, bundle):
    said = host.airgap("mount", bundle)
    assert said.code == 0, said.err
    return host


def everything(folder):
    """What lies below a folder, the audit log as well."""
    return {
        path: (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in sorted(folder.rglob("*"))
    }


def examined(host, *arguments):
    """Exit code, and what each check says, by its name."""
    before = everything(host.root)
    said = host.airgap("doctor", "--json", *arguments)
    assert everything(host.root) == before
    document = said.document
    assert document["schema"] == "airgap/doctor/v1", document
    assert (said.code, document["starts"]) in {(0, True), (1, False)}
    return said.code, {one["check"]: one for one in document["checks"]}


def bad(host, *arguments):
    """The checks that fail, and what they say."""
    _code, found = examined(host, *arguments)
    return {name: one["found"] for name, one in found.items() if one["state"] == "fail"}


def warned(host, *arguments):
    _code, found = examined(host, *arguments)
    return {name: one["found"] for name, one in found.items() if one["state"] == "warn"}


# --- the verb -------------------------------------------------------------------------------------


def test_a_host_on_which_all_is_well(ward):
    code, found = examined(ward)
    assert (code, bad(ward)) == (0, {})
    assert found["mount.files"]["bundle"] == "ward-1.0.0"
    assert found["trust.store"]["bundle"] is None
    assert found["network.guard"]["found"].startswith("no network: seccomp filter")
    assert found["hardware.engine"]["found"].startswith("cpu, int8")
    assert set(found["trust.store"]) == {"check", "bundle", "state", "found", "fix"}


def test_a_table_for_people(ward, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://hub")
    said = ward.airgap("doctor")
    assert said.code == 0
    assert "OK    trust.store" in said.out
    assert "WARN  settings.endpoint" in said.out
    assert "fix: unset HF_ENDPOINT" in said.out
    assert "ward-1.0.0:\n" in said.out
    assert " would fail, " in said.err
    quiet = ward.airgap("doctor", "--quiet")
    assert "WARN  settings.endpoint" in quiet.out
    assert "OK  " not in quiet.out
    assert quiet.err == ""


def test_a_host_where_nothing_was_done_yet(host, tmp_path):
    root = tmp_path / "nowhere"
    said = host.airgap("doctor", "--json", "--root", root)
    assert said.code == 1
    failed = {one["check"]: one["fix"] for one in said.document["checks"] if one["state"] == "fail"}
    assert failed.keys() == {"trust.store", "trust.record", "bundle.readable"}
    assert failed["bundle.readable"] == "airgap mount BUNDLE"
    assert failed["trust.store"].startswith("airgap trust init")
    assert not root.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--bundle", "other"), "expected 'other' mounted in"),
        (("--bundle", "ward", "ward.tar.zst"), "one of them"),
        (("no-such.tar.zst",), "'no-such.tar.zst' is no bundle, and as a profile: "),
        (("no-such.json",), "cannot read 'no-such.json' as a plan"),
    ],
)
def test_a_wrong_command_line(ward, arguments, says):
    said = ward.airgap("doctor", *arguments)
    assert said.code == 2
    assert says in said.err


def test_no_speech_library_is_imported_here(ward):
    program = (
        "import sys; from airgap.cli import run; run(['doctor']); "
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "OK    hardware.engine" in done.stdout
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert loaded & {"av", "ctranslate2", "faster_whisper", "numpy", "torch", "uvicorn"} == set()
    assert ward.root.exists()


# --- trust ----------------------------------------------------------------------------------------


def test_a_revoked_signer(ward, alice):
    revoked = ("trust", "revoke", alice.keys[0].public.key_id, "--reason", "stolen")
    assert ward.airgap(*revoked).code == 0
    assert "able to are: none" in bad(ward)["trust.store"]
    assert "would not be mounted today" in warned(ward)["mount.standing"]
    policy = ward.root / "trust/policy.yaml"
    policy.write_text(policy.read_text().replace("expired: serve", "expired: stop"))
    assert "stolen" in bad(ward)["mount.standing"]


def test_a_lost_record(ward):
    ward.record.unlink()
    assert "is missing" in bad(ward)["trust.record"]


def test_a_broken_audit_log(ward):
    log = ward.root / "audit/log.jsonl"
    log.write_text(log.read_text().replace("mount", "mouse", 1))
    assert "broke at line" in bad(ward)["trust.audit"]


def test_a_long_audit_log(ward, monkeypatch):
    monkeypatch.setattr("runtime.doctor.host._QUICK_LOG", 100)
    _code, found = examined(ward)
    assert found["trust.audit"]["state"] == "ok"
    assert "its last line alone" in found["trust.audit"]["found"]
    log = ward.root / "audit/log.jsonl"
    log.write_text(log.read_text()[:-9] + "\n")
    assert "nothing can be added to it" in bad(ward)["trust.audit"]


def test_a_clock_that_was_set_back(ward, monkeypatch):
    monkeypatch.setattr("runtime.doctor.host.clock", lambda: datetime(2020, 1, 1, tzinfo=UTC))
    found = warned(ward)
    assert "the clock says 2020-01-01" in found["trust.clock"]
    assert "it was made on 2026-01-02" in found["mount.clock"]


# --- the mount ------------------------------------------------------------------------------------


def in_mount(host, name):
    """A mounted file, writable."""
    path = host.current / SNAPSHOT / name
    path.chmod(0o644)
    return path


def test_a_file_that_was_cut(ward):
    with in_mount(ward, "model.bin").open("r+b") as stream:
        stream.truncate(100)
    assert "model.bin'" in bad(ward)["mount.files"]


def test_a_file_that_is_gone(ward):
    in_mount(ward, "vocabulary.txt").unlink()
    assert "vocabulary.txt'" in bad(ward)["mount.files"]


def test_a_small_file_of_the_same_size(ward):
    in_mount(ward, "config.json").write_bytes(b'{"lang_ids": [1, 2, 4]}')
    assert "config.json'" in bad(ward)["mount.files"]


def test_a_link_in_place_of_a_file(ward, tmp_path):
    path = in_mount(ward, "model.bin")
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert "model.bin'" in bad(ward)["mount.files"]


def test_a_manifest_that_was_changed(ward):
    manifest = ward.current / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_bytes(manifest.read_bytes().replace(b"MIT", b"BSD"))
    assert bad(ward).keys() == {"bundle.readable"}


def test_a_ref_with_a_newline(host, whole):
    ref = "hf/hub/models--org--name/refs/main"
    mounted(host, whole({ref: CONTENTS[ref] + b"\n"}))
    assert f"'{ref}'" in bad(host)["mount.refs"]


def test_a_ref_that_was_changed_is_no_defect_of_the_build(ward):
    """One finding, and one fix: to mount it once more."""
    ref = ward.current / "hf/hub/models--org--name/refs/main"
    ref.chmod(0o644)
    ref.write_bytes(ref.read_bytes() + b"\n")
    assert bad(ward).keys() == {"mount.files"}


def test_what_nobody_signed(ward):
    stranger = ward.current.resolve() / "hf/extra"
    stranger.touch()
    assert f"'{stranger}'" in bad(ward)["mount.unsigned"]


def test_a_model_without_a_tokenizer(host, whole):
    mounted(host, whole({f"{SNAPSHOT}/tokenizer.json": None}))
    assert "expected 'tokenizer.json'" in bad(host)["mount.models"]


def test_a_large_model_without_a_preprocessor(host, whole):
    config = json.dumps({"lang_ids": list(range(100))}).encode()
    bundle = whole({f"{SNAPSHOT}/config.json": config})
    assert "no 'preprocessor_config.json'" in bad(mounted(host, bundle))["mount.models"]


@pytest.mark.parametrize("config", [b"[]", b"{", b'{"lang_ids": 3}', b'{"lang_ids": null}'])
def test_a_strange_configuration_is_no_reason_to_fall_over(host, whole, config):
    mounted(host, whole({f"{SNAPSHOT}/config.json": config}))
    assert bad(host) == {}


def test_several_bundles(ward, whole):
    mounted(ward, whole({f"{SNAPSHOT}/tokenizer.json": None}, file="second", title="clinic"))
    assert bad(ward).keys() == {"mount.models"}
    assert bad(ward, "--bundle", "ward") == {}


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HF_HOME", "HOME"])
def test_a_cache_that_comes_first(ward, tmp_path, monkeypatch, variable):
    below = {"HF_HUB_CACHE": "", "HF_HOME": "hub", "HOME": ".cache/huggingface/hub"}[variable]
    hub = tmp_path / "other" / below
    (hub / "models--org--name").mkdir(parents=True)
    monkeypatch.setenv(variable, str(tmp_path / "other"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert str(hub / "models--org--name") in warned(ward)["mount.shadow"]


@pytest.mark.parametrize(
    "variable", ["HF_HUB_CACHE", "HF_HOME", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE"]
)
def test_a_variable_that_leads_to_an_empty_folder(ward, tmp_path, monkeypatch, variable):
    """Other programs would find no model, and not the mounted one."""
    monkeypatch.setenv(variable, str(tmp_path / "empty"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    told = warned(ward)["mount.shadow"]
    assert told.startswith(f"{variable} is '{tmp_path / 'empty'}', expected '{ward.current}/hf")


def test_of_several_mounts_a_variable_may_mean_any(ward, whole, monkeypatch):
    mounted(ward, whole(file="second", title="clinic"))
    monkeypatch.setenv("HF_HOME", str(ward.root / "mounts/clinic/current/hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HOME is '" not in warned(ward).get("mount.shadow", "")


def test_a_folder_of_the_model_s_name(ward):
    Path("org/name").mkdir(parents=True)
    assert "org/name" in warned(ward)["mount.shadow"]


def test_the_mount_does_not_shadow_itself(ward, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(ward.current / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "mount.shadow" not in warned(ward)


# --- promises, the same that `serve` refuses at start ---------------------------------------------


def test_a_promise_that_cannot_be_kept(host, whole):
    mounted(host, whole(features={"diarization_enabled": True}))
    found = bad(host)["bundle.promise"]
    assert "cannot tell speakers apart" in found
    refused = host.airgap("serve", "--port", "0")
    assert refused.code == 2
    assert found in refused.err
    assert bad(host, "--diarization", "none") == {}


def test_a_model_that_is_not_there(ward):
    assert "expected 'large'" in bad(ward, "--model", "large")["bundle.promise"]
    assert "named twice" in bad(ward, "--model", "tiny", "--model", "tiny")["bundle.promise"]


def test_emotion_that_is_not_carried(ward):
    found = bad(ward, "--emotion")["bundle.promise"]
    assert "emotion needs transformers" in found or "role emotion" in found


# --- this machine ---------------------------------------------------------------------------------


def test_an_arithmetic_that_a_cpu_has_not(ward):
    found = bad(ward, "--device", "cpu", "--compute-type", "float16")
    assert "'float16' is not supported on this cpu" in found["hardware.engine"]


def test_variables(ward, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    said = ward.airgap("doctor")
    assert said.code == 0
    assert "HF_HUB_OFFLINE=0 sends other programs to a network" in said.out
    assert "hf_secret" not in said.out + said.err


def test_a_folder_for_copies_that_is_not_there(ward, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/nowhere")
    assert "cannot write '/nowhere'" in bad(ward)["room.temporary"]


def test_a_store_that_others_may_write(ward):
    for name in ("store", "trust"):
        (ward.root / name).chmod(0o775)
        assert f"'{ward.root / name}'" in warned(ward)["room.rights"]
        (ward.root / name).chmod(0o755)
    assert "room.rights" not in warned(ward)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user(ward, reachable):
    def as_nobody(*arguments):
        # Once as root: another user may not see where this suite's packages lie.
        program = (
            "import contextlib, io, os, sys; from airgap.cli import run; arguments = sys.argv[1:]\n"
            "with contextlib.redirect_stdout(io.StringIO()): run(arguments)\n"
            "from runtime.doctor import host\n"
            "told = type('Told', (), {'answer': lambda _: host.Trouble('?', None)})()\n"
            "host._Probe = lambda *asked: told\n"
            "os.setgid(65534); os.setuid(65534); sys.exit(run(arguments))"
        )
        command = [sys.executable, "-c", program, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert ward.root.is_relative_to(reachable)
    ward.root.chmod(0o755)
    said = as_nobody("doctor")
    shown = said.stdout
    assert shown, said.stderr
    assert "WARN  room.rights" in shown
    assert "may read" in shown
    assert "WARN  trust.audit" in shown
    assert "FAIL  room.spool" in shown
    ward.root.parent.chmod(0o700)
    hidden = as_nobody("doctor")
    assert hidden.returncode == 1
    assert f"this user cannot look into '{ward.root}': Permission denied" in hidden.stderr


def test_no_way_out_in_an_empty_network(ward, empty_network):
    done = subprocess.run(
        [*empty_network, sys.executable, "-m", "airgap", "doctor", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stdout
    found = {one["check"]: one for one in json.loads(done.stdout)["checks"]}
    assert found["network.route"]["found"].startswith("no default route")
    assert found["network.guard"]["state"] == "ok"
    assert ward.root.exists()


def test_a_torchaudio_for_cuda_beside_a_torch_for_cpus(ward, tmp_path):
    site = tmp_path / "site"
    for name, version in (("torch", "2.13.0"), ("torchaudio", "2.11.0"), ("av", "19.0.0")):
        (site / f"{name}-{version}.dist-info").mkdir(parents=True)
        metadata = site / f"{name}-{version}.dist-info/METADATA"
        metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (site / name).mkdir()
        (site / name / "__init__.py").write_text("raise SystemExit('imported')\n")
    (site / "torch/version.py").write_text("cuda: Optional[str] = None\nhip = None\n")
    (site / "torchaudio/lib").mkdir()
    (site / "torchaudio/lib/libtorchaudio.so").write_bytes(b"\x7fELF..libcudart.so.12..")
    done = subprocess.run(
        [sys.executable, "-m", "airgap", "doctor", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    assert done.returncode == 1, done.stderr
    found = {one["check"]: one for one in json.loads(done.stdout)["checks"]}
    assert found["libraries.torchaudio"]["fix"] == "python -m runtime.torchaudio_cpu"
    assert "av 19.0.0 breaks" in found["libraries.av"]["found"]
    (site / "torch/version.py").write_text("cuda: Optional[str] = '12.6'\nhip = None\n")
    again = subprocess.run(
        done.args,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    found = {one["check"]: one for one in json.loads(again.stdout)["checks"]}
    assert found["libraries.torchaudio"]["state"] == "ok"
    assert ward.root.exists()


def test_an_engine_that_kills_its_process(ward, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    (site / "ctranslate2.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)\n")
    done = subprocess.run(
        [sys.executable, "-m", "airgap", "doctor", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    assert done.returncode == 1, done.stderr
    found = {one["check"]: one for one in json.loads(done.stdout)["checks"]}
    assert found["hardware.engine"]["found"] == "asking about the engine ended with SIGILL"
    assert ward.root.exists()


# --- what is not mounted yet ----------------------------------------------------------------------


def test_a_bundle_that_would_run(host, whole):
    bundle = whole()
    code, found = examined(host, bundle)
    assert code == 0
    assert "frames are checked by `airgap verify`" in found["bundle.readable"]["found"]
    assert found["offer.space"]["found"] == "mounting it takes 67.6 MB"
    assert not (host.root / "mounts").exists()
    mounted(host, bundle)
    _code, found = examined(host, bundle)  # what is stored is not stored again
    assert found["offer.space"]["found"] == "mounting it takes 67.1 MB"


def test_a_bundle_of_somebody_else(host, whole, bob):
    assert "not known here" in bad(host, whole(people=[bob]))["bundle.readable"]


def test_a_bundle_that_expired(host, whole):
    bundle = whole(expires="2026-01-03T00:00:00Z")
    assert "expired on" in bad(host, bundle)["bundle.readable"]


def test_a_file_that_is_no_bundle(host, tmp_path):
    other = tmp_path / "song.mp3"
    other.write_bytes(b"ID3")
    assert bad(host, other).keys() == {"bundle.readable"}


def test_a_bundle_whose_promise_cannot_be_kept_here(host, whole, manifest_of, monkeypatch):
    folder = "diarization/voices"
    model = Artifact("voices", "diarization", "pyannote", folder, None, None, "MIT", gated=False)
    models = (*manifest_of(CONTENTS).artifacts, model)
    bundle = whole(artifacts=models, features={"diarization_enabled": True})
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert "pyannote.audio is not installed" in bad(host, bundle)["bundle.promise"]


def test_a_delta_whose_base_is_not_here(host, whole, manifest_of):
    full = manifest_of(CONTENTS)
    base = Base("ward", "1.0.0", frames.digest(full.to_bytes(), "sha256").hex())
    left = tuple(replace(file, offset=None) for file in full.files)
    files = (*left, *manifest_of({"README.txt": b"new\n"}).files)
    changes = {"version": "1.1.0", "sequence": 8, "base": base, "files": files}
    delta = whole({"README.txt": b"new\n"}, file="delta", **changes)
    assert "5 files that it leaves to ward-1.0.0" in bad(host, delta)["offer.base"]
    mounted(host, whole())
    assert bad(host, delta) == {}


PLAN = {
    "schema": "airgap/plan/v1",
    "name": "ward",
    "version": "2.0.0",
    "diarization": "none",
    "size": 4_000,
    "models": [{"id": "big", "role": "asr", "engine": "faster-whisper", "size": 10**13}],
}


def planned(tmp_path, **changes):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({**PLAN, **changes}))
    return path


def test_a_plan_that_is_too_large(host, tmp_path):
    assert "takes about" in bad(host, planned(tmp_path))["bundle.memory"]
    found = bad(host, planned(tmp_path, size=10**15, models=[]))
    assert found.keys() == {"offer.space"}


def test_a_plan_of_a_back_end_that_is_not_installed(host, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    plan = planned(tmp_path, models=[], diarization="nemo")
    assert "nemo is not installed" in bad(host, plan)["bundle.promise"]
    assert bad(host, plan, "--diarization", "none") == {}


def test_a_plan_of_a_back_end_that_travels_along(host, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    extras = {"runtime": {"extras": ["gpu", "server", "nemo"]}}
    assert bad(host, planned(tmp_path, models=[], diarization="nemo", **extras)) == {}
    assert (
        "nemo is not"
        in bad(host, planned(tmp_path, models=[], diarization="nemo", runtime=None))[
            "bundle.promise"
        ]
    )


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"schema": "airgap/plan/v1"}', '{"schema": "airgap/list/v1"}']
)
def test_a_plan_that_is_none(host, tmp_path, content):
    path = tmp_path / "plan.json"
    path.write_text(content)
    said = host.airgap("doctor", path)
    assert said.code == 2
    assert "is no plan" in said.err


def test_a_shipped_profile_by_its_name(host):
    _code, found = examined(host, "demo")
    assert found["bundle.memory"]["bundle"] == "demo-1.0.0"
    assert "takes about 634.3 MB" in found["bundle.memory"]["found"]
