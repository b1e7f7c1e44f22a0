"""Tiny emotion models, made by the classes that their publishers document, not by ours."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airgap.places import download_cache
from bundler.lock import Lock, LockedFile, LockedModel, lock_path
from bundler.profile import read_profile
from bundler.sources.local import Local

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DIMENSIONS = ("arousal", "dominance", "valence")
CATEGORIES = ("angry", "calm", "happy", "sad")

SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "do_stable_layer_norm": True,
    "feat_extract_norm": "layer",
    "conv_bias": True,
}


@dataclass(frozen=True)
class Tiny:
    """A model's files, and the publisher's class with the same weights.

    Attributes:
        folder: as it would lie on the hub, without a configuration that we wrote.
        labels: in the order of its outputs.
        reference: samples -> the head's outputs, by the class that was saved.
    """

    folder: Path
    labels: tuple[str, ...]
    reference: Callable[[np.ndarray], np.ndarray]

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}


@pytest.fixture(scope="session", autouse=True)
def extra() -> None:
    """Where the extra is not installed these tests are skipped, or fail if they were asked for."""
    for library in ("torch", "transformers", "safetensors"):
        if importlib.util.find_spec(library) is None:
            absent = f"'{library}' is not installed: pip install 'airgap-bundler[emotion]'"
            if os.environ.get("AIRGAP_SPEAKERS") == "1":
                pytest.fail(absent)
            pytest.skip(absent)


@pytest.fixture(scope="session")
def make_tiny(extra: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Tiny]:
    """Makes a tiny model: `last` names the head's last layer, as the two publishers did."""
    import torch
    from torch import nn
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2Model,
        Wav2Vec2PreTrainedModel,
    )

    class Head(nn.Module):
        def __init__(self, config: Any) -> None:
            super().__init__()
            self.dense = nn.Linear(config.hidden_size, config.hidden_size)
            self.dropout = nn.Dropout(config.final_dropout)
            setattr(self, config.last, nn.Linear(config.hidden_size, config.num_labels))
            self.last = config.last

        def forward(self, features: Any) -> Any:
            inner = torch.tanh(self.dense(self.dropout(features)))
            return getattr(self, self.last)(self.dropout(inner))

    class Published(Wav2Vec2PreTrainedModel):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.wav2vec2 = Wav2Vec2Model(config)
            self.classifier = Head(config)
            self.post_init()

        def forward(self, values: Any) -> Any:
            return self.classifier(torch.mean(self.wav2vec2(values)[0], dim=1))

    def make(labels: tuple[str, ...], last: str, *, pickled: bool = False) -> Tiny:
        torch.manual_seed(len(labels))
        config = Wav2Vec2Config(**SHAPE, id2label=dict(enumerate(labels)), num_labels=len(labels))
        config.last = last
        model = Published(config).eval()
        for parameter in model.classifier.parameters():
            nn.init.normal_(parameter, std=0.1)
        nn.init.normal_(getattr(model.classifier, last).bias, 0.5, 0.1)  # scores between 0 and 1
        folder = tmp_path_factory.mktemp("tiny") / f"{last}{'-pickled' * pickled}"
        extractor = Wav2Vec2FeatureExtractor()
        extractor.save_pretrained(folder)
        model.save_pretrained(folder)
        if pickled:
            (folder / "model.safetensors").unlink()
            weights = {
                name.replace("parametrizations.weight.original0", "weight_g").replace(
                    "parametrizations.weight.original1", "weight_v"
                ): tensor
                for name, tensor in model.state_dict().items()
            }
            torch.save(weights, folder / "pytorch_model.bin")

        def reference(samples: np.ndarray) -> np.ndarray:
            given = extractor(samples, sampling_rate=16_000, return_tensors="pt").input_values
            with torch.no_grad():
                return model(given)[0].numpy()

        return Tiny(folder, labels, reference)

    return make


@pytest.fixture(scope="session")
def dimensional(make_tiny: Callable[..., Tiny]) -> Tiny:
    return make_tiny(DIMENSIONS, "out_proj")


@pytest.fixture(scope="session")
def categorical(make_tiny: Callable[..., Tiny]) -> Tiny:
    return make_tiny(CATEGORIES, "output", pickled=True)


@pytest.fixture(scope="session")
def tone() -> np.ndarray:
    """Two seconds that are no silence."""
    at = np.arange(32_000) / 16_000
    return (0.3 * np.sin(2 * np.pi * (200 + 90 * at) * at)).astype(np.float32)


@pytest.fixture(scope="session")
def write_profile(demo_lock: Lock) -> Callable[..., Path]:
    """Writes a profile and its lock: the demo's models, and emotion models in local folders."""

    def write(folder: Path, models: dict[str, Tiny], licence: str = "Apache-2.0") -> Path:
        assert download_cache().exists()
        path = folder / "moods.yaml"
        asked = "".join(f"- emotion: tiny/{name}\n" for name in models)
        path.write_text(
            "profile: 1\nname: moods\ndescription: Text, and how it sounds\ndevice: cpu\n"
            f"diarization: none\nmodels:\n- asr: tiny.en\n{asked}- sample: jfk\n"
        )
        profile = read_profile(str(path))[1]
        added = tuple(_locked(name, tiny, licence) for name, tiny in models.items())
        lock = Lock(
            "moods", "1.0.0", 1, "2026-01-02T03:04:05Z", profile.sha256, (*demo_lock.models, *added)
        )
        lock_path(path).write_bytes(lock.to_bytes())
        return path

    return write


def _locked(name: str, tiny: Tiny, licence: str) -> LockedModel:
    files = tuple(
        LockedFile(file, len(content), hashlib.sha256(content).hexdigest())
        for file, content in sorted(tiny.files().items())
    )
    return LockedModel(
        f"tiny--{name}",
        "emotion",
        "transformers",
        f"tiny/{name}",
        COMMIT,
        licence,
        False,
        (Local(str(tiny.folder)),),
        files,
    )


@pytest.fixture(scope="session")
def as_configured() -> Callable[..., bytes]:
    """A configuration's bytes with some keys changed; None takes a key out."""

    def changed(content: bytes, **keys: Any) -> bytes:
        described = json.loads(content) | keys
        return json.dumps({k: v for k, v in described.items() if v is not None}).encode()

    return changed


@pytest.fixture(scope="session")
def mood_site(demo_site, dimensional, categorical, write_profile, tmp_path_factory):
    """A machine with Whisper tiny.en and both emotion models mounted. Do not change its files."""
    folder = tmp_path_factory.mktemp("moods")
    place = replace(demo_site.place, folder=folder)
    shutil.copytree(demo_site.place.keys, place.keys)
    place.passphrase.write_text(demo_site.place.passphrase.read_text())
    models = {"dimensions": dimensional, "categories": categorical}
    profile = write_profile(folder, models, "CC-BY-NC-SA-4.0")
    built = place.airgap("build", profile, "--key", "alice", "--passphrase-file", place.passphrase)
    assert built.code == 0, built.err
    place.trust("alice", demo_site.fingerprint)
    mounted = place.airgap("mount", folder / "moods-1.0.0" / "moods-1.0.0.tar.zst")
    assert mounted.code == 0, mounted.err
    return place, built
