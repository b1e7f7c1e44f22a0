"""`airgap fetch`: the bytes of a lock, into the download cache; and caches between machines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console, human_size
from airgap.verbs import options
from bundler.verbs.reaching import CaBundle

if TYPE_CHECKING:
    from bundler.download_cache import DownloadCache
    from bundler.fetch import Fetched


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("fetch")(fetch)


def fetch(
    profile: Annotated[
        str | None,
        typer.Argument(
            metavar="[PROFILE]",
            help="A shipped profile's name, or a file's path; without it, --export and --import "
            "take the whole download cache.",
            show_default=False,
        ),
    ] = None,
    export_to: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FOLDER",
            help="Then copy the files there, for another machine.",
            show_default=False,
        ),
    ] = None,
    import_from: Annotated[
        Path | None,
        typer.Option(
            "--import",
            metavar="FOLDER",
            help="Take files from there first, each checked; what it lacks is downloaded.",
            show_default=False,
        ),
    ] = None,
    ca_bundle: CaBundle = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Download every file of a lock into the download cache (AIRGAP_CACHE), checked.

    What is there already is not fetched again, and what was interrupted goes on where it broke
    off; `airgap build` then needs no network.

    \b
    Examples:
      airgap fetch demo
      airgap fetch gpu-full --export /media/usb/cache
      airgap fetch --import /media/usb/cache
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places
    from airgap.errors import UsageError
    from bundler.download_cache import DownloadCache
    from bundler.sources.environment import require_libraries

    if profile is None and export_to is None and import_from is None:
        raise UsageError("which profile? fetch takes one, or --export or --import", hint=_HINT)
    if import_from is not None and not (import_from / "sha256").is_dir():
        raise UsageError(f"--import: '{import_from}' was not made by `airgap fetch --export`")
    if profile is not None:
        require_libraries("fetch")
    cache = DownloadCache.at(places.download_cache())
    if import_from is not None:
        _exchange(DownloadCache.at(import_from), cache, profile)
    fetched = None if profile is None else _fetch(profile, ca_bundle)
    if export_to is not None:
        _exchange(cache, DownloadCache.exported(export_to), profile)
    _report(cache, fetched)


_HINT = "airgap fetch demo"


def _fetch(profile: str, ca_bundle: Path | None) -> Fetched:
    from bundler.fetch import fetch as fetch_files
    from bundler.lock import read_lock
    from bundler.profile import read_profile
    from bundler.sources.environment import access_for

    path, wanted = read_profile(profile)
    return fetch_files(read_lock(path, wanted), access_for(path, ca_bundle))


def _exchange(source: DownloadCache, target: DownloadCache, profile: str | None) -> None:
    """Copy what the profile's lock names, or everything, as far as it is there."""
    from airgap import places
    from bundler.download_cache import DownloadCache
    from bundler.exchange import copy_files

    with DownloadCache.at(places.download_cache()).used():  # the other may be read-only
        digests = source.digests() if profile is None else _named(profile)
        copied = copy_files(source, target, digests)
    size = human_size(copied.bytes)
    console.say(f"{copied.files} files, {size}, copied and checked into '{target.root}'")


def _named(profile: str) -> list[str]:
    from bundler.lock import read_lock
    from bundler.profile import read_profile

    path, wanted = read_profile(profile)
    lock = read_lock(path, wanted)
    lock.check_complete()
    return [file.sha256 for _, file in lock.files() if file.sha256]


def _report(cache: DownloadCache, fetched: Fetched | None) -> None:
    paths = fetched.paths if fetched else {one: cache.path(one) for one in cache.digests()}
    downloaded = fetched.downloaded if fetched else 0
    story = f"{len(paths)} files in '{cache.root}', {human_size(downloaded)} of them fetched now"
    console.say(story)
    console.document(
        "airgap/fetch/v1",
        {
            "cache": str(cache.root),
            "downloaded": downloaded,
            "files": {sha256: str(path) for sha256, path in sorted(paths.items())},
            "served": dict(sorted(fetched.served.items())) if fetched else {},
        },
    )
