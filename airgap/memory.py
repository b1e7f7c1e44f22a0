"""What loading models takes in memory: told before a build by `plan`, on the host by `doctor`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

MB: Final = 1_000_000

ENGINE_MEMORY: Final = {
    "faster-whisper": 400 * MB,
    "nemo": 1_000 * MB,
    "pyannote": 1_000 * MB,
    "transformers": 700 * MB,
}
"""What an engine, its libraries and what it computes hold in memory beside any model, in bytes.

With torch 2.13 for CPUs, NeMo 3.0, pyannote.audio 4.0 and transformers 5.23, importing takes 750,
770 and 410 MB: `python -c "import resource, LIBRARY; print(resource.getrusage(0).ru_maxrss)"`, in
KiB, for LIBRARY in nemo.collections.asr.models, pyannote.audio.pipelines (with NeMo installed,
which it imports), transformers.models.wav2vec2.modeling_wav2vec2. Ten seconds of sound through a
wav2vec 2.0 of 165 million weights take another 120 MB. They share torch, so that two together
take less than their sum.
"""

VERIFIED_LOADING: Final = 2
"""Copies of the model being loaded, beside the loaded one: the hashed buffer and the engine's."""

GPU_WORKSPACE: Final = 1_500 * MB
"""Memory of the GPU beside the weights: CUDA, and decoding with five beams."""


def to_load(models: Iterable[tuple[str | None, int]], copies: int = VERIFIED_LOADING) -> int:
    """Bytes for everything loaded, and beside it the largest model on its way in.

    Args:
        models: the engine of each, and its size in bytes; without an engine it is not loaded.
        copies: of the model on its way in; none where it is hashed in place and loaded by path.
    """
    loaded = [(engine, size) for engine, size in models if engine]
    libraries = sum(ENGINE_MEMORY.get(engine, 0) for engine in {engine for engine, _ in loaded})
    sizes = [size for _, size in loaded]
    return libraries + sum(sizes) + copies * max(sizes, default=0)


def to_load_on_gpu(models: Iterable[tuple[str | None, int]]) -> int:
    """Bytes of the GPU's own memory for everything loaded."""
    return sum(size for engine, size in models if engine) + GPU_WORKSPACE
