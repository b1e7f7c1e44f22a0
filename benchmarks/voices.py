"""Models that tell speakers apart, of the sizes that are published, for benchmarks/speakers.py.

    python benchmarks/voices.py FOLDER [--layers 1]

Their weights are random: time and memory do not depend on what a network has learnt, but what is
found does. So those that detect speech take everything for speech, which costs the most that a
recording can. The sizes are those of TitaNet-L, frame MarbleNet, Sortformer with 4 speakers
(version 1, and the streaming version 2), and pyannote's community-1. With one layer in place of its
18 Sortformer is quicker, and its memory grows as much with the length of a recording.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from runtime.engine.speakers import pyannote
from runtime.engine.speakers.nemo_models import library

MODULES = "nemo.collections.asr.modules"
COMMON = {
    "sample_rate": 16000,
    "train_ds": None,
    "validation_ds": None,
    "optim": {"name": "sgd", "lr": 0.01},
}
STREAMING = {
    "spkcache_len": 188,
    "fifo_len": 0,
    "chunk_len": 188,
    "chunk_left_context": 1,
    "chunk_right_context": 1,
    "spkcache_update_period": 188,
}
PIPELINE = """\
dependencies:
  pyannote.audio: 4.0.0
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: VBxClustering
    embedding: $model/embedding
    embedding_batch_size: 32
    embedding_exclude_overlap: true
    plda: $model/plda
    segmentation: $model/segmentation
    segmentation_batch_size: 32
params:
  clustering:
    threshold: 0.6
    Fa: 0.07
    Fb: 0.8
  segmentation:
    min_duration_off: 0.0
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=18, help="of Sortformer")
    given = parser.parse_args()
    place = given.folder
    save_nemo("EncDecSpeakerLabelModel", titanet(), place / "titanet")
    save_nemo("EncDecFrameClassificationModel", marblenet(), place / "marblenet")
    for folder, config in (("sortformer", {}), ("sortformer-streaming", STREAMING)):
        save_nemo("SortformerEncLabelModel", sortformer(config, given.layers), place / folder)
    save_pyannote(place / "pyannote")


def save_nemo(kind: str, config: dict[str, Any], folder: Path) -> None:
    """A `.nemo` of a real class, saved as NeMo saves it."""
    torch, omegaconf = library("torch"), library("omegaconf")
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    with warnings.catch_warnings(action="ignore"):
        given = omegaconf.OmegaConf.create({**COMMON, **config})
        model = getattr(library("nemo.collections.asr.models"), kind)(cfg=given).eval()
        if kind == "EncDecFrameClassificationModel":
            with torch.no_grad():
                model.decoder.layer0.bias[:] = torch.tensor([-9.0, 9.0])
        model.save_to(str(folder / "model.nemo"))
    parameters = sum(one.numel() for one in model.parameters())
    print(f"{folder.name}: {parameters / 1e6:.1f} million weights", file=sys.stderr)


def preprocessor(normalize: str) -> dict[str, Any]:
    return {
        "_target_": f"{MODULES}.AudioToMelSpectrogramPreprocessor",
        "normalize": normalize,
        "window_size": 0.025,
        "sample_rate": 16000,
        "window_stride": 0.01,
        "window": "hann",
        "features": 80,
        "n_fft": 512,
        "frame_splicing": 1,
        "dither": 0.0,
        "pad_to": 0,
    }


def block(filters: int, kernel: int, **more: Any) -> dict[str, Any]:
    plain = {"repeat": 1, "stride": [1], "dilation": [1], "dropout": 0.0, "residual": False}
    return {"filters": filters, "kernel": [kernel], "separable": True, **plain, **more}


