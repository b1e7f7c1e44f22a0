"""A `.nemo` that attacks: no build takes it, and where it arrives all the same nothing runs."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from airgap.errors import AirgapError
from runtime.engine.hardware import Hardware
from runtime.engine.speakers.nemo import SPEAKER_CLASS
from runtime.engine.speakers.nemo_models import CONFIG, library, restore

pytestmark = [pytest.mark.speakers, pytest.mark.heavy]

CPU = Hardware("cpu", "float32", 1)
WEIGHTS = "./model_weights.ckpt"
UNSAFE = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
"""A variable of torch's that has every pickle run that nobody asked to be read as data."""

WAIVER = """\
scan:
  waive:
  - model: titanet-large
    file: model.nemo
    rule: pickle.global
    reason: looked at by alice on 2026-01-02
"""

Repack = Callable[[Callable[[tarfile.TarInfo, bytes], Any]], Path]


class Runs:
    """What makes a folder when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.proof),)


@pytest.fixture
def repacked(models: Mapping[str, Path], tmp_path: Path) -> Repack:
    """The folder of TitaNet's `.nemo` with other members: `change` gives those for each of its."""

    def repack(change: Callable[[tarfile.TarInfo, bytes], Any]) -> Path:
        folder = tmp_path / "attacking"
        folder.mkdir()
        with (
            tarfile.open(models["titanet"] / "model.nemo") as source,
            tarfile.open(folder / "model.nemo", "w") as target,
        ):
            for member in source:
                stream = source.extractfile(member)
                for made, content in change(member, stream.read() if stream else b""):
                    made.size = len(content)
                    target.addfile(made, io.BytesIO(content))
        return folder

    return repack


@pytest.fixture
def proof(tmp_path: Path) -> Path:
    """What is there once an attack has succeeded."""
    return tmp_path / "it-ran"


@pytest.fixture
def evil(repacked: Repack, proof: Path) -> Path:
    """The folder of a `.nemo` whose weights run code when they are unpickled."""
    torch = library("torch")

    def change(member: tarfile.TarInfo, content: bytes) -> Any:
        if member.name == WEIGHTS:
            weights = torch.load(io.BytesIO(content), weights_only=True)
            torch.save({**weights, "more": Runs(proof)}, made := io.BytesIO())
            content = made.getvalue()
        return [(member, content)]

    return repacked(change)


def site_with(
    make_site: Any, name: str, voices: Path, models: Mapping[str, Path], **more: Any
) -> Any:
    named = {"titanet-large": voices, "marblenet-frame-vad": models["frames"]}
    return make_site(name, named, "nemo", **more)


def link(target: str) -> tarfile.TarInfo:
    made = tarfile.TarInfo("link")
    made.type, made.linkname = tarfile.SYMTYPE, target
    return made


OTHER_CLASS = b"target: os.system\n"
ATTACKS: dict[str, Callable[[tarfile.TarInfo, bytes], Any]] = {
    "traversal": lambda member, content: [
        (member, content),
        (tarfile.TarInfo("../../../../tmp/planted"), b"x"),
    ],
    "link": lambda member, content: [(member, content), (link("/etc"), b"")],
    "second configuration": lambda member, content: [
        (member, content),
        *([(tarfile.TarInfo(member.name), OTHER_CLASS)] if CONFIG in member.name else []),
    ],
    "another class": lambda member, content: [
        (member, OTHER_CLASS if CONFIG in member.name else content)
    ],
}


@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_an_archive_that_attacks_is_never_built(
    attack: str, repacked: Repack, make_site: Any, models: Mapping[str, Path]
) -> None:
    site = site_with(make_site, "attacked", repacked(ATTACKS[attack]), models)
    done = site.build()
    assert done.code == 3, done.err
    assert "model.nemo" in done.err
    assert not site.bundle.parent.exists()


def test_code_in_the_weights_is_never_built(
    evil: Path, proof: Path, make_site: Any, models: Mapping[str, Path]
) -> None:
    site = site_with(make_site, "evil", evil, models)
    done = site.build()
    assert done.code == 3, done.err
    assert "model_weights.ckpt" in done.err
    assert not site.bundle.parent.exists()
    assert not proof.exists()


def test_code_that_was_waived_does_not_run_where_it_is_tried(
    evil: Path,
    proof: Path,
    make_site: Any,
    models: Mapping[str, Path],
) -> None:
    site = site_with(make_site, "tried", evil, models, policy=WAIVER)
    done = site.build(**{UNSAFE: "1"})
    assert done.code == 1, done.err
    assert "titanet-large would not load on the isolated host" in done.err
    assert not site.bundle.parent.exists()
    assert not proof.exists()


def test_code_that_was_waived_and_signed_does_not_run_on_the_host(
    *,
    evil: Path,
    proof: Path,
    make_site: Any,
    models: Mapping[str, Path],
    jfk: Path,
    tmp_path: Path,
) -> None:
    site = site_with(make_site, "waived", evil, models, policy=WAIVER)
    done = site.build("--skip-dry-load", "speaker-embedding")
    assert done.code == 0, done.err
    manifest = json.loads((site.bundle.parent / "manifest.json").read_text())
    (exempt,) = manifest["scan"]["exempt"]
    assert exempt["reason"] == "looked at by alice on 2026-01-02"
    assert manifest["dry_load"]["verdict"] == "partly loaded"
    host = site.mounted(tmp_path)
    said = host.airgap("transcribe", jfk, "--diarization", "nemo", **{UNSAFE: "1"})
    assert (said.code, said.out) == (1, ""), said.err
    assert "model.nemo' cannot be loaded" in said.err
    assert not proof.exists()


def test_the_environment_does_not_open_a_pickle(
    evil: Path, proof: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(UNSAFE, "1")
    with pytest.raises(AirgapError, match=r"model\.nemo' cannot be loaded"):
        restore(evil / "model.nemo", SPEAKER_CLASS, CPU)
    assert not proof.exists()


def test_a_signed_model_that_is_cut_short_gives_no_transcript(
    make_site: Any, models: Mapping[str, Path], jfk: Path, tmp_path: Path
) -> None:
    """Its signature holds: it was cut before anybody signed it, and nobody tried it."""
    cut = shutil.copytree(models["frames"], tmp_path / "cut") / "model.nemo"
    cut.write_bytes(cut.read_bytes()[:-20_000])
    named = {"titanet-large": models["titanet"], "marblenet-frame-vad": cut.parent}
    policy = "scan:\n  dangers: warn\n"
    site = make_site("cut", named, "nemo", policy=policy)
    done = site.build("--skip-dry-load", "vad", "--skip-dry-load", "speaker-embedding")
    assert done.code == 0, done.err
    said = site.mounted(tmp_path / "host").airgap("transcribe", jfk, "--speakers", "1")
    assert (said.code, said.out) == (1, ""), said.err
    assert "error: " in said.err
    assert "Traceback" not in said.err
