"""The scan on checkpoints that pyannote's classes and lightning's trainer really write."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from bundler.scan.files import judge_file
from runtime.engine.speakers import pyannote_pipeline

pytestmark = [pytest.mark.speakers, pytest.mark.heavy]


@pytest.mark.parametrize("part", ["segmentation", "embedding"])
def test_checkpoints_of_pyannotes_models_are_clean(tiny: Path, part: str) -> None:
    path = tiny / part / "pytorch_model.bin"
    judged = judge_file(path, "pytorch_model.bin")
    assert (judged.kind, judged.findings) == ("zip", ())


def test_a_pipelines_other_files_are_clean(tiny: Path) -> None:
    for name in ("config.yaml", "plda/plda.npz", "plda/xvec_transform.npz"):
        assert judge_file(tiny / name, name).findings == ()


def test_a_checkpoint_of_a_training_is_clean_and_is_data(tiny: Path, tmp_path: Path) -> None:
    """With an optimiser's state, a scheduler's and callbacks', as trainings leave them."""
    path = tmp_path / "pytorch_model.bin"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _train(tiny, path)
    assert judge_file(path, "pytorch_model.bin").findings == ()
    with pyannote_pipeline.weights_only():
        pyannote_pipeline.check_checkpoint(path)


def _train(tiny: Path, path: Path) -> Any:
    """One step of a training that does nothing."""
    import torch
    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
    from pyannote.audio import Model

    model = Model.from_pretrained(tiny / "segmentation")
    model.prepare_data = lambda: None  # it has no task that would bring data
    model.setup = lambda stage=None: None
    optimizer = torch.optim.Adam(model.parameters())
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    model.configure_optimizers = lambda: {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": scheduler, "monitor": "loss"},
    }
    model.training_step = lambda batch, batch_idx: _logged(model, batch)
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        max_epochs=1,
        callbacks=[
            ModelCheckpoint(path.parent / "kept"),
            EarlyStopping("loss", check_on_train_epoch_end=True),
        ],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    one = torch.utils.data.DataLoader(torch.randn(1, 1, 32_000))
    trainer.fit(model, train_dataloaders=one, val_dataloaders=[])
    trainer.save_checkpoint(str(path), weights_only=False)


def _logged(model: Any, batch: Any) -> Any:
    loss = model(batch).mean()
    model.log("loss", loss)
    return loss
