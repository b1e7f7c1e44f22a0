"""Other people's published weights as pyannote models: MarbleNet hears speech, GE2E knows voices.

No package index carries pyannote's own weights. These make a pipeline that really tells people
apart, when it is told how many they are. Imported by name where such a checkpoint is loaded.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from pyannote.audio.core.model import Model
from pyannote.audio.core.task import Problem, Resolution, Specifications
from torch import nn

HOP = 320
FFT_HOP, FFT_WINDOW = 160, 400
GE2E_SAMPLES = 25_600


class Frames:
    """Frames of 20 ms: what pyannote asks a model about itself."""

    def num_frames(self, samples: int) -> int:
        return (samples // FFT_HOP) // 2 + 1

    def receptive_field_size(self, num_frames: int = 1) -> int:
        return num_frames * HOP

    def receptive_field_center(self, frame: int = 0) -> int:
        return frame * HOP


def separable(into: int, out: int, width: int, stride: int = 1, dilation: int = 1) -> nn.Module:
    padding = dilation * (width - 1) // 2
    return nn.Sequential(
        nn.Conv1d(into, into, width, stride, padding, dilation, groups=into, bias=False),
        nn.Conv1d(into, out, 1),
    )


class Block(nn.Module):
    """Two separable convolutions beside a shortcut."""

    def __init__(self, into: int, out: int, width: int) -> None:
        super().__init__()
        self.first, self.second = separable(into, out, width), separable(out, out, width)
        self.shortcut = nn.Conv1d(into, out, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        inner = self.second(torch.relu(self.first(features)))
        return torch.relu(inner + self.shortcut(features))


class MarbleNet(Frames, Model):
    """NVIDIA's frame-VAD MarbleNet 2.0: speech or not, every 20 ms."""

    def __init__(self, sample_rate: int = 16_000, num_channels: int = 1, task: Any = None) -> None:
        super().__init__(sample_rate=sample_rate, num_channels=num_channels, task=task)
        self.save_hyperparameters("sample_rate", "num_channels")
        self.register_buffer("mels", torch.zeros(80, 257))
        self.register_buffer("window", torch.hann_window(FFT_WINDOW, periodic=False))
        self.prologue = separable(80, 128, 11, stride=2)
        self.blocks = nn.Sequential(
            *(Block(*one) for one in ((128, 64, 13), (64, 64, 15), (64, 64, 17)))
        )
        self.epilogue = separable(64, 128, 29, dilation=2)
        self.last = nn.Conv1d(128, 128, 1)
        self.decoder = nn.Linear(128, 2)

    @property
    def dimension(self) -> int:
        return 2

    def build(self) -> None:
        """Nothing: the layers do not depend on the task."""

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        sound = waveforms[:, 0]
        sound = torch.cat([sound[:, :1], sound[:, 1:] - 0.97 * sound[:, :-1]], 1)
        power = _stft(sound, 512, self.window)
        features = torch.relu(self.prologue(torch.log(self.mels @ power + 2**-24)))
        features = torch.relu(self.epilogue(self.blocks(features)))
        features = torch.relu(self.last(features)).transpose(1, 2)
        return torch.log_softmax(self.decoder(features), -1)

    @classmethod
    def published(cls, weights: dict[str, torch.Tensor]) -> MarbleNet:
        """With NVIDIA's weights, by the names that their ONNX file gives them."""
        model = cls()
        state = model.state_dict()
        folded = iter(_folded(weights))
        depthwise = "nvidia_vad.encoder.encoder.{}.mconv.{}.conv.weight".format

        def fill(name: str, weight: torch.Tensor | None = None) -> None:
            """A separable convolution: its depthwise half is named, the other one is folded."""
            if weight is not None:
                state[f"{name}.0.weight"] = weight
                name = f"{name}.1"
            state[f"{name}.weight"], state[f"{name}.bias"] = next(folded)

        fill("prologue", weights[depthwise(0, 0)])
        for number in range(3):
            fill(f"blocks.{number}.first", weights[depthwise(number + 1, 0)])
            fill(f"blocks.{number}.second", weights[depthwise(number + 1, 5)])
            fill(f"blocks.{number}.shortcut")
        fill("epilogue", weights[depthwise(4, 0)])
        fill("last")
        state["mels"] = weights["/Constant_14_output_0"][0]
        state["decoder.weight"] = weights["onnx::MatMul_260"].T.contiguous()
        state["decoder.bias"] = weights["nvidia_vad.decoder.layer0.bias"]
        model.load_state_dict(state)
        model.specifications = Specifications(
            problem=Problem.MONO_LABEL_CLASSIFICATION,
            resolution=Resolution.FRAME,
            duration=1.6,
            classes=["speaker#1"],
            powerset_max_classes=1,
            permutation_invariant=True,
        )
        return model


