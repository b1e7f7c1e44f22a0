"""How it was said: time and memory of networks of the sizes that are published, weights random.

    python benchmarks/emotion.py [--layers 12 24] [--seconds 10] [--threads 2]

12 layers are the size of `wav2vec2-emotion-dimensions`, 24 that of `wav2vec2-emotion-categories`:
time and memory do not depend on what a network has learnt. Each is measured in a process of its
own: what it holds once loaded, its peak while loading, and the real-time factor of one stretch.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from torch import nn
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from runtime.engine.audio import SAMPLE_RATE
from runtime.engine.emotion.model import EmotionModel
from runtime.engine.hardware import Hardware

WIDE = {
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
}
LABELS = ("arousal", "dominance", "valence")
TIMES = 3
"""Stretches that are heard, of which the quickest counts: others use the machine as well."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, nargs="+", default=[12, 24])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    print("| layers | weights | load | real-time factor | loaded | peak while loading |")
    print("|---|---|---|---|---|---|")
    for layers in given.layers:
        context = multiprocessing.get_context("spawn")
        with tempfile.TemporaryDirectory() as name:
            told = (layers, Path(name), given.seconds, given.threads)
            for step in (publish, measure):  # what one leaves in memory is not the next one's
                with ProcessPoolExecutor(1, mp_context=context) as pool:
                    line = pool.submit(step, *told).result()
            print(line)


def publish(layers: int, folder: Path, *_others: float) -> None:
    """Write a model of that many layers, as it is published."""
    names = dict(enumerate(LABELS))
    config = Wav2Vec2Config(**WIDE, num_hidden_layers=layers, id2label=names)
    head = {"dense": nn.Linear(1024, 1024), "out_proj": nn.Linear(1024, len(LABELS))}
    network = nn.ModuleDict({"wav2vec2": Wav2Vec2Model(config), "classifier": nn.ModuleDict(head)})
    config.save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    safetensors.torch.save_file(network.state_dict(), folder / "model.safetensors")


def measure(layers: int, folder: Path, seconds: float, threads: int) -> str:
    """A line of the table."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    size = len(files["model.safetensors"])
    began = time.perf_counter()
    model = EmotionModel.from_buffers("random", files, Hardware("cpu", "float32", threads))
    loading, peak = time.perf_counter() - began, highest()
    noise = np.random.default_rng(0).normal(0, 0.1, int(seconds * SAMPLE_RATE)).astype(np.float32)
    quickest = min(timed(model, noise) for _again in range(TIMES))
    return (
        f"| {layers} | {size / 4e6:.0f} million | {loading:.1f} s | {quickest / seconds:.2f} "
        f"| {held() / 1e9:.2f} GB | {peak / 1e9:.2f} GB |"
    )


def timed(model: Any, samples: Any) -> float:
    began = time.perf_counter()
    model.scores(samples)
    return time.perf_counter() - began


def highest() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def held() -> int:
    """Bytes of this process that are in memory now."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(pages[1]) * resource.getpagesize()


if __name__ == "__main__":
    main()
