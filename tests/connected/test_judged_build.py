"""A build judges and loads its models before it signs; what it finds goes into the bundle."""

from __future__ import annotations

import json
import pickle
import shutil
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from airgap import volumes
from airgap.archive import open_bundle, read_head
from airgap.errors import AirgapError, UsageError
from airgap.manifest import Exemption
from airgap.statement import Statement
from bundler import dryload, measured
from bundler.build import Built, build
from bundler.cli import register
from bundler.download_cache import DownloadCache
from bundler.dryload import Skipped
from bundler.layout import lay_out
from bundler.lock import Lock, LockedFile, LockedModel
from bundler.plan import make_plan
from bundler.profile import Profile
from bundler.scan.verdict import UnsafeError
from bundler.sources import Access
from bundler.sources.local import Local

WAIVER = """\
scan:
  waive:
  - model: o--m
    file: w.bin
    rule: pickle.global
    reason: looked at by alice on 2026-01-02, it builds a table
"""


class Runs:
    def __reduce__(self) -> Any:
        return print, ("it ran",)


EVIL = pickle.dumps(Runs(), 2)

Make = Callable[..., Built]


@pytest.fixture
def make(tmp_path: Path, access: Access, kit: Any) -> Make:
    """Build a bundle of one model whose files lie in a local folder."""

    def built(files: dict[str, bytes], policy: str = "", skip: tuple[str, ...] = ("asr",)) -> Built:
        for path, content in files.items():
            (tmp_path / "model").mkdir(exist_ok=True)
            (tmp_path / "model" / path).write_bytes(content)
        profile = Profile.parse((kit.PROFILE + policy).encode(), "p.yaml")
        locked = tuple(
            LockedFile(path, len(content), kit.sha256(content)) for path, content in files.items()
        )
        source = (Local("model"),)
        model = LockedModel(
            "o--m", "asr", "faster-whisper", "o/m", kit.COMMIT, "MIT", False, source, locked
        )
        lock = Lock("n", "1.0.0", 1, "2026-01-02T03:04:05Z", profile.sha256, (model,))
        return build(profile, lock, access, tmp_path / "out", {}, skip_dry_load=skip)

    return built


def scan_json(built: Built) -> Any:
    file = next(one for one in built.manifest.files if one.path == "scan.json")
    with volumes.opened(built.path) as source:
        envelope = read_head(source)
        opened = open_bundle(source, envelope, Statement.parse(envelope.statement))
        opened.check_contents(lambda _units: None)
    tree = built.path.parent / "tree"
    tree.mkdir()
    import subprocess  # noqa: PLC0415 - the real tar, for this alone

    subprocess.run(["tar", "--zstd", "-xf", built.path, "-C", tree], check=True)
    content = (tree / "scan.json").read_bytes()
    assert len(content) == file.size
    return json.loads(content)


def place(kit: Any, name: str) -> str:
    return f"hf/hub/models--o--m/snapshots/{kit.COMMIT}/{name}"


def test_a_danger_is_refused_and_nothing_is_left(make: Make, tmp_path: Path, kit: Any) -> None:
    with pytest.raises(UnsafeError, match="1 dangers in what would be loaded") as caught:
        make({"w.bin": EVIL, "config.json": b"{}"})
    assert caught.value.exit_code == 3
    assert caught.value.rule == "scan.pickle.global"
    assert place(kit, "w.bin") in caught.value.message
    assert "builtins.print" in caught.value.message or "__builtin__.print" in caught.value.message
    assert "waive it in the profile" in str(caught.value.hint)
    assert not (tmp_path / "out").exists()


def test_bit_rot_in_the_download_cache_is_no_danger(
    make: Make, access: Access, tmp_path: Path, kit: Any
) -> None:
    good = pickle.dumps({"a": 1}, 2)
    make({"w.bin": good})
    shutil.rmtree(tmp_path / "out")
    place = access.cache.path(kit.sha256(good))
    place.chmod(0o644)
    place.write_bytes(good[:2] + b"\xff" + good[3:])
    with pytest.raises(AirgapError) as caught:
        make({"w.bin": good})
    assert caught.value.exit_code == 1
    assert (
        caught.value.message == f"the download cache holds other bytes than its names say: {place}"
    )
    assert caught.value.hint == f"rm {place}, then build again"
    assert isinstance(caught.value.__cause__, UnsafeError)
    assert not (tmp_path / "out").exists()
    place.unlink()
    make({"w.bin": good})


