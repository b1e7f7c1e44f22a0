"""Keeping a download cache in bounds: what it holds, and what has not been used for long."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airgap.errors import AirgapError
from bundler.download_cache import DownloadCache
from bundler.partial import try_lock

DAY: Final = 86_400
"""Seconds."""


@dataclass(frozen=True)
class Contents:
    """What a cache holds. Sizes in bytes, times in seconds since 1970.

    Attributes:
        files, size: whole files.
        partial_files, partial_size: files that are still to be completed.
        unused_since: when the file that nobody used for longest was used; None where there is none.
    """

    files: int
    size: int
    partial_files: int
    partial_size: int
    unused_since: float | None


@dataclass(frozen=True)
class Cleared:
    """What was removed."""

    files: int
    size: int


def contents(cache: DownloadCache) -> Contents:
    """Look, and change nothing."""
    whole = [path.stat() for path in _whole(cache)]
    partial = [path.stat().st_size for path in _partial(cache)]
    return Contents(
        files=len(whole),
        size=sum(found.st_size for found in whole),
        partial_files=len(partial),
        partial_size=sum(partial),
        unused_since=min((found.st_mtime for found in whole), default=None),
    )


def clear(cache: DownloadCache, keep_days: int = 0) -> Cleared:
    """Remove what nobody used in the last days.

    Args:
        cache: the cache.
        keep_days: 0 removes everything but what is being written now.

    Raises:
        AirgapError: a build or a fetch is using the cache, or a file cannot be removed.
    """
    before = time.time() - keep_days * DAY
    files = size = 0
    with cache.alone():
        for path in (*_whole(cache), *_partial(cache)):
            found = path.stat()
            if found.st_mtime <= before and _removed(path):
                files, size = files + 1, size + found.st_size
        for record in _records(cache):
            if not record.with_name(record.name.partition(".")[0]).exists():
                record.unlink(missing_ok=True)
    return Cleared(files, size)


def _removed(path: Path) -> bool:
    """Remove a file that nobody is writing; whether it went."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if not try_lock(descriptor):
                return False
            path.unlink()
        finally:
            os.close(descriptor)
    except OSError as error:
        raise AirgapError(f"cannot remove '{path}': {error.strerror}") from error
    return True


def _whole(cache: DownloadCache) -> Iterator[Path]:
    return (path for path in sorted(cache.root.glob("sha256/*/*")) if _is_plain(path))


def _partial(cache: DownloadCache) -> Iterator[Path]:
    found = sorted(cache.root.glob("partial/*"))
    return (path for path in found if _is_plain(path) and "." not in path.name)


def _records(cache: DownloadCache) -> Iterator[Path]:
    return (path for path in sorted(cache.root.glob("partial/*.json*")) if _is_plain(path))


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
