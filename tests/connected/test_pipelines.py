"""pyannote pipelines: which configuration the build derives, and what it refuses to guess."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from airgap.errors import UsageError
from bundler.catalog import CATALOG
from bundler.compose import compose
from bundler.layout import Tree, lay_out
from bundler.lock import Lock, LockedFile, LockedModel
from bundler.pipelines import RULE, with_pipelines
from bundler.profile import Profile
from bundler.sources.local import Local

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PUBLISHED_SHA256 = "04ad9cd59a93c3a7c754200ecc9e1c4ba87bf1657ef8a4debf7555e711daeeda"
PIPELINE_3_1 = """\
version: 3.1.0

pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: AgglomerativeClustering
    embedding: pyannote/wespeaker-voxceleb-resnet34-LM
    embedding_batch_size: 32
    embedding_exclude_overlap: true
    segmentation: pyannote/segmentation-3.0
    segmentation_batch_size: 32

params:
  clustering:
    method: centroid
    min_cluster_size: 12
    threshold: 0.7045654963945799
  segmentation:
    min_duration_off: 0.0
"""
OWN = (
    PIPELINE_3_1.replace("pyannote/wespeaker-voxceleb-resnet34-LM", "$model/embedding")
    .replace("pyannote/segmentation-3.0", "$model/segmentation")
    .replace("    segmentation_batch_size: 32\n", "    plda: $model/plda\n")
)
PLDA = {"plda/plda.npz": b"p", "plda/xvec_transform.npz": b"x"}
PARTS = {
    "speaker-diarization-3.1": {"config.yaml": PIPELINE_3_1.encode()},
    "segmentation-3.0": {"config.yaml": b"model: {}\n", "pytorch_model.bin": b"s"},
    "wespeaker-voxceleb-resnet34-lm": {"config.yaml": b"model: {}\n", "pytorch_model.bin": b"e"},
    "community-1-plda": PLDA,
}
PROFILE = (
    b"profile: 1\nname: n\ndescription: d\ndevice: cpu\ndiarization: none\nmodels:\n- asr: tiny\n"
)

Models = dict[str, dict[str, bytes]]


@pytest.fixture
def derive(tmp_path: Path, kit: Any) -> Callable[[Models], tuple[Tree, Lock, Mapping[str, Path]]]:
    """Lock these files of the catalog's models, lay them out, and derive what is to be derived."""

    def derived(models: Models) -> tuple[Tree, Lock, Mapping[str, Path]]:
        cached = {}
        locked = []
        for name, files in models.items():
            entry = CATALOG[name]
            for content in files.values():
                cached[kit.sha256(content)] = path = tmp_path / kit.sha256(content)
                path.write_bytes(content)
            locked.append(
                LockedModel(
                    id=name,
                    role=entry.role,
                    engine=entry.engine,
                    repository=entry.repository,
                    commit=COMMIT,
                    licence="MIT",
                    gated=True,
                    sources=(Local("m"),),
                    files=tuple(
                        LockedFile(path, len(content), kit.sha256(content))
                        for path, content in files.items()
                    ),
                )
            )
        lock = Lock("n", "1.0.0", 1, "2026-01-02T03:04:05Z", "0" * 64, tuple(locked))
        return with_pipelines(lay_out(lock), cached), lock, cached

    return derived


def changed(old: str, new: str) -> Models:
    """The 3.1 pipeline with something else in its configuration."""
    assert old in PIPELINE_3_1
    return {
        **PARTS,
        "speaker-diarization-3.1": {"config.yaml": PIPELINE_3_1.replace(old, new).encode()},
    }


def test_the_published_3_1_finds_its_parts_in_the_tree(derive: Any, kit: Any) -> None:
    assert kit.sha256(PIPELINE_3_1.encode()) == PUBLISHED_SHA256
    tree, _lock, _cached = derive(PARTS)
    [made] = [one for one in tree.made if one.derived.rule == RULE]
    assert made.derived.path == "diarization/speaker-diarization-3.1/config.yaml"
    params = yaml.safe_load(made.content)["pipeline"]["params"]
    snapshots = f"$model/../../hf/hub/models--pyannote--{{}}/snapshots/{COMMIT}"
    assert params["segmentation"] == snapshots.format("segmentation-3.0")
    assert params["embedding"] == snapshots.format("wespeaker-voxceleb-resnet34-LM")
    assert params["plda"] == snapshots.format("speaker-diarization-community-1") + "/plda"
    [artifact] = [one for one in tree.artifacts if one.role == "diarization"]
    assert artifact.path == "diarization/speaker-diarization-3.1"


def test_nothing_else_of_the_configuration_changes(derive: Any) -> None:
    tree, _lock, _cached = derive(PARTS)
    [made] = [one for one in tree.made if one.derived.rule == RULE]
    before, after = yaml.safe_load(PIPELINE_3_1), yaml.safe_load(made.content)
    for config in (before, after):
        for part in ("segmentation", "embedding", "plda"):
            config["pipeline"]["params"].pop(part, None)
    assert after == before


