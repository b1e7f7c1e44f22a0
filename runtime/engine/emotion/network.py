"""Verified files -> a wav2vec 2.0 network with an emotion head, no weight of it left to chance.

The published heads are none of transformers' own: its classes would load such a checkpoint, fill
the head that they know with random numbers, and answer. So the network is put together here, and
a weight that is missing, left over or of another shape is an error.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

import safetensors.torch
import torch
from torch import nn
from transformers.models.wav2vec2.configuration_wav2vec2 import Wav2Vec2Config
from transformers.models.wav2vec2.feature_extraction_wav2vec2 import Wav2Vec2FeatureExtractor
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2Model

from airgap.errors import AirgapError
from runtime.engine.audio import SAMPLE_RATE
from runtime.engine.library_errors import library_errors

SAFETENSORS: Final = "model.safetensors"
PICKLE: Final = "pytorch_model.bin"
CONFIGURATION: Final = "config.json"
EXTRACTOR: Final = "preprocessor_config.json"

_OUTPUTS: Final = ("out_proj", "output")
"""What the published heads call their last layer."""

_RENAMED: Final = {
    "encoder.pos_conv_embed.conv.weight_g": (
        "encoder.pos_conv_embed.conv.parametrizations.weight.original0"
    ),
    "encoder.pos_conv_embed.conv.weight_v": (
        "encoder.pos_conv_embed.conv.parametrizations.weight.original1"
    ),
}
"""How torch before 2.1 called the weights of a weight norm, and calls them now."""

_SHOWN: Final = 6
"""Names of weights in an error; a wrong checkpoint differs in hundreds."""


@dataclass(frozen=True)
class Network:
    """A network, its weights loaded.

    Attributes:
        labels: what its outputs stand for, in their order.
        extractor: brings samples to the scale that it was trained on.
        encoder: values [1, n] -> `last_hidden_state` [1, frames, width].
        dense, output: the head's two layers, with a hyperbolic tangent between them.
    """

    labels: tuple[str, ...]
    extractor: Any
    encoder: Any
    dense: Any
    output: Any

    def logits(self, values: Any) -> Any:
        """The head's outputs, one a label, for values [1, n]."""
        with torch.inference_mode():
            pooled = self.encoder(values).last_hidden_state.mean(dim=1)
            return self.output(torch.tanh(self.dense(pooled)))[0]


def load_network(name: str, files: MutableMapping[str, bytes], device: str) -> Network:
    """Build the network that the files describe.

    Args:
        name: the model's, for errors.
        files: contents by name; the weights are taken out of it, so that they are in memory
            twice for as short a time as it takes to read them.
        device: `cpu` or `cuda`.

    Raises:
        AirgapError: a file is missing, is no model of this kind, or its weights are not exactly
            those of the network that its configuration describes.
    """
    _check_files(name, files)
    with library_errors(f"model '{name}' cannot be read"):
        described = _object(name, files, CONFIGURATION)
        labels = _labels(name, described)
        extractor = Wav2Vec2FeatureExtractor.from_dict(_object(name, files, EXTRACTOR))
        _check_rate(name, extractor.sampling_rate)
        weights = _weights(name, files)
        network = _empty(Wav2Vec2Config.from_dict(described), _output(name, weights), len(labels))
        _fill(name, network, weights)
        network.eval().to(device)
    encoder, head = network["wav2vec2"], network["classifier"]
    return Network(labels, extractor, encoder, head["dense"], head[_last(head)])


def _check_files(name: str, files: Mapping[str, bytes]) -> None:
    missing = [f"'{one}'" for one in (CONFIGURATION, EXTRACTOR) if one not in files]
    if SAFETENSORS not in files and PICKLE not in files:
        missing.append(f"'{SAFETENSORS}' or '{PICKLE}'")
    if missing:
        raise AirgapError(
            f"model '{name}' is incomplete: expected {', '.join(missing)}, "
            f"found {', '.join(sorted(files)) or 'nothing'}",
            hint="build the bundle again from a lock that names every file of the model",
        )


def _object(name: str, files: Mapping[str, bytes], file: str) -> dict[str, Any]:
    found = json.loads(files[file])
    if not isinstance(found, dict):
        raise _unfit(name, f"'{file}' is no JSON object")
    return found


