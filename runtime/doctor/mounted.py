"""Gathers the facts about what is mounted: sizes and small files, never a model's bytes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from airgap import limits
from airgap.errors import AirgapError, RefusedError, UsageError
from airgap.finding import Trouble
from airgap.manifest import Artifact, File, Manifest
from airgap.strict_json import from_time
from runtime import environments, generation, promises, recheck, standing, wheelhouse
from runtime.cache import CachePaths
from runtime.doctor.facts import Bundle, Carried, Host, Model, Mount
from runtime.doctor.surroundings import CACHES
from runtime.engine import whisper_files
from runtime.generation import Generation

_SMALL: Final = 64 * limits.KIB
"""Files up to it are read and compared; of larger ones the size alone, which takes no time."""

_REF: Final = re.compile(r"(?:.*/)?models--[^/]+/refs/[^/]+")
_REF_CONTENT: Final = re.compile(rb"[0-9a-f]{40}")
_HUB_MODEL: Final = re.compile(r"hf/hub/(models--[^/]+)/")

_LANGUAGES_OF_V3: Final = 100
"""Whisper large-v3 and its kin know Cantonese, and hear 128 mel bands where others hear 80."""


def examine(host: Host, root: Path, name: str | None) -> list[Bundle]:
    """What is mounted, under one name or under all.

    Raises:
        UsageError: nothing is mounted under `name`.
    """
    names = generation.mounted(root)
    if name is not None and name not in names:
        raise UsageError(
            f"expected '{name}' mounted in '{root}', found: {', '.join(names) or 'none'}",
            hint="airgap list",
        )
    if not names:
        nothing = Trouble(f"nothing is mounted in '{root}'", "airgap mount BUNDLE")
        return [Bundle(host, None, trouble=nothing)]
    return [_examine(host, root, one) for one in names if name in (None, one)]


def models_of(manifest: Manifest) -> tuple[Model, ...]:
    """The models of a manifest, with their sizes."""
    return tuple(
        Model(one.id, one.role, one.engine, sum(file.size for file in manifest.files_of(one)))
        for one in manifest.artifacts
    )


def _examine(host: Host, root: Path, name: str) -> Bundle:
    try:
        with generation.current(root, name) as one:
            return Bundle(
                host,
                one.statement.title,
                models_of(one.manifest),
                promise=_promise(host, one),
                carried=_carried(host, one),
                mount=_mount(host, root, one),
            )
    except AirgapError as error:
        return Bundle(host, name, trouble=Trouble.of(error))


def _promise(host: Host, one: Generation) -> Trouble | None:
    wish = host.wish
    try:
        promises.kept(one, wish.models, wish.diarization, emotion=wish.emotion)
    except AirgapError as error:
        return Trouble.of(error)
    return None


def _carried(host: Host, one: Generation) -> Carried | None:
    """The engine that it carries, where this process has none."""
    if "faster-whisper" in host.libraries.versions or not wheelhouse.is_carried(one.manifest):
        return None
    return Carried(one.statement.title, environments.what_brings(one, "cpu"), to_come=False)


def _mount(host: Host, root: Path, one: Generation) -> Mount:
    files = one.manifest.files
    differ = tuple(file.path for file in files if not _is_as_signed(one, file))
    judged: tuple[str, ...] | Trouble
    try:
        judged = tuple(standing.warnings(one, root, host.trust.clock))
    except RefusedError as error:
        judged = Trouble.of(error)
    return Mount(
        cache_root=one.cache_root,
        differ=differ,
        unsigned=tuple(recheck.strangers(one)),
        bad_refs=tuple(
            file.path for file in files if file.path not in differ and _is_bad_ref(one, file)
        ),
        incomplete=tuple(_incomplete(one)),
        standing=judged,
        shadows=tuple(_shadows(host, one)),
        astray=tuple(_astray(host, root, one)),
        created=from_time(one.statement.created),
    )


def _is_as_signed(one: Generation, file: File) -> bool:
    if file.size <= _SMALL:
        content = _small(one, file.path)
        return content is not None and hashlib.sha256(content).hexdigest() == file.sha256
    try:
        found = os.stat(file.path, dir_fd=one.folder.descriptor, follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == file.size


def _small(one: Generation, path: str) -> bytes | None:
    """A small file; None where it is missing, too large, or no file."""
    try:
        return one.folder.read(path, _SMALL)
    except AirgapError:
        return None


def _is_bad_ref(one: Generation, file: File) -> bool:
    if _REF.fullmatch(file.path) is None:
        return False
    content = _small(one, file.path)
    return content is not None and _REF_CONTENT.fullmatch(content) is None


def _incomplete(one: Generation) -> Iterator[str]:
    """Why transcribers lack files, such that a library would look for them elsewhere."""
    for model in one.manifest.artifacts:
        if (model.role, model.engine) != ("asr", "faster-whisper"):
            continue
        sizes = {
            file.path.removeprefix(f"{model.path}/"): file.size
            for file in one.manifest.files_of(model)
        }
        try:
            whisper_files.check_files(model.id, sizes)
        except AirgapError as error:
            yield error.message
        if "preprocessor_config.json" not in sizes and _hears_more_bands(one, model):
            yield (
                f"model '{model.id}' hears 128 mel bands, and has no 'preprocessor_config.json', "
                "which says so"
            )


def _hears_more_bands(one: Generation, model: Artifact) -> bool:
    content = _small(one, f"{model.path}/config.json")
    try:
        languages = json.loads(content or b"{}").get("lang_ids", ())
        return len(languages) >= _LANGUAGES_OF_V3
    except (ValueError, AttributeError, TypeError):
        return False


def _shadows(host: Host, one: Generation) -> Iterator[str]:
    """Folders from which other programs take the same models, by name or by the current folder."""
    hub = _hub_of_others(host)
    ours = (one.cache_root / "hf/hub").resolve()
    paths = [f"{model.path}/" for model in one.manifest.artifacts]
    for name in sorted({found[1] for path in paths if (found := _HUB_MODEL.match(path))}):
        if hub.resolve() != ours and (hub / name).is_dir():
            yield str(hub / name)
        here = Path.cwd().joinpath(*name.split("--")[1:])
        if here.is_dir():
            yield str(here)


def _astray(host: Host, root: Path, one: Generation) -> list[str]:
    """Variables that lead past the mount; of several mounts, any may be meant."""
    if len(generation.mounted(root)) > 1:
        return []
    variables = host.surroundings.variables
    caches = {name: variables[name] for name in CACHES if name in variables}
    return CachePaths.below(one.cache_root, one.statement.title).led_past_by(caches)


def _hub_of_others(host: Host) -> Path:
    """The hub cache of huggingface_hub, by today's variables."""
    variables = host.surroundings.variables
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if named := variables.get(name):
            return Path(named)
    if home := variables.get("HF_HOME"):
        return Path(home, "hub")
    # A container's user may have no home; `~` then stays, there as here.
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - that raises
    return Path(cache, "huggingface/hub")
