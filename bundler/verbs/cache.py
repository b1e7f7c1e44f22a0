"""`airgap cache show|clear`: the download cache of a builder, kept in bounds."""

from __future__ import annotations

from typing import Annotated

import typer

from airgap.console import console, human_size
from airgap.verbs import options


def register(app: typer.Typer) -> None:
    """Add the verb with its two parts."""
    cache = typer.Typer(
        name="cache",
        help="The builder's download cache (AIRGAP_CACHE): what it holds, and what may go.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    cache.command("show")(show)
    cache.command("clear")(clear)
    app.add_typer(cache)


def show(json: options.Json = False) -> None:
    """Show what the download cache holds.

    \b
    Examples:
      airgap cache show
    """
    console.configure(as_json=json)
    from dataclasses import asdict
    from datetime import UTC, datetime

    from airgap import places
    from bundler.download_cache import DownloadCache
    from bundler.housekeeping import contents

    cache = DownloadCache.at(places.download_cache())
    found = contents(cache)
    unused = found.unused_since
    since = datetime.fromtimestamp(unused, UTC).strftime("%Y-%m-%d") if unused else "never"
    console.data(str(cache.root))
    console.table(
        ("", "FILES", "SIZE"),
        [
            ("whole, by SHA-256", str(found.files), human_size(found.size)),
            ("still to be completed", str(found.partial_files), human_size(found.partial_size)),
        ],
    )
    console.data(f"the file that was longest unused was last used: {since}")
    console.document("airgap/cache/v1", {"cache": str(cache.root), **asdict(found)})


def clear(
    keep_days: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Keep what was used in the last N days."),
    ] = 0,
    json: options.Json = False,
) -> None:
    """Remove files from the download cache; the next build fetches again what it needs.

    \b
    Examples:
      airgap cache clear --keep-days 30
      airgap cache clear
    """
    console.configure(as_json=json)
    from dataclasses import asdict

    from airgap import places
    from bundler.download_cache import DownloadCache
    from bundler.housekeeping import clear as clear_cache

    cache = DownloadCache.at(places.download_cache())
    gone = clear_cache(cache, keep_days)
    console.data(f"{gone.files} files, {human_size(gone.size)}, removed from '{cache.root}'")
    console.document("airgap/cache-clear/v1", {"cache": str(cache.root), **asdict(gone)})
