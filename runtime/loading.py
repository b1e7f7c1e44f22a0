"""Model files out of a mount, such that the bytes that were hashed are the bytes that are used."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader, FileIO
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Final

from airgap import places
from airgap.console import Advance, human_size, quietly
from airgap.errors import AirgapError, DamagedError
from airgap.manifest import Artifact, File
from runtime.folders import Folder
from runtime.generation import Generation

_PIECE: Final = 1 << 20
"""Bytes of a file that are in memory at once while it is copied."""


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


@contextmanager
def private_copy(
    generation: Generation, artifacts: Iterable[Artifact], advance: Advance = quietly
) -> Iterator[Path]:
    """A folder with these artifacts' files, as the mount has them, for libraries that take paths.

    What is written is what was hashed, in one pass, so that nothing that happens to the store
    afterwards matters. The folder belongs to this user alone (mode 0700, files 0400) and is gone
    when the block ends.

    It lies in TMPDIR, else /tmp: a place that is writable whoever owns the root, for a process
    that gave up its rights, and for the server's unit, where it is private and goes with the
    service. It takes the artifacts' size there for as long.

    Args:
        generation: the mount.
        artifacts: of its manifest; each file of theirs is copied, derived ones among them.
        advance: told the bytes that are done.

    Yields:
        The folder; an artifact's files lie in its `path` below it.

    Raises:
        DamagedError: a file is not the one that was signed.
        AirgapError: a file cannot be read, or there is no space for it.
    """
    files = [file for artifact in artifacts for file in generation.manifest.files_of(artifact)]
    with _private_folder() as path, Folder.at(path) as copy:
        for file in files:
            at = PurePosixPath(file.path)
            with copy.inside(str(at.parent)) as there:
                _copy_checked(generation.folder, file, there, sum(one.size for one in files))
            advance(file.size)
        yield path


@contextmanager
def matched_pieces(
    generation: Generation, file: File, advance: Advance = quietly
) -> Iterator[Iterator[bytes]]:
    """A file for another program, piece by piece, none of which leaves before all of it matched.

    It is read twice, because it may be larger than memory: once to compare it with the manifest and
    to note the digest of each piece, and once to hand the pieces on, each compared with its note.
    So a byte that changed in between is not handed on, whoever can write the store.

    Args:
        generation: the mount.
        file: of its manifest.
        advance: told the bytes that were compared the first time.

    Yields:
        The pieces. Taking one raises DamagedError where it changed; whoever was given those before
        it must then be told that there is no more.

    Raises:
        DamagedError: the file is not the one that was signed.
    """
    with _opened(generation.folder, file) as stream:
        notes = _noted(generation.folder, file, stream, advance)
        stream.seek(0)
        yield _as_noted(generation.folder, file, stream, notes)


def _noted(tree: Folder, file: File, stream: BufferedReader, advance: Advance) -> list[bytes]:
    """The SHA-256 of each piece of a file that is, as a whole, what was signed."""
    whole, notes = hashlib.sha256(), []
    left = file.size + 1  # a file that grew is known by its first byte too many
    while piece := stream.read(min(left, _PIECE)):
        whole.update(piece)
        notes.append(hashlib.sha256(piece).digest())
        left -= len(piece)
        advance(len(piece))
    _compare(tree, file, whole.hexdigest())
    return notes


def _as_noted(
    tree: Folder, file: File, stream: BufferedReader, notes: list[bytes]
) -> Iterator[bytes]:
    left = file.size
    for note in notes:
        piece = stream.read(min(left, _PIECE))
        left -= len(piece)
        if hashlib.sha256(piece).digest() != note:
            raise DamagedError(
                f"'{tree.path / file.path}' changed while it was read",
                rule="mount.digest",
                hint="airgap repair --mounted BUNDLE; the disk is failing, or someone changes it",
            )
        yield piece


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A new folder of this user's alone, removed with all that is in it."""
    place = places.temporary()
    try:
        # What cannot be removed is public weights in a private folder: no reason to fail after all.
        made = TemporaryDirectory(prefix="airgap-", dir=place, ignore_cleanup_errors=True)
    except OSError as error:
        raise AirgapError(
            f"cannot make a private folder in '{place}': {error.strerror}",
            hint="set TMPDIR to a folder that this user may write",
        ) from error
    with made as path:
        yield Path(path)


def _copy_checked(tree: Folder, file: File, into: Folder, needed: int) -> None:
    """One file into a folder that nobody else can write, hashed as it is written."""
    digest = hashlib.sha256()
    left = file.size + 1  # a file that grew is known by its first byte too many
    with _opened(tree, file) as source:
        descriptor = into.create(PurePosixPath(file.path).name, 0o400)
        with os.fdopen(descriptor, "wb", buffering=0) as target:
            while piece := memoryview(source.read(min(left, _PIECE))):
                digest.update(piece)
                left -= len(piece)
                _write(target, piece, into, needed)
    _compare(tree, file, digest.hexdigest())


def _write(target: FileIO, piece: memoryview, into: Folder, needed: int) -> None:
    try:
        while piece:
            piece = piece[target.write(piece) :]
    except OSError as error:
        raise AirgapError(
            f"cannot write a private copy of the models into '{into.path}': {error.strerror}; "
            f"it needs {human_size(needed)} for as long as they are loaded",
            hint="free some space, or set TMPDIR to a folder on a larger disk",
        ) from error


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