def test_bit_rot_is_found_behind_a_model_that_does_not_load(
    make: Make, access: Access, tmp_path: Path, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flipped bit that the scan does not mind: whatever fails next, the disk is named."""
    monkeypatch.setattr("bundler.dryload.LIBRARIES", {})
    with pytest.raises(AirgapError, match="cannot load models of"):
        make({"config.json": b'{"a": 1}'}, skip=())
    place = access.cache.path(kit.sha256(b'{"a": 1}'))
    place.chmod(0o644)
    place.write_bytes(b'{"a": 3}')
    with pytest.raises(AirgapError, match="holds other bytes than its names say"):
        make({"config.json": b'{"a": 1}'}, skip=())
    assert not (tmp_path / "out").exists()


def test_a_waiver_with_a_reason_is_kept_in_the_manifest(make: Make, kit: Any) -> None:
    built = make({"w.bin": EVIL}, WAIVER)
    check = built.manifest.scan
    assert check is not None
    assert check.verdict == "dangers exempt"
    (exempt,) = check.exempt
    assert exempt.reason == "looked at by alice on 2026-01-02, it builds a table"
    assert exempt.subject.startswith(f"pickle.global in {place(kit, 'w.bin')}")
    report = scan_json(built)
    assert report["schema"] == "airgap/scan/v1"
    assert report["exempt"] == [{"subject": exempt.subject, "reason": exempt.reason}]
    assert [one["rule"] for one in report["findings"]] == ["pickle.global"]


@pytest.mark.parametrize(
    ("old", "new"),
    [("o--m", "other"), ("w.bin", "v.bin"), ("pickle.global", "pickle.trick")],
)
def test_a_waiver_waives_nothing_else(old: str, new: str, make: Make, tmp_path: Path) -> None:
    with pytest.raises(UnsafeError, match="1 dangers"):
        make({"w.bin": EVIL}, WAIVER.replace(old, new, 1))
    assert not (tmp_path / "out").exists()


def test_a_waiver_of_these_bytes_ends_with_them(make: Make, tmp_path: Path, kit: Any) -> None:
    pinned = WAIVER + f"    sha256: '{kit.sha256(EVIL)}'\n"
    built = make({"w.bin": EVIL}, pinned)
    assert built.manifest.scan
    assert built.manifest.scan.verdict == "dangers exempt"
    shutil.rmtree(tmp_path / "out")
    other = pickle.dumps([Runs(), "more"], 2)
    with pytest.raises(UnsafeError, match="1 dangers") as caught:
        make({"w.bin": other}, pinned)
    assert caught.value.exit_code == 3
    said = f"its waiver is for other bytes: expected SHA-256 {kit.sha256(EVIL)}, found"
    assert f"{said} {kit.sha256(other)}" in caught.value.message
    assert not (tmp_path / "out").exists()


def test_a_refusal_shows_the_waiver_that_a_profile_would_need(make: Make, kit: Any) -> None:
    with pytest.raises(UnsafeError) as caught:
        make({"w.bin": EVIL})
    shown = textwrap.dedent(str(caught.value.hint).partition("reason:\n")[2])
    with pytest.raises(UsageError, match="'reason' of a waiver: expected text, found nothing"):
        Profile.parse((kit.PROFILE + shown).encode(), "p.yaml")
    shown = shown.replace("reason: ''", "reason: read by alice")
    (waiver,) = Profile.parse((kit.PROFILE + shown).encode(), "p.yaml").scan.waive
    assert (waiver.model, waiver.file, waiver.rule) == ("o--m", "w.bin", "pickle.global")
    assert waiver.sha256 == kit.sha256(EVIL)
    built = make({"w.bin": EVIL}, shown)
    assert built.manifest.scan
    assert built.manifest.scan.verdict == "dangers exempt"


def test_a_profile_may_only_be_warned(make: Make, capsys: Any) -> None:
    built = make({"w.bin": EVIL}, "scan:\n  dangers: warn\n")
    assert built.manifest.scan
    assert built.manifest.scan.exempt[0].reason == "the profile says 'dangers: warn'"
    assert "warning: danger: " in capsys.readouterr().err


def test_cautions_are_told_and_kept(make: Make, capsys: Any) -> None:
    built = make({"config.json": b'{"x": "https://example.org/y"}'})
    assert built.manifest.scan
    assert (built.manifest.scan.verdict, built.manifest.scan.exempt) == ("cautions", ())
    assert "config.address" in capsys.readouterr().err


def test_a_waiver_of_nothing_is_told(make: Make, capsys: Any) -> None:
    built = make({"config.json": b"{}"}, WAIVER)
    assert built.manifest.scan
    assert built.manifest.scan.verdict == "clean"
    assert "nothing to waive: 'pickle.global' in 'w.bin'" in capsys.readouterr().err


def test_a_skipped_dry_load_is_in_the_manifest(make: Make) -> None:
    check = make({"config.json": b"{}"}).manifest.dry_load
    assert check is not None
    assert check.verdict == "not dry-loaded"
    assert check.exempt == (Exemption("o--m", "the builder was told: --skip-dry-load asr"),)


def test_the_same_input_gives_the_same_bytes(make: Make, tmp_path: Path) -> None:
    first = make({"w.bin": EVIL, "config.json": b"{}"}, WAIVER).path.read_bytes()
    shutil.rmtree(tmp_path / "out")
    assert make({"w.bin": EVIL, "config.json": b"{}"}, WAIVER).path.read_bytes() == first


def test_a_role_that_is_not_there_cannot_be_skipped(make: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no model has the role 'vad'; there are asr"):
        make({"config.json": b"{}"}, skip=("vad",))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scan: {dangers: ignore}\n", "'dangers': expected refuse | warn, found 'ignore'"),
        ("scan: {danger: warn}\n", "did you mean 'dangers'"),
        ("scan:\n  waive:\n  - {model: m, file: f, rule: r}\n", "a waiver lacks 'reason'"),
        ("scan:\n  waive:\n  - {model: m, file: f, rule: r, reason: ''}\n", "found nothing"),
        (
            "scan:\n  waive:\n  - {model: m, file: f, rule: r, sha256: ABC, reason: x}\n",
            "'sha256' of a waiver: expected 64 hex digits, found 'ABC'",
        ),
    ],
)
def test_a_policy_that_is_none(text: str, said: str, kit: Any) -> None:
    with pytest.raises(UsageError) as caught:
        Profile.parse((kit.PROFILE + text).encode(), "p.yaml")
    assert said in caught.value.message
    assert caught.value.message.startswith("p.yaml:")


def test_an_engine_that_is_not_installed_stops_the_build(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = dryload.importlib.util.find_spec
    monkeypatch.setattr(
        "bundler.dryload.importlib.util.find_spec",
        lambda name, *more: None if name == "faster_whisper" else real(name, *more),
    )
    with pytest.raises(
        AirgapError, match="o--m: its engine 'faster-whisper' is not installed"
    ) as no:
        make({"config.json": b"{}"}, skip=())
    assert "pip install 'airgap-bundler[cpu]'" in str(no.value.hint)
    assert "--skip-dry-load asr" in str(no.value.hint)
    assert not (tmp_path / "out").exists()


def test_an_engine_that_this_version_cannot_load_says_so(
    make_lock: Callable[..., Lock], tmp_path: Path
) -> None:
    tree = lay_out(make_lock({"a.nemo": b"x"}))
    strange = tuple(replace(one, engine="vosk") for one in tree.artifacts)
    tree = replace(tree, artifacts=strange)
    with pytest.raises(AirgapError, match="this version cannot load models of 'vosk'") as caught:
        dryload.dry_load(tree, {}, Skipped(frozenset()), DownloadCache.at(tmp_path / "cache"))
    assert "--skip-dry-load vad" in str(caught.value.hint)
    assert not (tmp_path / "cache").exists()


@pytest.fixture
def tiny(whisper_tiny_en: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in whisper_tiny_en.iterdir()}


@pytest.mark.heavy
def test_a_model_that_loads_is_measured_outside_the_bundle(
    tiny: dict[str, bytes], make: Make, access: Access, kit: Any, capsys: Any
) -> None:
    built = make(tiny, skip=())
    assert built.manifest.dry_load
    assert (built.manifest.dry_load.verdict, built.manifest.dry_load.exempt) == ("loaded", ())
    found = measured.recall(access.cache, [kit.sha256(content) for content in tiny.values()])
    assert found
    assert found.peak > 75_000_000
    assert "Loaded offline: o--m" in capsys.readouterr().err
    assert not list(access.cache.root.glob("dry-load.*"))


@pytest.mark.heavy
@pytest.mark.parametrize("lacking", ["tokenizer.json", "config.json", "vocabulary.txt"])
def test_what_would_fail_on_the_host_fails_here_and_names_the_file(
    lacking: str, tiny: dict[str, bytes], make: Make, tmp_path: Path, access: Access
) -> None:
    del tiny[lacking]
    with pytest.raises(AirgapError, match="o--m would not load on the isolated host") as caught:
        make(tiny, skip=())
    assert lacking.partition(".")[0] in caught.value.message
    assert caught.value.exit_code == 1
    assert not (tmp_path / "out").exists()
    assert not list(access.cache.root.glob("dry-load.*"))


@pytest.mark.heavy
def test_a_damaged_model_fails_here(tiny: dict[str, bytes], make: Make, tmp_path: Path) -> None:
    tiny["tokenizer.json"] = b'{"model": {}}'
    with pytest.raises(AirgapError, match="would not load on the isolated host"):
        make(tiny, skip=())
    assert not (tmp_path / "out").exists()


def run(*words: object) -> Any:
    app = typer.Typer()
    register(app)
    answer = CliRunner().invoke(app, [str(word) for word in words])
    if answer.exception and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer


def test_scan_as_a_verb(tmp_path: Path) -> None:
    (tmp_path / "ok.json").write_text("{}")
    told = run("scan", tmp_path)
    assert told.stdout == "1 files judged: clean\n"
    (tmp_path / "w.bin").write_bytes(EVIL)
    with pytest.raises(UnsafeError, match="1 dangers in 2 files") as caught:
        run("scan", tmp_path)
    assert caught.value.exit_code == 3


def test_scan_as_a_document(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"x": "/a/b"}')
    document = json.loads(run("scan", tmp_path / "c.json", "--json").stdout)
    assert (document["schema"], document["verdict"]) == ("airgap/scan/v1", "cautions")
    assert document["findings"][0]["rule"] == "config.path"


def test_scan_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no '.*nowhere'"):
        run("scan", tmp_path / "nowhere")


def test_what_a_killed_build_left_is_swept_and_what_is_in_use_stays(
    make_lock: Callable[..., Lock], tmp_path: Path
) -> None:
    cache = DownloadCache.at(tmp_path / "cache")
    left, used = (cache.root / f"dry-load.{name}" for name in ("left", "used"))
    for folder in (left, used):
        (folder / "hf").mkdir(parents=True)
        (folder / "hf" / "model.bin").write_bytes(b"x")
    tree = lay_out(make_lock({}))
    with dryload._held(used) as alone:
        assert alone
        check = dryload.dry_load(
            tree, {one.derived.path: b"" for one in tree.made}, Skipped(frozenset({"vad"})), cache
        )
    assert check.verdict == "not dry-loaded"
    assert not left.exists()
    assert (used / "hf" / "model.bin").exists()


def test_a_plan_shows_what_loading_took_here(
    make_lock: Callable[..., Lock], access: Access, kit: Any
) -> None:
    access.cache.root.mkdir(exist_ok=True)
    lock = make_lock({"a.nemo": b"x"})
    profile = Profile.parse(kit.PROFILE.encode(), "p")
    assert make_plan(profile, lock, access).models[0].load_memory is None
    measured.remember(access.cache, "m", lay_out(lock), measured.Measured(1.5, 300_000_000))
    (model,) = make_plan(profile, lock, access).models
    assert (model.load_seconds, model.load_memory) == (1.5, 300_000_000)