class GE2E(Frames, Model):
    """Resemblyzer's speaker encoder: 256 numbers for a voice."""

    def __init__(self, sample_rate: int = 16_000, num_channels: int = 1, task: Any = None) -> None:
        super().__init__(sample_rate=sample_rate, num_channels=num_channels, task=task)
        self.save_hyperparameters("sample_rate", "num_channels")
        self.register_buffer("mels", torch.zeros(40, 201))
        self.register_buffer("window", torch.hann_window(FFT_WINDOW))
        self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    @property
    def dimension(self) -> int:
        return 256

    def build(self) -> None:
        """Nothing: the layers do not depend on the task."""

    def forward(self, waveforms: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        voices = [
            self._voice(waveform[0], None if weights is None else weights[number])
            for number, waveform in enumerate(waveforms)
        ]
        return torch.cat(voices)

    def _voice(self, sound: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
        if weights is not None:
            size = sound.shape[0]
            spoken = nn.functional.interpolate(weights[None, None], size=size)[0, 0] > 0.5
            sound = sound[spoken] if spoken.sum() >= 4000 else sound
        if sound.shape[0] < GE2E_SAMPLES:
            sound = sound.repeat(math.ceil(GE2E_SAMPLES / sound.shape[0]))[:GE2E_SAMPLES]
        sound = sound * (10 ** (-30 / 20) / (sound.pow(2).mean().sqrt() + 1e-9))
        _, (hidden, _) = self.lstm((self.mels @ _stft(sound, FFT_WINDOW, self.window)).T[None])
        voice = torch.relu(self.linear(hidden[-1]))
        return voice / voice.norm(dim=1, keepdim=True)

    @classmethod
    def published(cls, weights: dict[str, torch.Tensor], mels: torch.Tensor) -> GE2E:
        """With Resemblyzer's weights, over the mel bands that they were trained on."""
        model = cls()
        state = model.state_dict()
        state.update({name: value for name, value in weights.items() if name in state})
        state["mels"] = mels
        model.load_state_dict(state)
        model.specifications = Specifications(
            problem=Problem.REPRESENTATION,
            resolution=Resolution.CHUNK,
            duration=1.6,
            min_duration=0.5,
            classes=["a", "b"],
        )
        return model


def _stft(sound: torch.Tensor, size: int, window: torch.Tensor) -> torch.Tensor:
    """Power by frequency and frame of 10 ms."""
    spectrum = torch.stft(
        *(sound, size, FFT_HOP, FFT_WINDOW, window),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    return spectrum.abs() ** 2


def _folded(weights: dict[str, torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Convolutions that the ONNX export folded with their normalisation, in the order of use."""
    numbers = sorted(int(name.rpartition("_")[2]) for name in weights if "onnx::Conv_" in name)
    pairs = [pair for pair in pairwise(numbers) if pair[1] == pair[0] + 1]
    return [(weights[f"onnx::Conv_{a}"], weights[f"onnx::Conv_{b}"]) for a, b in pairs]
