"""What the caches of an isolated host hold: mounts, the store behind them, and foreign files.

Each file is counted once, in the first holding that has a name of it: a mounted model, whatever
further names its layouts give it; then the store, for what only older generations still use.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from airgap.caches import Holding, Inode, files_below, tally
from airgap.errors import AirgapError, RefusedError
from runtime import generation, layouts
from runtime.cache import CachePaths
from runtime.generation import GENERATIONS, MOUNTS, Generation
from runtime.store import BLOBS

VERIFIED: Final = "verified"
"""When it was mounted. It is hashed again whenever `airgap` loads it."""

DAMAGED: Final = "damaged"
"""A file is missing or has another size, or the mount's own papers are not what was signed."""

FOREIGN: Final = "foreign"
"""Nobody verified it."""

KINDS: Final = ("hf", "torch", "nemo", "whisper", "emotion", "diarization")
"""The folders of a cache that is no mount, in the order in which they are counted."""


def of_host(root: Path, paths: CachePaths) -> list[Holding]:
    """Everything that a host's caches hold.

    Args:
        root: the host's root.
        paths: the folders beside its mounts.

    Raises:
        AirgapError: a folder cannot be read.
    """
    seen: set[Inode] = set()
    return [*_mounts(root, seen), *_store(root, seen), *_foreign(paths, seen)]


def contents(paths: CachePaths, kind: str) -> list[Path]:
    """What a cache consists of, sorted: models, and what its library keeps beside them.

    Of HF_HOME and TORCH_HOME only their caches: tokens and settings beside those are no cache.
    """
    folders = {
        "hf": [paths.hub, paths.hf_home / "xet"],
        "torch": [paths.torch_home / "hub"],
        "nemo": [paths.nemo_home],
        "whisper": [paths.whisper_root],
        "emotion": [paths.emotion_root],
        "diarization": [paths.diarization_root],
    }
    try:
        return [
            inner for path in folders[kind] if path.is_dir() for inner in sorted(path.iterdir())
        ]
    except OSError as error:
        raise AirgapError(f"cannot read '{error.filename}': {error.strerror}") from error


def model_name(path: Path) -> str:
    """What the files at a path of `contents` are a model of: ORG/NAME, or the folder's name."""
    kind, _dashes, repository = path.name.partition("--")
    return repository.replace("--", "/") if kind == "models" and repository else path.name


def _mounts(root: Path, seen: set[Inode]) -> Iterator[Holding]:
    for name in generation.mounted(root):
        try:
            with generation.current(root, name) as mounted:
                yield from _mounted(mounted, seen)
        except RefusedError as error:  # the other mounts are shown all the same
            yield Holding("papers", error.message, name, 0, 0, DAMAGED)


def _mounted(mounted: Generation, seen: set[Inode]) -> Iterator[Holding]:
    """A holding for each model of a mount, one for the bundle's papers, one for strangers."""
    manifest, title = mounted.manifest, mounted.statement.title
    tree, further = mounted.folder.path, layouts.links(manifest)
    there = files_below(tree)
    for one in manifest.artifacts:
        files = manifest.files_of(one)
        names = [tree / file.path for file in (*files, *further) if file.artifact == one.id]
        whole = all(_has(there, tree / file.path, file.size) for file in files)
        count, size = tally((there[path] for path in names if path in there), seen)
        kind = layouts.FOLDERS.get(one.role, one.role)
        yield Holding(kind, one.id, title, count, size, VERIFIED if whole else DAMAGED)
    own = {tree / file.path for file in manifest.files}
    papers = [at for path, at in there.items() if path in own or path.parent == tree]
    yield Holding("papers", "of the bundle", title, *tally(papers, seen), VERIFIED)
    strangers, size = tally(there.values(), seen)
    if strangers:
        yield Holding("papers", "of nobody who signed", title, strangers, size, FOREIGN)


def _has(there: Mapping[Path, os.stat_result], path: Path, size: int) -> bool:
    return path in there and there[path].st_size == size


def _store(root: Path, seen: set[Inode]) -> Iterator[Holding]:
    """What no mounted generation uses: older ones, and blobs that nothing uses any more."""
    older = [
        at
        for name in generation.mounted(root)
        for at in files_below(root / MOUNTS / name / GENERATIONS).values()
    ]
    blobs = files_below(root / BLOBS).values()
    files, size = tally([*older, *blobs], seen)
    if files:
        yield Holding("store", "of no current mount", str(root / BLOBS), files, size, VERIFIED)


def _foreign(paths: CachePaths, seen: set[Inode]) -> Iterator[Holding]:
    """What lies in folders that libraries fill by themselves, and was not seen elsewhere."""
    for kind in KINDS:
        for path in contents(paths, kind):
            files, size = tally(files_below(path).values(), seen)
            if files:
                yield Holding(kind, model_name(path), str(path), files, size, FOREIGN)
