"""Keeping a download cache in bounds: what it holds, and what has not been used for long."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from airgap.caches import Holding
from airgap.errors import AirgapError
from bundler.download_cache import DownloadCache
from bundler.partial import try_lock

KIND: Final = "downloads"
CHECKED: Final = "checked"
INCOMPLETE: Final = "incomplete"

DAY: Final = 86_400
"""Seconds."""


def contents(cache: DownloadCache) -> list[Holding]:
    """What a cache holds; nothing is changed."""
    whole, partial = list(_whole(cache)), list(_partial(cache))
    unused = min((one.st_mtime for one in _stats(whole)), default=0.0)
    since = datetime.fromtimestamp(unused, UTC).strftime("%Y-%m-%d")
    found = [
        _holding(cache, f"used since {since}", _sizes(whole), CHECKED),
        _holding(cache, "still coming", _sizes(partial), INCOMPLETE),
    ]
    return [one for one in found if one.files]


def clearable(cache: DownloadCache, keep_days: int = 0) -> list[Holding]:
    """What `clear` would remove now; nothing is changed."""
    return _cleared(cache, _sizes(_unused(cache, keep_days)))


def clear(cache: DownloadCache, keep_days: int = 0) -> list[Holding]:
    """Remove what nobody used in the last days.

    Args:
        cache: the cache.
        keep_days: 0 removes everything but what is being written now.

    Returns:
        What was removed, in one holding; empty where there was nothing.

    Raises:
        AirgapError: a build or a fetch is using the cache, or a file cannot be removed.
    """
    gone = []
    with cache.alone():
        for path in _unused(cache, keep_days):
            size = path.stat().st_size
            if _removed(path):
                gone.append(size)
        for record in _records(cache):
            if not record.with_name(record.name.partition(".")[0]).exists():
                record.unlink(missing_ok=True)
    return _cleared(cache, gone)


def _unused(cache: DownloadCache, keep_days: int) -> list[Path]:
    """Files that nobody used in the last days."""
    before = time.time() - keep_days * DAY
    found = (*_whole(cache), *_partial(cache))
    return [path for path in found for one in _stats([path]) if one.st_mtime <= before]


def _sizes(paths: Iterable[Path]) -> list[int]:
    return [one.st_size for one in _stats(paths)]


def _stats(paths: Iterable[Path]) -> Iterator[os.stat_result]:
    for path in paths:
        with suppress(FileNotFoundError):  # a fetch has renamed it meanwhile
            yield path.stat()


def _cleared(cache: DownloadCache, sizes: list[int]) -> list[Holding]:
    return [_holding(cache, "unused", sizes, CHECKED)] if sizes else []


def _holding(cache: DownloadCache, name: str, sizes: list[int], state: str) -> Holding:
    return Holding(KIND, name, str(cache.root), len(sizes), sum(sizes), state)


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
