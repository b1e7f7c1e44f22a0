"""The builder's part of `airgap cache`: the download cache, and a key by what a lock names."""

from __future__ import annotations

from pathlib import Path

import typer

from airgap.caches import Holding, Request, Side
from airgap.verbs.cache import DOWNLOADS, Caches


class Downloads(Side):
    """The files by SHA-256 that builds fetched."""

    kinds = (DOWNLOADS,)

    def holdings(self, _root: Path | None, /) -> list[Holding]:
        """Whole files, and what is still coming."""
        from airgap import places
        from bundler.download_cache import DownloadCache
        from bundler.housekeeping import contents

        return contents(DownloadCache.at(places.download_cache()))

    def clear(self, request: Request, /, *, dry_run: bool) -> list[Holding]:
        """Remove what nobody used in the days that are to be kept; the next build fetches it."""
        from airgap import places
        from bundler.download_cache import DownloadCache
        from bundler.housekeeping import clear, clearable

        going = clearable if dry_run else clear
        return going(DownloadCache.at(places.download_cache()), request.keep_days or 0)

    def key(self, name: str | None, _root: Path | None, /) -> str | None:
        """By the lock of a profile; None where none is named."""
        from airgap.caches import key
        from bundler.lock import read_lock
        from bundler.profile import read_profile

        if name is None:
            return None
        lock = read_lock(*read_profile(name))
        lock.check_complete()
        return key(lock.name, (str(file.sha256) for _model, file in lock.files()))


def register(app: typer.Typer) -> None:
    """Add the builder's cache to the verb."""
    Caches.of(app).sides.append(Downloads())
