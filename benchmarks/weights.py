"""Input of any size from the real weights of Whisper tiny.en, as a profile with its lock.

Each copy of `model.bin` (75.5 MB, 16-bit floats) is rotated by another number of bytes. So every
copy has the bytes of real weights in their real order and shrinks as they do, by 8 %; no two
files have one digest, so no store keeps them once; and bytes that are equal lie further apart
than any contender's window looks back (ours 4 MiB, zstd -3's 2 MiB), so none is compressed
against another.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from bundler.download_cache import DownloadCache
from bundler.lock import Lock, LockedFile, LockedModel, lock_path
from bundler.profile import Profile
from bundler.sources.local import Local

SHIFT = 3_000_002
"""Bytes between two rotations; even, so that halves of a number stay where they are."""

COMMIT = "0d3d19a32d3338f10357c0889762bd8d64bbdeba"
LICENCE = "MIT"


def make(folder: Path, fetched: Path, size: int) -> None:
    """Write `profile.yaml` with its lock, the download cache and the same files as a plain tree.

    Args:
        folder: an existing, empty folder.
        fetched: the real model's `model.bin`.
        size: bytes to reach, in whole models.
    """
    weights = fetched.read_bytes()
    cache = DownloadCache.at(folder / "cache")
    models, sums = [], []
    for number in range(-(-size // len(weights))):
        name = f"weights-{number:03}"
        at = number * SHIFT % len(weights)
        content = weights[at:] + weights[:at]
        sha256 = hashlib.sha256(content).hexdigest()
        plain = folder / "tree" / name / "model.bin"
        plain.parent.mkdir(parents=True)
        plain.write_bytes(content)
        cached = cache.path(sha256)
        cached.parent.mkdir(parents=True, exist_ok=True)
        cached.hardlink_to(plain)
        sums.append(f"{sha256}  {name}/model.bin\n")
        models.append(
            LockedModel(
                id=name,
                role="asr",
                engine="faster-whisper",
                repository=f"bench/{name}",
                commit=COMMIT,
                licence=LICENCE,
                gated=False,
                sources=(Local("tree"),),
                files=(LockedFile("model.bin", len(content), sha256),),
            )
        )
    (folder / "SHA256SUMS").write_text("".join(sums))
    _write_profile(folder / "profile.yaml", tuple(models))


def _write_profile(path: Path, models: tuple[LockedModel, ...]) -> None:
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
