"""What is mounted, compared once more with what was signed: every file, on all cores."""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

from airgap.console import Advance, quietly
from airgap.errors import AirgapError, DamagedError
from airgap.manifest import File
from airgap.parallel import in_order
from runtime import layouts
from runtime.folders import Folder
from runtime.generation import (
    HEAD,
    INVENTORY,
    MANIFEST,
    PROBATION,
    RECORD,
    RUNTIME,
    Generation,
)

_OURS: Final = frozenset({HEAD, MANIFEST, RECORD, INVENTORY, RUNTIME, PROBATION})
"""What a generation has that is no file of its manifest."""

_NAMED_DEFECTS: Final = 8
"""How many defects an error names; a failing disk can have thousands."""


def damaged(
    one: Generation, files: tuple[File, ...], advance: Advance = quietly
) -> dict[File, str]:
    """The files of a generation that are not what was signed, each with what is wrong with it.

    Args:
        one: the generation.
        files: of its manifest.
        advance: told the bytes that are done.
    """
    found = {}
    with closing(in_order(partial(_defect, one.folder, file) for file in files)) as defects:
        for file, defect in zip(files, defects, strict=True):
            advance(file.size)
            if defect is not None:
                found[file] = defect
    return found | dict(_astray(one, files, found))


def require_signed(
    one: Generation,
    files: tuple[File, ...],
    artifact: str | None = None,
    advance: Advance = quietly,
) -> None:
    """Raise DamagedError where something in a generation is not what was signed: all of it.

    Args:
        one: the generation.
        files: of its manifest, to be compared.
        artifact: look for strangers in this one's folder alone; None: in the whole tree.
        advance: told the bytes that are done.
    """
    unsigned = strangers(one, artifact)
    wrong = [f"'{file.path}' {why}" for file, why in damaged(one, files, advance).items()]
    mends = ["airgap repair --mounted BUNDLE, with the bundle that was mounted"] if wrong else []
    mends += [removal(unsigned)] if unsigned else []
    wrong += [f"'{path.relative_to(one.folder.path)}' was signed by nobody" for path in unsigned]
    if not wrong:
        return
    more = f", and {len(wrong) - _NAMED_DEFECTS} more" if len(wrong) > _NAMED_DEFECTS else ""
    raise DamagedError(
        f"'{one.folder.path}' is not what was signed as '{one.statement.title}': "
        f"{'; '.join(sorted(wrong)[:_NAMED_DEFECTS])}{more}",
        rule="mount.digest",
        hint="; ".join(mends),
    )


def strangers(one: Generation, artifact: str | None = None) -> list[Path]:
    """What lies in a generation, or in the folder of an artifact, and was signed by nobody.

    Sorted; of a folder in which nothing is signed, its own path alone, and so of one that cannot be
    looked into: it may hold anything.
    """
    names = (*one.manifest.files, *layouts.links(one.manifest))
    signed = {file.path for file in names} | _OURS
    below = next((found.path for found in one.manifest.artifacts if found.id == artifact), "")
    try:
        with one.folder.inside(below, make=False) as folder:
            found = sorted(_unsigned(folder, f"{below}/" if below else "", signed))
    except AirgapError:  # the folder is missing: its files are told to be
        return []
    return [one.folder.path / path for path in found]


def removal(unsigned: Sequence[Path]) -> str:
    """What a person types so that nothing is left that nobody signed."""
    more = ", and the others" if len(unsigned) > _NAMED_DEFECTS else ""
    return f"rm -r {shlex.join(map(str, unsigned[:_NAMED_DEFECTS]))}{more}"


def _astray(
    one: Generation, files: tuple[File, ...], wrong: Mapping[File, str]
) -> Iterator[tuple[File, str]]:
    """Further names that do not lead to the file that they are names of, or to a damaged one.

    One that is missing takes nothing from what was signed: a mount by copies has none.
    """
    signed = {file.sha256: file for file in files}
    for link in layouts.links(one.manifest):
        file = signed.get(link.sha256)
        if file is None or not _is_there(one.folder, link.path):
            continue
        if file in wrong:
            yield link, wrong[file]
        elif not os.path.samestat(one.folder.status(link.path), one.folder.status(file.path)):
            yield link, f"is another file than '{file.path}'"


def _is_there(tree: Folder, path: str) -> bool:
    try:
        tree.status(path)
    except AirgapError:
        return False
    return True


def _defect(tree: Folder, file: File) -> str | None:
    """What is wrong with a file; None where its bytes are those that were signed."""
    try:
        with os.fdopen(tree.open(file.path), "rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except AirgapError as error:
        return f"cannot be used: {error.message}"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if found == file.sha256:
        return None
    return f"has the SHA-256 {found}, expected {file.sha256}"


def _unsigned(folder: Folder, prefix: str, signed: set[str]) -> Iterator[str]:
    """Paths below a folder that are not signed; of a folder without a signed file, its own."""
    for name in folder.names():
        path = f"{prefix}{name}"
        if stat.S_ISDIR(folder.status(name).st_mode) and any(
            one.startswith(f"{path}/") for one in signed
        ):
            try:
                with folder.inside(name, make=False) as inner:
                    yield from _unsigned(inner, f"{path}/", signed)
            except AirgapError:
                yield path
        elif path not in signed:
            yield path
