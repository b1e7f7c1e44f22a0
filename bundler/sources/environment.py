"""How this machine reaches its sources: the hub, pip's index, S3, proxies, AIRGAP_CACHE."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from airgap import authorities
from airgap.errors import UsageError
from airgap.places import download_cache
from bundler.download_cache import DownloadCache
from bundler.sources import Access
from bundler.sources.huggingface import Hub
from bundler.sources.pypi import Index


def access_for(profile: Path, ca_bundle: Path | None = None) -> Access:
    """The access of this machine for the lock beside `profile`. Reads no network.

    Args:
        profile: local sources are relative to its folder.
        ca_bundle: `--ca-bundle`: the certificate authorities that every source trusts.
    """
    authorities.trust(ca_bundle)
    return Access(
        hub=Hub.from_environment(),
        index=Index(),
        cache=DownloadCache.at(download_cache()),
        folder=profile.parent,
    )


def require_libraries(verb: str) -> None:
    """Raise UsageError where the libraries of the `[bundler]` extra are not installed."""
    needed = ("huggingface_hub", "jinja2", "packaging", "pypi_simple", "requests", "uv")
    if lacking := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise UsageError(
            f"`airgap {verb}` belongs to the connected side: {', '.join(lacking)} is not installed",
            hint="pip install 'airgap-bundler[bundler]'",
        )
