"""NeMo models of the real classes, made from configurations and saved as NeMo saves them."""

from __future__ import annotations

import importlib.util
import os
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
from runtime.engine.audio import Samples, read_recording
from runtime.engine.hardware import Hardware
from runtime.engine.speakers import nemo
from runtime.engine.speakers.diarizer import Diarizer
from runtime.engine.speakers.nemo_models import library

CPU = Hardware("cpu", "float32", 1)
VOICES_PROFILE = Path(__file__).parents[2] / "data/profiles/voices.yaml"
MODULES = "nemo.collections.asr.modules"


def needed(module: str, extra: str) -> Any:
    """A module that an extra installs: without it tests are skipped, or fail if asked for."""
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        absent = f"'{module}' is not installed: pip install 'airgap-bundler[{extra}]'"
        if os.environ.get("AIRGAP_SPEAKERS") == "1":
            pytest.fail(absent)
        pytest.skip(absent)
    return found


@pytest.fixture(scope="session", autouse=True)
def extra() -> None:
    """Where the extra is not installed these tests are skipped, or fail if they were asked for."""
    needed("nemo", "nemo")


def preprocessor(normalize: str, features: int = 80) -> dict[str, Any]:
    return {
        "_target_": f"{MODULES}.AudioToMelSpectrogramPreprocessor",
        "normalize": normalize,
        "window_size": 0.025,
        "sample_rate": 16000,
        "window_stride": 0.01,
        "window": "hann",
        "features": features,
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


COMMON = {"sample_rate": 16000, "train_ds": None, "validation_ds": None}

TITANET = {
    **COMMON,
    # With a section for training, as published models have it.
    "train_ds": {
        "manifest_filepath": None,
        "sample_rate": 16000,
        "labels": None,
        "batch_size": 1,
        "shuffle": False,
    },
    "preprocessor": preprocessor("per_feature"),
    "encoder": encoder(block(64, 3), block(64, 7, repeat=2, residual=True), block(128, 1)),
    "decoder": {
        "_target_": f"{MODULES}.SpeakerDecoder",
        "feat_in": 128,
        "num_classes": 10,
        "pool_mode": "attention",
        "emb_sizes": 64,
        "angular": True,
        "attention_channels": 32,
    },
    "loss": {
        "_target_": "nemo.collections.asr.losses.AngularSoftmaxLoss",
        "scale": 30,
        "margin": 0.2,
    },
}

WINDOWS = {
    **COMMON,
    "labels": ["background", "speech"],
    "preprocessor": preprocessor("None"),
    "encoder": encoder(block(32, 11), block(64, 1)),
    "decoder": {
        "_target_": f"{MODULES}.ConvASRDecoderClassification",
        "feat_in": 64,
        "return_logits": True,
        "pooling_type": "avg",
        "num_classes": 2,
    },
}

PERCEPTRON = {
    "_target_": "nemo.collections.common.parts.MultiLayerPerceptron",
    "num_classes": 2,
    "num_layers": 1,
    "activation": "relu",
    "log_softmax": False,
}

MARBLENET = {
    **COMMON,
    "labels": ["0", "1"],
    "preprocessor": preprocessor("None"),
    "encoder": encoder(
        block(128, 11, stride=[2]),
        *(block(64, kernel, repeat=2, residual=True) for kernel in (13, 15, 17)),
        block(128, 29, dilation=[2]),
        block(128, 1, separable=False),
    ),
    "decoder": {**PERCEPTRON, "hidden_size": 128},
}


def sortformer(*, streams: bool) -> dict[str, Any]:
    wide, narrow = 64, 32
    streaming = {
        "spkcache_len": 188,
        "fifo_len": 0,
        "chunk_len": 188,
        "chunk_left_context": 1,
        "chunk_right_context": 1,
        "spkcache_update_period": 188,
    }
    return {
        **COMMON,
        "streaming_mode": streams,
        "pil_weight": 0.5,
        "ats_weight": 0.5,
        "max_num_of_spks": 4,
        "model_defaults": {"fc_d_model": wide, "tf_d_model": narrow},
        "preprocessor": preprocessor("NA" if streams else "per_feature"),
        "sortformer_modules": {
            "_target_": f"{MODULES}.sortformer_modules.SortformerModules",
            "num_spks": 4,
            "dropout_rate": 0.1,
            "fc_d_model": wide,
            "tf_d_model": narrow,
            **(streaming if streams else {}),
        },
        "encoder": {
            "_target_": f"{MODULES}.ConformerEncoder",
            "feat_in": 80,
            "feat_out": -1,
            "n_layers": 1,
            "d_model": wide,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "subsampling_conv_channels": 32,
            "ff_expansion_factor": 2,
            "self_attention_model": "rel_pos",
            "n_heads": 4,
            "att_context_size": [-1, -1],
            "conv_kernel_size": 9,
        },
        "transformer_encoder": {
            "_target_": f"{MODULES}.transformer.transformer_encoders.TransformerEncoder",
            "num_layers": 1,
            "hidden_size": narrow,
            "inner_size": 64,
            "num_attention_heads": 4,
        },
        "loss": {
            "_target_": "nemo.collections.asr.losses.bce_loss.BCELoss",
            "weight": None,
            "reduction": "mean",
        },
    }


def made(kind: str, config: Mapping[str, Any]) -> Any:
    """A model of a real class, of weights that are the same each time."""
    models = library("nemo.collections.asr.models")
    with warnings.catch_warnings(action="ignore"):
        library("torch").manual_seed(0)
        optimiser = {"name": "sgd", "lr": 0.01}
        given = library("omegaconf").OmegaConf.create({**config, "optim": optimiser})
        return getattr(models, kind)(cfg=given).eval()


def saved(model: Any, folder: Path) -> Path:
    """The folder that holds a model, as an artifact's does."""
    folder.mkdir(parents=True)
    with warnings.catch_warnings(action="ignore"):
        model.save_to(str(folder / "model.nemo"))
    return folder


def hearing(model: Any, layer: str, *, speech: bool) -> Any:
    """A classifier that takes everything for speech, or nothing."""
    with library("torch").no_grad():
        model.get_submodule(layer).bias[:] = library("torch").tensor(
            [-9.0, 9.0] if speech else [9.0, -9.0]
        )
    return model


@pytest.fixture(scope="session")
def models(extra: None, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Untrained models, a folder each. Do not change their files."""
    place = tmp_path_factory.mktemp("nemo-models")
    frames, windows = "EncDecFrameClassificationModel", "EncDecClassificationModel"
    tiny = {**MARBLENET, "encoder": encoder(block(32, 11, stride=[2]), block(128, 1))}
    every = {
        "titanet": made("EncDecSpeakerLabelModel", TITANET),
        "frames": hearing(made(frames, tiny), "decoder.layer0", speech=True),
        "deaf": hearing(made(frames, tiny), "decoder.layer0", speech=False),
        "windows": hearing(made(windows, WINDOWS), "decoder.decoder_layers.0", speech=True),
        "sortformer": made("SortformerEncLabelModel", sortformer(streams=False)),
        "streaming": made("SortformerEncLabelModel", sortformer(streams=True)),
    }
    return {name: saved(model, place / name) for name, model in every.items()}


@pytest.fixture(scope="session")
def onnx_marblenet() -> Path:
    """NVIDIA's frame classifier as a package carries it, from the download cache."""
    path, profile = read_profile(str(VOICES_PROFILE))
    cache = DownloadCache.at(places.download_cache())
    (digest,) = [
        one.sha256 for _, one in read_lock(path, profile).files() if one.path == "model.onnx"
    ]
    assert digest is not None
    assert cache.holds_intact(digest), f"airgap fetch {VOICES_PROFILE}"
    return cache.path(digest)


@pytest.fixture(scope="session")
def marblenet(extra: None, onnx_marblenet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a `.nemo` with the real weights of the frame classifier."""
    model = made("EncDecFrameClassificationModel", MARBLENET)
    model.load_state_dict(_published(onnx_marblenet, model.state_dict()), strict=True)
    return saved(model, tmp_path_factory.mktemp("real") / "marblenet")


def _published(path: Path, state: dict[str, Any]) -> dict[str, Any]:
    """The weights of the ONNX file under NeMo's names; its norms are part of what they scale."""
    import onnx
    import torch
    from onnx import numpy_helper

    initializers = onnx.load(path).graph.initializer
    given = {one.name: torch.tensor(numpy_helper.to_array(one)) for one in initializers}
    at = "encoder.encoder"

    def scaled(convolution: str, norm: str, number: int) -> None:
        bias = given[f"onnx::Conv_{number + 1}"]
        state[f"{convolution}.conv.weight"] = given[f"onnx::Conv_{number}"]
        state[f"{norm}.weight"], state[f"{norm}.bias"] = torch.ones_like(bias), bias
        state[f"{norm}.running_mean"] = torch.zeros_like(bias)
        state[f"{norm}.running_var"] = torch.ones_like(bias) - 1e-3  # with its epsilon: 1

    def separate(layer: int, step: int) -> None:
        name = f"{at}.{layer}.mconv.{step}.conv.weight"
        state[name] = given[f"nvidia_vad.{name}"]

    for layer, steps in ((0, (0,)), (1, (0, 5)), (2, (0, 5)), (3, (0, 5)), (4, (0,))):
        for step in steps:
            separate(layer, step)
    scaled(f"{at}.0.mconv.1", f"{at}.0.mconv.2", 213)
    for layer, number in ((1, 216), (2, 225), (3, 234)):
        scaled(f"{at}.{layer}.mconv.1", f"{at}.{layer}.mconv.2", number)
        scaled(f"{at}.{layer}.mconv.6", f"{at}.{layer}.mconv.7", number + 3)
        scaled(f"{at}.{layer}.res.0.0", f"{at}.{layer}.res.0.1", number + 6)
    scaled(f"{at}.4.mconv.1", f"{at}.4.mconv.2", 243)
    scaled(f"{at}.5.mconv.0", f"{at}.5.mconv.1", 246)
    state["decoder.layer0.weight"] = given["onnx::MatMul_260"].T.contiguous()
    state["decoder.layer0.bias"] = given["nvidia_vad.decoder.layer0.bias"]
    return state


@pytest.fixture(scope="session")
def conversation(extra: None) -> tuple[Samples, list[tuple[float, float]]]:
    """pyannote's own sample, thirty seconds of two people, and when somebody speaks in it."""
    folder = Path(needed("pyannote.audio", "pyannote").origin).parent / "sample"  # not imported
    lines = [line.split() for line in (folder / "sample.rttm").read_text().splitlines()]
    spoken = [(float(line[3]), float(line[3]) + float(line[4])) for line in lines]
    return read_recording(folder / "sample.wav").samples, spoken


@pytest.fixture(scope="session")
def diarizer(models: Mapping[str, Path], marblenet: Path) -> Diarizer:
    """NeMo with real voice detection and an untrained model of voices."""
    return nemo.load({"speaker-embedding": models["titanet"], "vad": marblenet}, CPU)


@pytest.fixture
def silence() -> Samples:
    """Three seconds."""
    return np.zeros(48_000, np.float32)
