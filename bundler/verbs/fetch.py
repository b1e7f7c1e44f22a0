"""`airgap fetch`: the bytes of a lock, into the download cache."""

from __future__ import annotations

import typer

from airgap.console import console
from airgap.verbs import options
from bundler.verbs.profile import ProfileName


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("fetch")(fetch)


def fetch(profile: ProfileName, json: options.Json = False, quiet: options.Quiet = False) -> None:
    """Download every file of a lock into the download cache (AIRGAP_CACHE), checked.

    What is there already is not fetched again; `airgap build` then needs no network.

    \b
    Examples:
      airgap fetch demo
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap.console import human_size
    from bundler import fetch as fetching
    from bundler.lock import read_lock
    from bundler.profile import read_profile
    from bundler.sources.environment import access_for, require_libraries

    require_libraries("fetch")
    path, wanted = read_profile(profile)
    access = access_for(path)
    fetched = fetching.fetch(read_lock(path, wanted), access)
    count, size = len(fetched.paths), human_size(fetched.downloaded)
    console.say(f"{count} files in '{access.cache.root}', {size} of them fetched now")
    console.document(
        "airgap/fetch/v1",
        {
            "cache": str(access.cache.root),
            "downloaded": fetched.downloaded,
            "files": {sha256: str(path) for sha256, path in sorted(fetched.paths.items())},
        },
    )
