"""Model files out of a mount, such that the bytes that were hashed are the bytes that are used."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from airgap.console import Advance, quietly
from airgap.errors import AirgapError, DamagedError
from airgap.manifest import Artifact, File
from runtime.folders import Folder
from runtime.generation import Generation


def buffers(
    generation: Generation, artifact: Artifact, advance: Advance = quietly
) -> dict[str, bytes]:
    """Every file of an artifact, read once into memory and compared there with the manifest.

    What the engine is given is what was hashed: a change on disk afterwards changes nothing.
    The cost is the model's size in memory, once, until the engine has taken it over.

    Args:
        generation: the mount.
        artifact: of its manifest.
        advance: told the bytes that are done.

    Returns:
        Contents by path, relative to the artifact's folder.

    Raises:
        DamagedError: a file is not the one that was signed.
    """
    return {
        _name(artifact, file): _checked_buffer(generation.folder, file, advance)
        for file in generation.manifest.files_of(artifact)
        if _belongs(artifact, file)
    }


def folder(generation: Generation, artifact: Artifact, advance: Advance = quietly) -> Path:
    """The folder of an artifact whose files were compared with the manifest where they lie.

    For hosts short of memory. Whoever can write the store could change a file between this and
    the engine's own reading; the store is read-only to all but its owner.

    Raises:
        DamagedError: a file is not the one that was signed, or is one that nobody signed.
    """
    for file in generation.manifest.files_of(artifact):
        with _opened(generation.folder, file) as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        _compare(generation.folder, file, found)
        advance(file.size)
    _refuse_strangers(generation, artifact)
    return generation.folder.path / artifact.path


def _checked_buffer(tree: Folder, file: File, advance: Advance) -> bytes:
    with _opened(tree, file) as stream:
        content = stream.read(file.size + 1)
    _compare(tree, file, hashlib.sha256(content).hexdigest())
    advance(len(content))
    return content


@contextmanager
def _opened(tree: Folder, file: File) -> Iterator[BufferedReader]:
    try:
        with os.fdopen(tree.open(file.path), "rb") as stream:
            yield stream
    except OSError as error:
        raise AirgapError(
            f"cannot read '{tree.path / file.path}': {error.strerror}",
            hint="the disk is failing: choose another one with --root, and mount there",
        ) from error


def _refuse_strangers(generation: Generation, artifact: Artifact) -> None:
    """An engine that loads by path takes what it finds there, a file that was added as well."""
    signed = {file.path for file in generation.manifest.files}
    with generation.folder.inside(artifact.path, make=False) as there:
        for name in there.names():
            path = f"{artifact.path}/{name}"
            if not any(one == path or one.startswith(f"{path}/") for one in signed):
                raise DamagedError(
                    f"'{generation.folder.path / path}' is in the model's folder, and nobody "
                    "signed it",
                    rule="mount.stranger",
                    hint="remove it, or: airgap mount BUNDLE, once more",
                )


def _compare(tree: Folder, file: File, found: str) -> None:
    if found != file.sha256:
        raise DamagedError(
            f"'{tree.path / file.path}' is not what was signed: expected SHA-256 {file.sha256}, "
            f"found {found}",
            rule="mount.digest",
            hint="airgap mount BUNDLE, once more; the disk is failing, or someone changed it",
        )


def _name(artifact: Artifact, file: File) -> str:
    return file.path.removeprefix(f"{artifact.path}/")


def _belongs(artifact: Artifact, file: File) -> bool:
    """Whether a file lies in the artifact's folder; its `refs/main` does not."""
    return file.path.startswith(f"{artifact.path}/")
