"""What a delta leaves to its base: each model file whose content the base has, by SHA-256.

A content that the base has under another path is left out as well: a new commit of a repository
moves every file of its snapshot, and changes few. The bundle's own papers always travel.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from airgap import frames
from airgap.errors import UsageError
from airgap.manifest import File, Manifest
from airgap.statement import Base
from bundler.lock import Lock


def named(base: Manifest, algorithm: str) -> Base:
    """How a delta names its base.

    Args:
        base: the manifest of a full bundle.
        algorithm: the hash of the delta, by which it names the base's manifest.
    """
    return Base(base.name, base.version, frames.digest(base.to_bytes(), algorithm).hex())


def check_base(lock: Lock, base: Manifest) -> None:
    """Look that a bundle of this lock can build on `base`, before anything is fetched.

    Args:
        lock: complete.
        base: the manifest that was given.

    Raises:
        UsageError: the base is itself a delta, is of another name or not older, or has none of
            the lock's files.
    """
    title = base.title
    if base.base is not None:
        raise UsageError(
            f"the base '{title}' is itself a delta, of '{base.base.title}': a base is always a "
            "full bundle",
            hint=f"--base with the manifest.json of '{base.base.title}'",
        )
    if base.name != lock.name:
        raise UsageError(
            f"expected a base of the name '{lock.name}', found '{title}'",
            hint=f"--base with an older bundle of '{lock.name}'; or build without --base",
        )
    if base.sequence >= lock.sequence or base.version == lock.version:
        raise UsageError(
            f"'{lock.name}-{lock.version}' has sequence {lock.sequence}, and must be newer than "
            f"its base '{title}' with sequence {base.sequence}",
            hint="airgap lock PROFILE, which raises both where something changed",
        )
    held = {file.sha256 for file in base.files if file.artifact is not None}
    if not any(file.sha256 in held for _model, file in lock.files()):
        raise UsageError(
            f"the base '{title}' has no file of '{lock.name}-{lock.version}': a delta would leave "
            "nothing out",
            hint="build without --base",
        )


def left_out(files: Iterable[File], base: Iterable[File]) -> dict[str, str]:
    """The files that a delta leaves to its base: the path there, by the path here.

    Whoever unpacks the delta over its base finds each of them at that path afterwards: a file
    travels where its path has another content in the base, or where what the base has of its
    content is overwritten.
    """
    whole, models = tuple(files), [file for file in base if file.artifact is not None]
    here = {file.path: file.sha256 for file in whole}
    there = {file.path: file.sha256 for file in models}
    kept = {
        file.sha256: file.path for file in models if here.get(file.path, file.sha256) == file.sha256
    }
    return {
        file.path: file.path if file.path in there else kept[file.sha256]
        for file in whole
        if file.artifact is not None
        and file.sha256 in kept
        and there.get(file.path, file.sha256) == file.sha256
    }


def by_hand(base: Manifest, left: Mapping[str, str]) -> bytes:
    """For README.txt: how to make the whole tree of a delta with tar and cp alone.

    Args:
        base: the full bundle's manifest.
        left: as `left_out` gives it.
    """
    copies = "".join(
        f"  mkdir -p {_quoted(PurePosixPath(new).parent)} && cp {_quoted(old)} {_quoted(new)}\n"
        for new, old in sorted(left.items())
        if old != new
    )
    moved = f"Then copy what has another path now:\n\n{copies}" if copies else ""
    return f"""
This is a delta: it leaves {len(left)} files to {base.title}. By hand, unpack that,
then this over it.
{moved}""".encode()


def _quoted(path: object) -> str:
    return shlex.quote(str(path))
