"""Where libraries look: paths and variables, what `airgap cache` shows, and what it may remove."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airgap.errors import UsageError
from runtime import cache
from runtime.cache import CachePaths, configure_global_cache_env, is_cached

COMMIT = "0d3d19a32d3338f10357c0889762bd8d64bbdeba"
VARIABLES = (
    *CachePaths.below(Path("/x"), "any").environment(),
    *cache.SHADOWS,
    "AIRGAP_WHISPER",
    "AIRGAP_EMOTION",
    "AIRGAP_DIARIZATION",
    "SLOWER_WHISPER_CACHE_ROOT",
)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of whoever runs the suite; those that are set here are gone afterwards."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("AIRGAP_CACHE", str(tmp_path / "downloads"))
    monkeypatch.delitem(sys.modules, "huggingface_hub.constants", raising=False)


def holdings(host: Any) -> dict[str, dict[str, Any]]:
    said = host.airgap("cache", "show", "--json")
    assert said.code == 0, said.err
    return {one["name"]: one for one in said.document["holdings"]}


@pytest.fixture
def foreign(host: Any) -> Path:
    """A model that the hub's client fetched into the host's root: links to blobs; and others."""
    model = host.root / "hf/hub/models--other--model"
    for folder in (model / "blobs", model / "refs", model / "snapshots" / COMMIT):
        folder.mkdir(parents=True)
    (model / "blobs/abc").write_bytes(b"x" * 1000)
    (model / "snapshots" / COMMIT / "model.bin").symlink_to("../../blobs/abc")
    (model / "refs/main").write_text(COMMIT)
    (host.root / "hf/token").write_text("secret")
    (host.root / "whisper/mine").mkdir(parents=True)
    (host.root / "whisper/mine/model.bin").write_bytes(b"y" * 500)
    return model


# --- paths ---------------------------------------------------------------------------------------


def test_the_layout_of_a_root() -> None:
    paths = CachePaths.foreign(Path("/r"), {})
    assert (paths.root, paths.bundle) == (Path("/r"), None)
    assert (paths.hf_home, paths.hub) == (Path("/r/hf"), Path("/r/hf/hub"))
    assert (paths.torch_home, paths.nemo_home) == (Path("/r/torch"), Path("/r/nemo"))
    plain = (paths.whisper_root, paths.emotion_root, paths.diarization_root)
    assert plain == (Path("/r/whisper"), Path("/r/emotion"), Path("/r/diarization"))


@pytest.mark.parametrize(
    ("given", "root"),
    [
        ({"SLOWER_WHISPER_CACHE_ROOT": "/old"}, "/old"),
        ({"SLOWER_WHISPER_CACHE_ROOT": "/old", "AIRGAP_ROOT": "/new"}, "/new"),
        ({"SLOWER_WHISPER_CACHE_ROOT": "", "AIRGAP_ROOT": "/new"}, "/new"),
    ],
)
def test_which_variable_names_the_root(
    given: dict[str, str], root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRGAP_ROOT", raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert CachePaths.foreign().root == Path(root)
    assert CachePaths.foreign(Path("/asked")).root == Path("/asked")


@pytest.mark.parametrize(
    ("given", "field", "path"),
    [
        ({"HF_HOME": "/h"}, "hf_home", "/h"),
        ({"HF_HOME": "/h"}, "hub", "/h/hub"),
        ({"HUGGINGFACE_HUB_CACHE": "/o", "HF_HOME": "/h"}, "hub", "/o"),
        ({"HUGGINGFACE_HUB_CACHE": "/o", "HF_HUB_CACHE": "/n"}, "hub", "/n"),
        ({"TORCH_HOME": "/t"}, "torch_home", "/t"),
        ({"NEMO_CACHE_DIR": "/n"}, "nemo_home", "/n"),
        ({"AIRGAP_WHISPER": "/w"}, "whisper_root", "/w"),
        ({"AIRGAP_EMOTION": "/e"}, "emotion_root", "/e"),
        ({"AIRGAP_DIARIZATION": "/d"}, "diarization_root", "/d"),
        ({"XDG_CACHE_HOME": "/xdg"}, "hf_home", "/r/hf"),
    ],
)
def test_each_folder_may_be_elsewhere(given: dict[str, str], field: str, path: str) -> None:
    assert getattr(CachePaths.foreign(Path("/r"), given), field) == Path(path)


def test_a_mount_is_moved_by_no_variable(mounted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", "/elsewhere")
    monkeypatch.setenv("SLOWER_WHISPER_CACHE_ROOT", "/elsewhere")
    paths = CachePaths.find()
    assert (paths.bundle, paths.hf_home) == ("ward-1.0.0", mounted.current / "hf")
    assert any(one.startswith("HF_HOME is '/elsewhere'") for one in paths.shadowed_by())


def test_of_several_mounts_one_is_named(mounted: Any, write: Callable[..., Path]) -> None:
    assert mounted.airgap("mount", write("second", title="icu")).code == 0
    with pytest.raises(UsageError, match="expected one bundle mounted"):
        CachePaths.find()
    assert CachePaths.find("icu").bundle == "icu-1.0.0"


# --- for this process ----------------------------------------------------------------------------


def test_this_process_is_led_to_the_mount(mounted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFORMERS_CACHE", "/elsewhere")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    paths = configure_global_cache_env()
    assert os.environ["HF_HOME"] == str(mounted.current / "hf")
    assert (os.environ["HF_HUB_OFFLINE"], os.environ["PYANNOTE_METRICS_ENABLED"]) == ("1", "0")
    assert "TRANSFORMERS_CACHE" not in os.environ
    assert paths.shadowed_by() == []


def test_without_a_mount_it_may_still_fetch(host: Any) -> None:
    configure_global_cache_env()
    assert os.environ["HF_HOME"] == str(host.root / "hf")
    assert "HF_HUB_OFFLINE" not in os.environ


def test_a_client_that_read_its_variables_already_is_named(
    mounted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = SimpleNamespace(HF_HUB_CACHE="/home/me/.cache/huggingface/hub", HF_HUB_OFFLINE=False)
    monkeypatch.setitem(sys.modules, "huggingface_hub.constants", read)
    with pytest.raises(UsageError, match=r"was imported before, and looks in '/home/me") as caught:
        configure_global_cache_env()
    assert "before faster_whisper" in (caught.value.hint or "")
    assert "HF_HOME" not in os.environ


# --- is it there? --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiny", "org/name"])
def test_a_mounted_model_is_cached_while_it_is_whole(name: str, mounted: Any) -> None:
    assert is_cached(name)
    assert not is_cached("org/other")
    model = mounted.current / "hf/hub/models--org--name/snapshots" / COMMIT / "model.bin"
    model.unlink()
    model.write_bytes(b"short")
    assert not is_cached(name)
    model.unlink()
    assert not is_cached(name)


def test_a_foreign_model_is_cached_where_the_client_finds_it(foreign: Path) -> None:
    assert is_cached("other/model")
    assert is_cached("mine")
    assert not is_cached("other/none")


def test_a_ref_with_a_newline_leads_nowhere(foreign: Path) -> None:
    (foreign / "refs/main").write_text(f"{COMMIT}\n")
    assert not is_cached("other/model")


def test_a_download_that_broke_off_is_not_cached(foreign: Path) -> None:
    (foreign / "blobs/abc").unlink()
    assert not is_cached("other/model")


@pytest.mark.parametrize("name", ["../../etc", "", "/etc/passwd", "a\nb"])
def test_a_name_that_is_none_is_refused(name: str, host: Any) -> None:
    with pytest.raises(UsageError, match="expected the name of a model"):
        is_cached(name)


# --- show ----------------------------------------------------------------------------------------


def test_nothing_is_counted_twice(
    mounted: Any, foreign: Path, contents: Mapping[str, bytes]
) -> None:
    found = holdings(mounted)
    model, mine, other = found["tiny"], found["mine"], found["other/model"]
    once = {content for path, content in contents.items() if path.startswith("hf/")}
    assert (model["files"], model["size"]) == (len(once), sum(map(len, once)))
    assert (model["kind"], model["state"], model["place"]) == ("whisper", "verified", "ward-1.0.0")
    assert (other["kind"], other["size"], other["state"]) == ("hf", 1000 + len(COMMIT), "foreign")
    assert (mine["kind"], mine["size"], mine["state"]) == ("whisper", 500, "foreign")
    inodes = {
        path.lstat().st_ino: path.lstat().st_size
        for top in ("mounts", "store", "hf/hub", "whisper")
        for path in (mounted.root / top).rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    assert sum(one["size"] for one in found.values()) == sum(inodes.values())


def test_two_mounts_of_one_model_are_one(mounted: Any, write: Callable[..., Path]) -> None:
    assert mounted.airgap("mount", write("second", title="icu")).code == 0
    said = mounted.airgap("cache", "show", "--json").document
    shared = [one["size"] for one in said["holdings"] if one["name"] == "tiny"]
    assert min(shared) == 0
    assert max(shared) > 5_000_000


def test_older_generations_are_the_stores(
    mounted: Any, write: Callable[..., Path], contents: Mapping[str, bytes]
) -> None:
    newer = {**contents, "README.txt": b"Another.\n"}
    assert mounted.airgap("mount", write("newer", contents=newer, sequence=8)).code == 0
    assert holdings(mounted)["of no current mount"]["kind"] == "store"


def test_a_damaged_and_a_stranger_are_told(mounted: Any) -> None:
    snapshot = mounted.current / "hf/hub/models--org--name/snapshots" / COMMIT
    (snapshot / "model.bin").unlink()
    (snapshot / "planted.py").write_text("evil")
    found = holdings(mounted)
    assert found["tiny"]["state"] == "damaged"
    assert (found["of nobody who signed"]["files"], found["of nobody who signed"]["state"]) == (
        1,
        "foreign",
    )


def test_show_warns_of_variables_that_lead_elsewhere(
    mounted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "/elsewhere")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    said = mounted.airgap("cache", "show")
    assert said.code == 0
    assert "warning: HF_HUB_CACHE is '/elsewhere'" in said.err
    assert "warning: HF_HUB_OFFLINE is '0', expected '1'" in said.err
    assert said.err.count("warning:") == 2


def test_show_writes_nothing(host: Any, snapshot: Callable[[Path], Any]) -> None:
    before = snapshot(host.root)
    assert host.airgap("cache", "show").code == 0
    assert snapshot(host.root) == before


# --- clear ---------------------------------------------------------------------------------------


def test_a_dry_run_removes_nothing(
    mounted: Any, foreign: Path, snapshot: Callable[[Path], Any]
) -> None:
    before = snapshot(mounted.root)
    said = mounted.airgap("cache", "clear", "all", "--dry-run")
    assert said.code == 0
    assert "would free" in said.out
    assert snapshot(mounted.root) == before


def test_one_kind_goes_and_what_is_mounted_stays(
    mounted: Any, foreign: Path, unsound: Callable[[Path], list[str]]
) -> None:
    said = mounted.airgap("cache", "clear", "hf", "--yes", "--json")
    assert (said.document["files"], said.document["size"]) == (2, 1000 + len(COMMIT))
    assert not foreign.exists()
    assert (mounted.root / "hf/token").read_text() == "secret"
    assert (mounted.root / "whisper/mine/model.bin").exists()
    assert "'ward' stays mounted" in said.err
    assert "airgap unmount ward, then airgap gc" in said.err
    assert unsound(mounted.root) == []


def test_all_kinds_go(mounted: Any, foreign: Path, unsound: Callable[[Path], list[str]]) -> None:
    assert mounted.airgap("cache", "clear", "all", "--yes").code == 0
    assert list((mounted.root / "hf/hub").iterdir()) == []
    assert list((mounted.root / "whisper").iterdir()) == []
    assert holdings(mounted)["tiny"]["state"] == "verified"
    assert unsound(mounted.root) == []


def test_where_nobody_can_be_asked_nothing_goes(
    host: Any, foreign: Path, snapshot: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(host.root)
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        said = host.airgap("cache", "clear", "whisper")
    assert said.code == 1
    assert "--yes" in said.err
    assert snapshot(host.root) == before


@pytest.mark.parametrize(
    ("variable", "kind", "where"),
    [
        ("HF_HOME", "hf", "mounts/ward/current/hf"),
        ("AIRGAP_WHISPER", "whisper", "mounts/ward/current/whisper"),
        ("NEMO_CACHE_DIR", "nemo", "mounts/ward/generations"),
        ("NEMO_CACHE_DIR", "nemo", "store/sha256"),
    ],
)
def test_a_variable_that_leads_into_a_mount_removes_nothing(
    *,
    variable: str,
    kind: str,
    where: str,
    mounted: Any,
    snapshot: Callable[[Path], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, str(mounted.root / where))
    before = snapshot(mounted.root)
    said = mounted.airgap("cache", "clear", kind, "--yes")
    assert said.code == 2
    assert "is part of a mount" in said.err
    assert "airgap unmount NAME, then airgap gc" in said.err
    assert snapshot(mounted.root) == before


def test_a_link_into_a_mount_removes_nothing(mounted: Any, snapshot: Callable[[Path], Any]) -> None:
    (mounted.root / "emotion").symlink_to(mounted.current / "whisper")
    before = snapshot(mounted.root)
    assert mounted.airgap("cache", "clear", "emotion", "--yes").code == 2
    assert snapshot(mounted.root) == before


def test_links_inside_a_cache_are_removed_and_not_followed(mounted: Any, foreign: Path) -> None:
    (mounted.root / "whisper/mine/link").symlink_to(mounted.current)
    (mounted.root / "whisper/linked").symlink_to(mounted.root / "store")
    assert mounted.airgap("cache", "clear", "whisper", "--yes").code == 0
    assert list((mounted.root / "whisper").iterdir()) == []
    assert holdings(mounted)["tiny"]["state"] == "verified"


@pytest.mark.parametrize("where", ["root", "home", ""])
def test_a_folder_that_is_no_cache_alone_is_refused(
    where: str,
    mounted: Any,
    tmp_path: Path,
    snapshot: Callable[[Path], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "home/papers").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AIRGAP_DIARIZATION", str(tmp_path / where))
    before = snapshot(tmp_path)
    said = mounted.airgap("cache", "clear", "diarization", "--yes")
    assert said.code == 2
    assert "is no cache alone" in said.err
    assert snapshot(tmp_path) == before


def test_names_that_stay_elsewhere_free_nothing(mounted: Any) -> None:
    (mounted.root / "whisper/copy").mkdir(parents=True)
    blob = max(mounted.blobs(), key=lambda path: path.stat().st_size)
    (mounted.root / "whisper/copy/model.bin").hardlink_to(blob)
    said = mounted.airgap("cache", "clear", "whisper", "--yes", "--json").document
    assert (said["files"], said["size"]) == (1, 0)
    assert blob.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("wisper",), "expected a kind of cache that this machine has, found 'wisper'"),
        (("hf", "--keep-days", "3"), "--keep-days is for downloads"),
    ],
)
def test_a_wrong_line_removes_nothing(
    words: tuple[str, ...], said: str, host: Any, foreign: Path, snapshot: Callable[[Path], Any]
) -> None:
    before = snapshot(host.root)
    answer = host.airgap("cache", "clear", "--yes", *words)
    assert answer.code == 2
    assert said in answer.err
    assert snapshot(host.root) == before


# --- env and key ---------------------------------------------------------------------------------


def test_a_shell_takes_what_env_prints(
    host: Any, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / 'it\'s a $HOME "root"'
    host.root.rename(odd)
    monkeypatch.setenv("AIRGAP_ROOT", str(odd))
    assert host.airgap("mount", bundle).code == 0
    script = (
        f'{host.airgap("cache", "env").out}\necho "$HF_HOME|$HF_HUB_OFFLINE|$TRANSFORMERS_CACHE"'
    )
    done = subprocess.run(
        ["sh", "-c", script],
        env={"PATH": os.environ["PATH"], "TRANSFORMERS_CACHE": "/elsewhere"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{odd}/mounts/ward/current/hf|1|\n"


def test_a_dockerfile_names_the_folder_of_the_container(mounted: Any) -> None:
    said = mounted.airgap("cache", "env", "--format", "dockerfile", "--at", '/m "$1\\')
    lines = said.out.splitlines()
    assert lines[0] == 'ENV HF_HOME="/m \\"\\$1\\\\/hf"'
    assert all(line.startswith("ENV ") for line in lines)


def test_env_says_where_nothing_is_mounted(host: Any) -> None:
    said = host.airgap("cache", "env")
    assert said.code == 0
    assert "nothing is mounted" in said.err
    assert "OFFLINE" not in said.out


def test_a_key_changes_with_the_models_and_not_with_the_papers(
    mounted: Any, write: Callable[..., Path], contents: Mapping[str, bytes]
) -> None:
    key = mounted.airgap("cache", "key").out
    papers = {**contents, "README.txt": b"Another.\n"}
    assert mounted.airgap("mount", write("papers", contents=papers, sequence=8)).code == 0
    assert mounted.airgap("cache", "key", "ward").out == key
    model = next(path for path in contents if path.endswith("config.json"))
    changed = {**contents, model: b"[]\n"}
    assert mounted.airgap("mount", write("models", contents=changed, sequence=9)).code == 0
    assert mounted.airgap("cache", "key").out not in {key, ""}


def test_a_key_of_nothing(host: Any) -> None:
    said = host.airgap("cache", "key")
    assert said.code == 2
    assert "expected a profile or the name of a mounted bundle, found nothing" in said.err
