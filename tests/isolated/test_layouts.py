"""The further names of a mount's models: a function of the manifest, links of the same files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airgap.manifest import Artifact, Manifest
from runtime import generation, layouts

COMMIT = "0123456789" * 4
TITANET = "11ba0924fdf87c049e339adbf6899d48"


def artifact(id_: str, role: str, path: str) -> Artifact:
    return Artifact(id_, role, None, path, None, None, "MIT", gated=False)


@pytest.fixture
def links(manifest_of: Callable[..., Manifest]) -> Callable[..., dict[str, str]]:
    """The links of a bundle of these artifacts and paths: what each further name stands for."""

    def links(artifacts: list[Artifact], *paths: str) -> dict[str, str]:
        manifest = manifest_of({path: path.encode() for path in paths}, artifacts=tuple(artifacts))
        owned = tuple(
            replace(
                file,
                artifact=next(
                    (one.id for one in artifacts if file.path.startswith(f"{one.path}/")), None
                ),
            )
            for file in manifest.files
        )
        names = {file.sha256: file.path for file in owned}
        found = layouts.links(replace(manifest, files=owned))
        assert [one.path for one in found] == sorted(one.path for one in found)
        return {one.path: names[one.sha256] for one in found}

    return links


def snapshot(name: str) -> str:
    return f"hf/hub/models--org--{name}/snapshots/{COMMIT}"


@pytest.mark.parametrize(
    ("role", "folder"),
    [
        ("asr", "whisper"),
        ("emotion", "emotion"),
        ("diarization", "diarization"),
        ("segmentation", "diarization"),
        ("speaker-embedding", "diarization"),
        ("vad", "diarization"),
        ("plda", "diarization"),
    ],
)
def test_a_model_of_the_hub_has_a_plain_folder_by_role(role: str, folder: str, links: Any) -> None:
    path = snapshot("name")
    ref = "hf/hub/models--org--name/refs/main"
    found = links([artifact("tiny", role, path)], f"{path}/a.json", f"{path}/sub/b.npz", ref)
    assert found == {
        f"{folder}/tiny/a.json": f"{path}/a.json",
        f"{folder}/tiny/sub/b.npz": f"{path}/sub/b.npz",
    }


def test_what_is_no_model_has_no_further_name(links: Any) -> None:
    there = [artifact("jfk", "sample", "samples/jfk"), artifact("all", "wheels", "wheels/all")]
    assert links(there, "samples/jfk/jfk.wav", "wheels/all/one.whl", "README.txt") == {}


def test_a_plain_folder_of_the_tree_stays_as_it_is(links: Any) -> None:
    """Of a derived pyannote pipeline: its published configuration is not put over the other."""
    moved = artifact("pipe", "diarization", "diarization/pipe")
    assert links([moved], "diarization/pipe/config.yaml", f"{snapshot('x')}/config.yaml") == {}


@pytest.mark.parametrize("name", ["titanet-l.nemo", "speakerverification_en_titanet_large.nemo"])
def test_nemo_finds_titanet_by_its_name_at_ngc(name: str, links: Any) -> None:
    path = snapshot("titanet")
    found = links([artifact("titanet", "speaker-embedding", path)], f"{path}/{name}")
    assert found[f"nemo/titanet-l/{TITANET}/titanet-l.nemo"] == f"{path}/{name}"


def test_torch_finds_weights_by_the_last_part_of_their_address(links: Any) -> None:
    path = snapshot("voices")
    paths = [f"{path}/deep/voices.pt", f"{path}/other.pth", f"{path}/pytorch_model.bin"]
    found = links([artifact("voices", "speaker-embedding", path)], *paths)
    assert {name for name in found if name.startswith("torch/")} == {
        "torch/hub/checkpoints/voices.pt",
        "torch/hub/checkpoints/other.pth",
    }


def test_a_name_that_two_files_want_is_given_to_neither(links: Any) -> None:
    one, two = snapshot("one"), snapshot("two")
    there = [artifact("one", "vad", one), artifact("two", "vad", two)]
    found = links(there, f"{one}/best.pt", f"{two}/BEST.pt")
    assert set(found) == {"diarization/one/best.pt", "diarization/two/BEST.pt"}


@pytest.mark.parametrize(
    "taken", ["whisper/tiny/model.bin", "whisper/TINY/MODEL.BIN", "whisper/tiny", "whisper/tiny/"]
)
def test_what_the_tree_holds_is_never_shadowed(taken: str, links: Any) -> None:
    path = snapshot("name")
    taken = f"{taken}model.bin/inside" if taken.endswith("/") else taken
    assert links([artifact("tiny", "asr", path)], f"{path}/model.bin", taken) == {}


def test_a_mount_has_them_as_links_of_the_same_files(mounted: Any) -> None:
    with generation.current(mounted.root, "ward") as one:
        found = layouts.links(one.manifest)
        by_digest = {file.sha256: one.folder.path / file.path for file in one.manifest.files}
        assert {link.path for link in found} == {
            f"whisper/tiny/{name}" for name in ("config.json", "model.bin", "twin.json")
        }
        for link in found:
            assert (one.folder.path / link.path).samefile(by_digest[link.sha256])


def test_they_cost_no_second_copy(mounted: Any, contents: Mapping[str, bytes]) -> None:
    def size(folder: Path) -> int:
        found = [path.stat() for path in folder.rglob("*") if path.is_file()]
        return sum({at.st_ino: at.st_size for at in found}.values())

    once = sum(len(content) for content in set(contents.values()))
    assert size(mounted.root / "store") == once
    assert size(mounted.root / "mounts") < once + 100_000, "its own papers, and nothing twice"