def encoder(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {
        "_target_": f"{MODULES}.ConvASREncoder",
        "feat_in": 80,
        "activation": "relu",
        "conv_mask": True,
        "jasper": list(blocks),
    }


def titanet() -> dict[str, Any]:
    excited = {"se": True, "se_context_size": -1}
    middle = (block(1024, kernel, repeat=3, residual=True, **excited) for kernel in (7, 11, 15))
    return {
        "preprocessor": preprocessor("per_feature"),
        "encoder": encoder(block(1024, 3, **excited), *middle, block(3072, 1, **excited)),
        "decoder": {
            "_target_": f"{MODULES}.SpeakerDecoder",
            "feat_in": 3072,
            "num_classes": 10,
            "pool_mode": "attention",
            "emb_sizes": 192,
            "angular": True,
        },
        "loss": {
            "_target_": "nemo.collections.asr.losses.AngularSoftmaxLoss",
            "scale": 30,
            "margin": 0.2,
        },
    }


def marblenet() -> dict[str, Any]:
    middle = (block(64, kernel, repeat=2, residual=True) for kernel in (13, 15, 17))
    last = (block(128, 29, dilation=[2]), block(128, 1, separable=False))
    return {
        "labels": ["0", "1"],
        "preprocessor": preprocessor("None"),
        "encoder": encoder(block(128, 11, stride=[2]), *middle, *last),
        "decoder": {
            "_target_": "nemo.collections.common.parts.MultiLayerPerceptron",
            "num_classes": 2,
            "num_layers": 1,
            "activation": "relu",
            "log_softmax": False,
            "hidden_size": 128,
        },
    }


def sortformer(streaming: dict[str, int], layers: int) -> dict[str, Any]:
    wide, narrow = 512, 192
    return {
        "streaming_mode": bool(streaming),
        "pil_weight": 0.5,
        "ats_weight": 0.5,
        "max_num_of_spks": 4,
        "model_defaults": {"fc_d_model": wide, "tf_d_model": narrow},
        "preprocessor": preprocessor("NA" if streaming else "per_feature"),
        "sortformer_modules": {
            "_target_": f"{MODULES}.sortformer_modules.SortformerModules",
            "num_spks": 4,
            "dropout_rate": 0.1,
            "fc_d_model": wide,
            "tf_d_model": narrow,
            **streaming,
        },
        "encoder": {
            "_target_": f"{MODULES}.ConformerEncoder",
            "feat_in": 80,
            "feat_out": -1,
            "n_layers": layers,
            "d_model": wide,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "subsampling_conv_channels": 256,
            "ff_expansion_factor": 4,
            "self_attention_model": "rel_pos",
            "n_heads": 8,
            "att_context_size": [-1, -1],
            "conv_kernel_size": 9,
        },
        "transformer_encoder": {
            "_target_": f"{MODULES}.transformer.transformer_encoders.TransformerEncoder",
            "num_layers": layers,
            "hidden_size": narrow,
            "inner_size": 768,
            "num_attention_heads": 8,
        },
        "loss": {
            "_target_": "nemo.collections.asr.losses.bce_loss.BCELoss",
            "weight": None,
            "reduction": "mean",
        },
    }


def save_pyannote(folder: Path) -> None:
    """A pipeline of pyannote's own classes, which hears one person in everything."""
    pyannote._library()  # noqa: SLF001 - as the back end imports it: without NeMo
    with warnings.catch_warnings(action="ignore"):
        torch, task = import_module("torch"), import_module("pyannote.audio.core.task")
        embeddings = import_module("pyannote.audio.models.embedding")
        segmentations = import_module("pyannote.audio.models.segmentation")
        torch.manual_seed(0)
        lstm = {"hidden_size": 128, "num_layers": 4, "bidirectional": True, "monolithic": True}
        linear = {"hidden_size": 128, "num_layers": 2}
        segmentation = segmentations.PyanNet(lstm=lstm, linear=linear)
        segmentation.specifications = task.Specifications(
            problem=task.Problem.MONO_LABEL_CLASSIFICATION,
            resolution=task.Resolution.FRAME,
            duration=10.0,
            classes=["speaker#1", "speaker#2", "speaker#3"],
            powerset_max_classes=2,
            permutation_invariant=True,
        )
        segmentation.build()
        with torch.no_grad():
            segmentation.classifier.bias[1] += 10  # of the powerset: the first of three alone
        save_trained(segmentation, folder / "segmentation")
        embedding = embeddings.WeSpeakerResNet34()
        embedding.specifications = task.Specifications(
            problem=task.Problem.REPRESENTATION,
            resolution=task.Resolution.CHUNK,
            duration=5.0,
            classes=["a", "b"],
        )
        embedding.build()
        save_trained(embedding, folder / "embedding")
    (folder / "plda").mkdir()
    whitening = {"mean1": np.zeros(256), "mean2": np.zeros(128), "lda": np.eye(256)[:, :128]}
    np.savez(folder / "plda" / "xvec_transform.npz", **whitening)
    np.savez(folder / "plda" / "plda.npz", mu=np.zeros(128), tr=np.eye(128), psi=np.ones(128))
    (folder / "config.yaml").write_text(PIPELINE)


def save_trained(model: Any, folder: Path) -> None:
    """Save a model as a training of lightning's does."""
    folder.mkdir(parents=True)
    trainer = import_module("lightning.pytorch").Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.strategy.connect(model)
    trainer.save_checkpoint(str(folder / "pytorch_model.bin"), weights_only=False)
    parameters = sum(one.numel() for one in model.parameters())
    print(f"pyannote {folder.name}: {parameters / 1e6:.1f} million weights", file=sys.stderr)


if __name__ == "__main__":
    main()