def _labels(name: str, described: Mapping[str, Any]) -> tuple[str, ...]:
    """What the outputs stand for, of a configuration that describes a network we know."""
    for key, expected in (("model_type", "wav2vec2"), ("pooling_mode", "mean")):
        if (found := described.get(key, expected)) != expected:
            raise _unfit(name, f"'{CONFIGURATION}', '{key}': expected {expected}, found {found}")
    named = described.get("id2label")
    if not isinstance(named, dict) or set(named) != {str(one) for one in range(len(named))}:
        raise _unfit(name, f"'{CONFIGURATION}' does not name its outputs in 'id2label'")
    labels = tuple(str(named[str(one)]) for one in range(len(named)))
    if not labels or len(set(labels)) != len(labels):
        raise _unfit(name, f"'{CONFIGURATION}' gives two outputs one name, or has none")
    return labels


def _check_rate(name: str, rate: int) -> None:
    if rate != SAMPLE_RATE:
        raise _unfit(name, f"'{EXTRACTOR}': expected {SAMPLE_RATE} Hz, found {rate}")


def _weights(name: str, files: MutableMapping[str, bytes]) -> dict[str, Any]:
    """Tensors by name; from safetensors where there are both, which cannot hold anything else."""
    if SAFETENSORS in files:
        read = safetensors.torch.load(files.pop(SAFETENSORS))
    else:
        pickled = io.BytesIO(files.pop(PICKLE))
        read = torch.load(pickled, map_location="cpu", weights_only=True)
    if not isinstance(read, dict) or not all(
        isinstance(one, torch.Tensor) for one in read.values()
    ):
        raise _unfit(name, "its weights are not tensors by name")
    return {_current(weight): tensor.float() for weight, tensor in read.items()}


def _current(weight: str) -> str:
    model, _dot, rest = weight.partition(".")
    return f"{model}.{_RENAMED.get(rest, rest)}"


def _output(name: str, weights: Mapping[str, Any]) -> str:
    """The name of the head's last layer, in a checkpoint that has a head of a kind we know."""
    for known in _OUTPUTS:
        if f"classifier.{known}.weight" in weights:
            return known
    found = sorted({one.rpartition(".")[0] for one in weights if not one.startswith("wav2vec2.")})
    expected = " or ".join(f"'classifier.{known}'" for known in _OUTPUTS)
    raise _unfit(
        name,
        f"its head is of no known kind: expected 'classifier.dense' with {expected}, "
        f"found {', '.join(found[:_SHOWN]) or 'none'}",
    )


def _empty(config: Any, output: str, outputs: int) -> Any:
    """The network without memory for its weights, named as the checkpoints name them."""
    with torch.device("meta"):
        width = config.hidden_size
        head = {"dense": nn.Linear(width, width), output: nn.Linear(width, outputs)}
        return nn.ModuleDict({"wav2vec2": Wav2Vec2Model(config), "classifier": nn.ModuleDict(head)})


def _last(head: Any) -> str:
    return next(known for known in _OUTPUTS if known in head)


def _fill(name: str, network: Any, weights: Mapping[str, Any]) -> None:
    """Give every weight of the network the checkpoint's, and leave none of either over."""
    expected = {key: tuple(one.shape) for key, one in network.state_dict().items()}
    found = {key: tuple(one.shape) for key, one in weights.items()}
    defects = [
        *(f"'{key}' is missing" for key in sorted(expected.keys() - found.keys())),
        *(f"'{key}' has no place" for key in sorted(found.keys() - expected.keys())),
        *(
            f"'{key}' is {list(found[key])}, not {list(expected[key])}"
            for key in sorted(expected.keys() & found.keys())
            if expected[key] != found[key]
        ),
    ]
    if defects:
        rest = f", and {len(defects) - _SHOWN} more" if len(defects) > _SHOWN else ""
        raise _unfit(
            name,
            "its weights are not those of the network that its configuration describes: "
            + ", ".join(defects[:_SHOWN])
            + rest,
        )
    network.load_state_dict(weights, assign=True)


def _unfit(name: str, why: str) -> AirgapError:
    return AirgapError(
        f"model '{name}' cannot tell emotions: {why}",
        hint="name another repository or revision in the profile, and build the bundle again",
    )