def test_the_manifest_names_the_rule_and_what_it_was_made_from(derive: Any) -> None:
    _tree, lock, cached = derive(PARTS)
    manifest, contents = compose(Profile.parse(PROFILE, "p.yaml"), lock, cached)
    [derived] = [one for one in manifest.derived if one.rule == RULE]
    published, segmentation, embedding, plda = derived.sources
    assert published.endswith(f"speaker-diarization-3.1/snapshots/{COMMIT}/config.yaml")
    assert published in contents
    for folder, file in ((segmentation, "pytorch_model.bin"), (plda, "plda.npz")):
        assert f"{folder}/{file}" in contents
    assert f"{embedding}/pytorch_model.bin" in contents
    [file] = [one for one in manifest.files if one.path == derived.path]
    assert file.artifact == "speaker-diarization-3.1"
    again, _contents = compose(Profile.parse(PROFILE, "p.yaml"), lock, cached)
    assert again.to_bytes() == manifest.to_bytes()


def test_a_pipeline_with_its_own_parts_stays_as_it_is(derive: Any) -> None:
    own = {
        "config.yaml": OWN.encode(),
        "segmentation/pytorch_model.bin": b"s",
        "embedding/pytorch_model.bin": b"e",
        **PLDA,
    }
    tree, lock, _cached = derive({"community-1": own})
    assert tree == lay_out(lock)


def test_a_part_of_another_folder_or_commit_is_found(derive: Any) -> None:
    other = (
        "segmentation: {checkpoint: pyannote/segmentation-3.0, revision: " + COMMIT + "}\n"
        "    plda: {checkpoint: pyannote/speaker-diarization-community-1, subfolder: plda}"
    )
    tree, _lock, _cached = derive(changed("segmentation: pyannote/segmentation-3.0", other))
    [made] = [one for one in tree.made if one.derived.rule == RULE]
    params = yaml.safe_load(made.content)["pipeline"]["params"]
    assert params["segmentation"].endswith(f"segmentation-3.0/snapshots/{COMMIT}")
    assert params["plda"].endswith("/plda")


@pytest.mark.parametrize(
    ("missing", "named", "advice"),
    [
        ("segmentation-3.0", "'pyannote/segmentation-3.0'", "- segmentation: segmentation-3.0"),
        (
            "wespeaker-voxceleb-resnet34-lm",
            "'pyannote/wespeaker-voxceleb-resnet34-LM'",
            "- speaker-embedding: wespeaker-voxceleb-resnet34-lm",
        ),
        ("community-1-plda", "none, and pyannote fetches", "- plda: community-1-plda"),
    ],
)
def test_a_part_that_is_missing_is_named_with_what_to_add(
    derive: Any, missing: str, named: str, advice: str
) -> None:
    models = {name: files for name, files in PARTS.items() if name != missing}
    with pytest.raises(UsageError, match="would reach for a hub") as caught:
        derive(models)
    assert named in caught.value.message
    assert advice in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("pyannote/segmentation-3.0", "pyannote/segmentation-3.0@main", "segmentation-3.0@main"),
        ("pyannote/segmentation-3.0", "$model/../elsewhere", "elsewhere"),
        ("pyannote/segmentation-3.0", "/opt/segmentation", "/opt/segmentation"),
        ("segmentation: pyannote/segmentation-3.0", "segmentation: [a]", "would reach for a hub"),
        ("    segmentation: pyannote/segmentation-3.0\n", "", "would reach for a hub"),
        ("clustering: Agglom", "extra: speechbrain/ecapa\n    clustering: Agglom", "speechbrain/e"),
        ("clustering: Agglom", "extra: https://h/x\n    clustering: Agglom", "https://h/x"),
        ("pipeline:", "preprocessors:\n  audio: /etc/passwd/x\npipeline:", "/etc/passwd"),
    ],
)
def test_what_would_be_fetched_is_refused(derive: Any, old: str, new: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        derive(changed(old, new))
    assert says in caught.value.message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"pipeline: {}", b"pipeline: [", b"\xff", b"pipeline: {params: 1}"]
)
def test_what_is_no_pipeline_is_refused(derive: Any, content: bytes) -> None:
    with pytest.raises(UsageError, match="is no configuration of a pyannote pipeline"):
        derive({**PARTS, "speaker-diarization-3.1": {"config.yaml": content}})


def test_the_plda_alone_is_taken_from_community_1() -> None:
    entry = CATALOG["community-1-plda"]
    listed = ("config.yaml", "embedding/pytorch_model.bin", "plda/plda.npz", "plda/README.md")
    assert entry.chosen(listed) == {"plda/plda.npz"}
