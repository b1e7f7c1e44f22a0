"""Every model loaded once, offline, before anything is signed.

What would fail on the isolated host (a tokenizer that is missing, a configuration that names a
repository) fails here, and names the model and its files. The tree is laid out as it will be
mounted; whoever loads sees nothing else, and no network.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airgap.console import console, human_size
from airgap.errors import AirgapError, UsageError
from airgap.manifest import Artifact, Check, Exemption
from bundler.download_cache import DownloadCache
from bundler.layout import Tree
from bundler.measured import Measured, remember
from bundler.partial import try_lock

LIBRARIES: Final = {
    "faster-whisper": ("faster_whisper", "airgap-bundler[cpu]"),
    "pyannote": ("pyannote", "airgap-bundler[pyannote]"),
    "nemo": ("nemo", "airgap-bundler[nemo]"),
    "transformers": ("transformers", "airgap-bundler[emotion]"),
}
"""The engines that this version can load, by the library that does and the extra that brings it."""

LONGEST: Final = 1800
"""Seconds for one model. Loading is quick; a disk that is asleep, or full of swap, is not."""

PREFIX: Final = "dry-load."
"""What folders in the download cache are called in which models lie while they are loaded."""

LOADED: Final = "loaded"
PARTLY: Final = "partly loaded"
NOT_LOADED: Final = "not dry-loaded"


@dataclass(frozen=True)
class Skipped:
    """The roles that the builder was told not to try."""

    roles: frozenset[str]

    @classmethod
    def of(cls, roles: Collection[str], tree: Tree) -> Skipped:
        """Check them against what a bundle carries. Raises UsageError for a role that it lacks."""
        known = sorted({one.role for one in tree.artifacts if one.engine})
        if unknown := sorted(set(roles) - set(known)):
            raise UsageError(
                f"--skip-dry-load: no model has the role '{unknown[0]}'; there are "
                f"{', '.join(known) or 'none'}"
            )
        return cls(frozenset(roles))


def dry_load(
    tree: Tree,
    contents: Mapping[str, Path | bytes],
    skipped: Skipped,
    cache: DownloadCache,
    *,
    machines: Collection[str] = (),
) -> Check:
    """Load every model that has an engine, where the bundle is for a machine such as this one.

    Args:
        tree: what the bundle will hold.
        contents: where the bytes of each of its files are.
        skipped: roles that are not tried; the manifest says so.
        cache: its disk takes the tree, and what loading took is kept in it.
        machines: that the bundle's programs are for, as `uname -m` says; none where it has none.

    Returns:
        The verdict for the manifest. Nothing measured is in it.

    Raises:
        AirgapError: a model does not load, or its engine is not installed here.
    """
    models = [one for one in tree.artifacts if one.engine]
    if machines and (here := platform.machine()) not in machines:
        return _left_to(machines, here, models)
    tried = [one for one in models if one.role not in skipped.roles]
    _check_installed(tried)
    with _laid_out(tree, contents, cache) as folder:
        for artifact in tried:
            _load(artifact, tree, folder, cache)
    exempt = tuple(
        Exemption(one.id, f"the builder was told: --skip-dry-load {one.role}")
        for one in models
        if one not in tried
    )
    verdict = LOADED if not exempt else PARTLY if tried else NOT_LOADED
    return Check(verdict, exempt)


def _left_to(machines: Collection[str], here: str, models: Collection[Artifact]) -> Check:
    """The verdict on a bundle for other machines alone: loading here would prove nothing there."""
    reason = f"built on {here} for {' and '.join(sorted(machines))}"
    console.warn(f"no model was loaded: {reason}")
    return Check(NOT_LOADED, tuple(Exemption(one.id, reason) for one in models))


def _check_installed(models: Collection[Artifact]) -> None:
    """Say of every engine that is missing, at once, before the first minutes are spent."""
    lacking = []
    for one in models:
        library, _extra = LIBRARIES.get(one.engine or "", (None, None))
        if library is None:
            lacking.append(f"  {one.id}: this version cannot load models of '{one.engine}'")
        elif importlib.util.find_spec(library) is None:
            lacking.append(f"  {one.id}: its engine '{one.engine}' is not installed here")
    if lacking:
        extras = {LIBRARIES[one.engine][1] for one in models if one.engine in LIBRARIES}
        roles = " ".join(f"--skip-dry-load {role}" for role in sorted({one.role for one in models}))
        install = (
            f"pip install {' '.join(repr(one) for one in sorted(extras))}, or " if extras else ""
        )
        raise AirgapError(
            "nothing is signed that was not loaded:\n" + "\n".join(lacking),
            hint=f"{install}go without, which the signed manifest records: {roles}",
        )


@contextmanager
def _laid_out(
    tree: Tree, contents: Mapping[str, Path | bytes], cache: DownloadCache
) -> Iterator[Path]:
    """The models' files as they will be mounted, for as long as the block lasts."""
    try:
        cache.root.mkdir(parents=True, exist_ok=True)
        _sweep(cache)
        with (
            tempfile.TemporaryDirectory(prefix=PREFIX, dir=cache.root) as name,
            _held(folder := Path(name)) as _alone,
        ):
            paths = [one.path for one in tree.locked] + [one.derived.path for one in tree.made]
            for path in paths:
                _place(contents[path], folder / path)
            yield folder
    except OSError as error:
        raise AirgapError(
            f"cannot lay out the models in '{cache.root}': {error.strerror}",
            hint="free some space, or set AIRGAP_CACHE to a folder on a larger disk",
        ) from error


