"""pyannote pipelines made by pyannote's own classes, and saved as its trainer saves them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
    from runtime.engine.speakers import pyannote

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


@dataclass(frozen=True)
class Saving:
    """How test files save models, since they cannot import this one."""

    model: Callable[[Any, Path], None] = save
    plda: Callable[[Path], None] = save_plda
    config: str = CONFIG


@pytest.fixture(scope="session")
def saving() -> Saving:
    return Saving()
