"""Input of any size from the real weights of Whisper tiny.en, as a profile with its lock.

Each copy of `model.bin` (75.5 MB, 16-bit floats) is rotated by another number of bytes. So every
copy has the bytes of real weights in their real order and shrinks as they do, by 8 %; no two
files have one digest, so no store keeps them once; and bytes that are equal lie further apart
than any contender looks back (ours 4 MiB, zstd -3 at most 8 MiB), so none is compressed against
another. A model is some of these files, as large models are published in shards.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from bundler.download_cache import DownloadCache
from bundler.lock import Lock, LockedFile, LockedModel, lock_path
from bundler.profile import Profile
from bundler.sources.local import Local

SHIFT = 3_000_002
"""Bytes between two rotations; even, so that halves of a number stay where they are."""

COMMIT = "0d3d19a32d3338f10357c0889762bd8d64bbdeba"
SHARDS = 7
"""Files of a model: half a GB."""


def make(folder: Path, fetched: Path, size: int) -> None:
    """Write `profile.yaml` with its lock, the download cache and the same files as a plain tree.

    Args:
        folder: an existing, empty folder.
        fetched: the real model's `model.bin`.
        size: bytes to reach, in whole models.
    """
    weights = fetched.read_bytes()
    cache = DownloadCache.at(folder / "cache")
    shards: dict[str, list[LockedFile]] = {}
    for number in range(-(-size // len(weights))):
        at = number * SHIFT % len(weights)
        content = weights[at:] + weights[:at]
        shard = LockedFile(
            f"shard-{number:03}.bin", len(content), hashlib.sha256(content).hexdigest()
        )
        model = f"model-{number // SHARDS:02}"
        shards.setdefault(model, []).append(shard)
        _write(folder / "tree" / model / shard.path, content, cache.path(shard.sha256 or ""))
    with (folder / "tree.sha256").open("x") as sums:
        for model, files in shards.items():
            sums.writelines(f"{file.sha256}  {model}/{file.path}\n" for file in files)
    _write_profile(folder / "profile.yaml", shards)


def _write(plain: Path, content: bytes, cached: Path) -> None:
    """The same file in the plain tree and in the download cache."""
    plain.parent.mkdir(parents=True, exist_ok=True)
    plain.write_bytes(content)
    cached.parent.mkdir(parents=True, exist_ok=True)
    cached.hardlink_to(plain)


def _write_profile(path: Path, shards: Mapping[str, list[LockedFile]]) -> None:
    models = tuple(
        LockedModel(
            id=name,
            role="asr",
            engine="faster-whisper",
            repository=f"bench/{name}",
            commit=COMMIT,
            licence="MIT",
            gated=False,
            sources=(Local("tree"),),
            files=tuple(files),
        )
        for name, files in shards.items()
    )
    wanted = "".join(f"  - asr: {model.repository}\n" for model in models)
    content = (
        "profile: 1\nname: bench\ndescription: Whisper tiny.en, many times\n"
        f"device: cpu\ndiarization: none\nmodels:\n{wanted}"
    ).encode()
    path.write_bytes(content)
    profile = Profile.parse(content, str(path))
    lock = Lock("bench", "1.0.0", 1, "2026-01-01T00:00:00Z", profile.sha256, models)
    lock_path(path).write_bytes(lock.to_bytes())


if __name__ == "__main__":
    fetched = json.load(sys.stdin)["files"]
    model = max(map(Path, fetched.values()), key=lambda path: path.stat().st_size)
    make(Path(sys.argv[1]), model, int(sys.argv[2]))
