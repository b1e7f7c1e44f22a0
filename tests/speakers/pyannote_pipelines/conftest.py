"""pyannote pipelines made by pyannote's own classes, and saved as its trainer saves them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airgap import places
from bundler.download_cache import DownloadCache
from bundler.lock import read_lock
from bundler.profile import read_profile
from runtime.engine.speakers import pyannote

CONFIG = """\
version: 3.1.0
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: AgglomerativeClustering
    embedding: $model/embedding
    embedding_batch_size: 32
    embedding_exclude_overlap: true
    plda: $model/plda
    segmentation: $model/segmentation
    segmentation_batch_size: 32
params:
  clustering:
    method: centroid
    min_cluster_size: 12
    threshold: 0.7045654963945799
  segmentation:
    min_duration_off: 0.0
"""

BORROWED = """\
dependencies:
  pyannote.audio: 4.0.0
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: AgglomerativeClustering
    embedding: $model/embedding
    embedding_batch_size: 8
    plda: $model/plda
    segmentation: $model/segmentation
    segmentation_batch_size: 8
    segmentation_step: 0.25
params:
  clustering:
    method: centroid
    min_cluster_size: 6
    threshold: 0.35
  segmentation:
    min_duration_off: 0.3
"""

VOICES_PROFILE = Path(__file__).parents[2] / "data/profiles/voices.yaml"
ARCHITECTURES = Path(__file__).parent / "architectures"

SPEECH, SILENCE = "speech", "silence"


@pytest.fixture(scope="session", autouse=True)
def extra() -> None:
    """Where the extra is not installed these tests are skipped, or fail if they were asked for."""
    try:
        found = importlib.util.find_spec("pyannote.audio")
    except ModuleNotFoundError:
        found = None
    if found is None:
        absent = "'pyannote.audio' is not installed: pip install 'airgap-bundler[pyannote]'"
        if os.environ.get("AIRGAP_SPEAKERS") == "1":
            pytest.fail(absent)
        pytest.skip(absent)


def save(model: Any, path: Path) -> None:
    """Save a model as a training of lightning's does, with everything that goes with it."""
    from lightning.pytorch import Trainer

    path.parent.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.strategy.connect(model)
    trainer.save_checkpoint(str(path), weights_only=False)


def save_plda(folder: Path) -> None:
    """A PLDA that changes nothing: what pyannote loads, whether its clustering uses it or not."""
    folder.mkdir(parents=True)
    np.savez(
        folder / "xvec_transform.npz",
        mean1=np.zeros(256),
        mean2=np.zeros(128),
        lda=np.eye(256)[:, :128],
    )
    np.savez(folder / "plda.npz", mu=np.zeros(128), tr=np.eye(128), psi=np.ones(128))


def save_pipeline(folder: Path, hears: str) -> Path:
    """A pipeline of pyannote's own classes, untrained; `hears` is what it takes all sound for."""
    pyannote._library()  # as the back end imports it: without NeMo, and without its warnings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from pyannote.audio.core.task import Problem, Resolution, Specifications
        from pyannote.audio.models.embedding import WeSpeakerResNet34
        from pyannote.audio.models.segmentation import PyanNet

        torch.manual_seed(0)
        segmentation = PyanNet(
            lstm={"hidden_size": 8, "num_layers": 1, "bidirectional": True, "monolithic": True},
            linear={"hidden_size": 8, "num_layers": 1},
        )
        segmentation.specifications = Specifications(
            problem=Problem.MONO_LABEL_CLASSIFICATION,
            resolution=Resolution.FRAME,
            duration=2.0,
            classes=["speaker#1", "speaker#2", "speaker#3"],
            powerset_max_classes=2,
            permutation_invariant=True,
        )
        segmentation.build()
        # Class 0 of a powerset is nobody, class 4 is the first two at once.
        with torch.no_grad():
            segmentation.classifier.bias[0 if hears == SILENCE else 4] += 10
        save(segmentation, folder / "segmentation/pytorch_model.bin")
        embedding = WeSpeakerResNet34()
        embedding.specifications = Specifications(
            problem=Problem.REPRESENTATION,
            resolution=Resolution.CHUNK,
            duration=5.0,
            classes=["a", "b"],
        )
        embedding.build()
        save(embedding, folder / "embedding/pytorch_model.bin")
    save_plda(folder / "plda")
    (folder / "config.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="session")
def tiny(extra: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline that hears two people at once in everything. Do not change its files."""
    return save_pipeline(tmp_path_factory.mktemp("tiny"), SPEECH)


@pytest.fixture(scope="session")
def deaf(extra: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline that hears nobody."""
    return save_pipeline(tmp_path_factory.mktemp("deaf"), SILENCE)


@pytest.fixture
def copied(tiny: Path, tmp_path: Path) -> Path:
    """A copy of `tiny` that a test may change."""
    return shutil.copytree(tiny, tmp_path / "pipeline")


@pytest.fixture(scope="session")
def voices() -> Mapping[str, Path]:
    """Every file of tests/data/profiles/voices.yaml, in the download cache."""
    path, profile = read_profile(str(VOICES_PROFILE))
    cache, found = DownloadCache.at(places.download_cache()), {}
    for _model, file in read_lock(path, profile).files():
        assert file.sha256 is not None
        absent = f"'{file.path}' is not in the download cache: airgap fetch {VOICES_PROFILE}"
        assert cache.holds_intact(file.sha256), absent
        found[file.path] = cache.path(file.sha256)
    return found


@pytest.fixture(scope="session")
def borrowed(
    extra: None, voices: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A pipeline of real weights, which tells people apart. Do not change its files.

    Its models are of classes that lie in `architectures`, which must be importable.
    """
    sys.path.append(str(ARCHITECTURES))
    pyannote._library()
    folder = tmp_path_factory.mktemp("borrowed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from borrowed_models import GE2E, MarbleNet
        from faster_whisper.feature_extractor import FeatureExtractor

        save(
            MarbleNet.published(initializers(voices["model.onnx"])),
            checkpoint(folder, "segmentation"),
        )
        weights = torch.load(voices["pretrained.pt"], map_location="cpu", weights_only=True)
        mels = torch.tensor(FeatureExtractor.get_mel_filters(16_000, 400, 40))
        save(GE2E.published(weights["model_state"], mels), checkpoint(folder, "embedding"))
    save_plda(folder / "plda")
    (folder / "config.yaml").write_text(BORROWED)
    return folder


def checkpoint(folder: Path, part: str) -> Path:
    return folder / part / "pytorch_model.bin"


def initializers(path: Path) -> dict[str, Any]:
    """The weights of an ONNX file, by name; `onnx` comes with NeMo."""
    import onnx
    import torch
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    return {one.name: torch.tensor(numpy_helper.to_array(one)) for one in graph.initializer}


@pytest.fixture(scope="session")
def architectures() -> Path:
    """What PYTHONPATH needs where a process of its own loads `borrowed`."""
    return ARCHITECTURES


@pytest.fixture(scope="session")
def two_people(extra: None) -> tuple[Path, Path]:
    """pyannote's own sample, thirty seconds of two people, and who speaks when, as RTTM."""
    found = importlib.util.find_spec("pyannote.audio.sample")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent
    return folder / "sample.wav", folder / "sample.rttm"