def _sweep(cache: DownloadCache) -> None:
    """Remove what builds that were killed have left."""
    for left in cache.root.glob(f"{PREFIX}*"):
        with suppress(FileNotFoundError), _held(left) as alone:
            if alone:
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """A lock on a folder for as long as the block lasts; whether it could be had."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield try_lock(descriptor)
    finally:
        os.close(descriptor)


def _place(content: Path | bytes, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        target.write_bytes(content)
        return
    try:
        target.hardlink_to(content)
    except OSError:  # another disk, or one that has no links: then it is a copy
        shutil.copyfile(content, target)


def _load(artifact: Artifact, tree: Tree, folder: Path, cache: DownloadCache) -> None:
    """Load one model in a process of its own, and keep what that took."""
    done = _run(artifact, folder)
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
        measured = Measured(answer["seconds"], answer["peak"]) if "peak" in answer else None
        story = str(answer.get("error", ""))
    except (IndexError, ValueError, KeyError, TypeError, AttributeError):
        measured, story = None, _last_words(done)
    if measured is None or done.returncode:
        files = ", ".join(
            one.path.removeprefix(f"{artifact.path}/")
            for one in tree.locked
            if one.artifact == artifact.id
        )
        raise AirgapError(
            f"{artifact.id} would not load on the isolated host: {story}\n  its files: {files}",
            hint="lock another state of it, or see what its files lack; nothing was signed",
        )
    remember(cache, artifact.id, tree, measured)
    took = f"{measured.seconds} s, {human_size(measured.peak)} of memory"
    console.say(f"Loaded offline: {artifact.id} ({artifact.engine}, {took})")


def _run(artifact: Artifact, folder: Path) -> subprocess.CompletedProcess[str]:
    words = ("-m", "bundler.dryload_child", artifact.engine or "", artifact.role)
    try:
        return subprocess.run(  # noqa: S603 - our own program; the words are of the checked lock
            [sys.executable, *words, str(folder / artifact.path)],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=LONGEST,
            env={**os.environ, "HOME": str(folder), "HF_HOME": str(folder / "hf")},
        )
    except subprocess.TimeoutExpired as error:
        raise AirgapError(f"{artifact.id} did not load within {LONGEST} seconds") from error


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    """What a process that died said last."""
    if done.returncode < 0:
        return f"its process was killed by signal {-done.returncode} (short of memory?)"
    return done.stderr.strip().rpartition("\n")[2][:300] or f"it ended with {done.returncode}"
