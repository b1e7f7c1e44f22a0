"""A verified model in memory: samples -> scores."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from airgap.errors import AirgapError
from runtime.engine.audio import SAMPLE_RATE, Samples
from runtime.engine.emotion.network import Network, load_network
from runtime.engine.emotion.stretches import SHORTEST
from runtime.engine.hardware import Hardware

DIMENSIONS: Final = frozenset({"arousal", "dominance", "valence"})
"""A model whose outputs are these is dimensional; any other gives probabilities of categories."""


@dataclass(frozen=True)
class EmotionModel:
    """A loaded model. Several threads may use it at once.

    Attributes:
        name: its id in the bundle.
        hardware: what it was loaded for.
    """

    name: str
    hardware: Hardware
    _network: Network

    @classmethod
    def from_buffers(
        cls, name: str, files: MutableMapping[str, bytes], hardware: Hardware
    ) -> EmotionModel:
        """Load from memory, where the bytes were hashed. The weights are taken out of `files`.

        It computes in 32-bit floats on any device; the compute type is the transcriber's.

        Raises:
            AirgapError: a file is missing, or a weight is missing, left over or misshapen; or
                torch cannot use the device.
        """
        if hardware.device == "cuda" and not torch.cuda.is_available():
            raise AirgapError(
                f"model '{name}' cannot use the GPU: the torch that is installed here cannot",
                hint="install torch for CUDA, or give --device cpu",
            )
        torch.set_num_threads(hardware.threads)
        return cls(name, hardware, load_network(name, files, hardware.device))

    @property
    def labels(self) -> tuple[str, ...]:
        """What its scores stand for, in their order."""
        return self._network.labels

    @property
    def is_dimensional(self) -> bool:
        """Whether its scores are arousal, dominance and valence."""
        return set(self.labels) == DIMENSIONS

    def scores(self, samples: Samples) -> dict[str, float]:
        """Scores by label, each 0 to 1; those of categories add up to 1.

        Args:
            samples: 16 kHz mono; under a second they are filled up with silence.

        Raises:
            AirgapError: the model failed, or gave no numbers.
        """
        heard = np.pad(samples, (0, max(0, SHORTEST - len(samples))))
        with _torch_errors(f"emotion by model '{self.name}' failed"):
            values = self._network.extractor(
                heard, sampling_rate=SAMPLE_RATE, return_tensors="pt"
            ).input_values
            raw = self._network.logits(values.to(self.hardware.device))
            made = raw.clamp(0, 1) if self.is_dimensional else raw.softmax(dim=0)
            found = [float(one) for one in made.cpu()]
        if not all(np.isfinite(found)):
            raise AirgapError(f"emotion by model '{self.name}' failed: it gave no numbers")
        return dict(zip(self.labels, found, strict=True))


@contextmanager
def _torch_errors(what: str) -> Iterator[None]:
    """Whatever torch raises on a device, as ours: it promises nothing beyond RuntimeError."""
    try:
        yield
    except MemoryError as error:
        raise AirgapError(f"{what}: not enough memory") from error
    except (RuntimeError, ValueError, TypeError) as error:
        raise AirgapError(f"{what}: {error}") from error
