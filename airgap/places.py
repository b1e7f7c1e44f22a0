"""Where things lie: the isolated host's root, the builder's keys and cache, short-lived copies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from airgap.errors import UsageError

SYSTEM_ROOT: Final = Path("/var/lib/airgap")
MOUNTS: Final = "mounts"
"""Under the isolated host's root: what is mounted."""

SYSTEM_TRUST: Final = Path("/etc/airgap/trust")


def isolated_root(option: Path | None) -> Path:
    """The one root of an isolated host.

    `--root`, else AIRGAP_ROOT, else /var/lib/airgap where it is writable, else the user's
    data folder (XDG_DATA_HOME).
    """
    if option is not None:
        return option.absolute()
    if named := os.environ.get("AIRGAP_ROOT"):
        return Path(named).absolute()
    if os.access(SYSTEM_ROOT, os.W_OK):
        return SYSTEM_ROOT
    return _xdg("XDG_DATA_HOME", ".local/share") / "airgap"


def download_cache() -> Path:
    """The builder's files by SHA-256: AIRGAP_CACHE, else `airgap` in the user's cache folder."""
    if named := os.environ.get("AIRGAP_CACHE"):
        return Path(named).absolute()
    return _xdg("XDG_CACHE_HOME", ".cache") / "airgap"


def key_folder() -> Path:
    """Where `keygen` puts keys and `--key NAME` finds them: AIRGAP_KEYS, else the user's config."""
    if named := os.environ.get("AIRGAP_KEYS"):
        return Path(named).absolute()
    return _xdg("XDG_CONFIG_HOME", ".config") / "airgap" / "keys"


def spool(root: Path) -> Path:
    """Where a server keeps large recordings while they are heard: AIRGAP_SPOOL, else in its root.

    A root that a container may not write has no room for them.
    """
    named = os.environ.get("AIRGAP_SPOOL")
    return Path(named).absolute() if named else root / "spool"


def temporary() -> Path:
    """Where a process may always write for a moment: TMPDIR, else /tmp.

    Not Python's own choice: that goes on to other folders in silence, and the server gives it
    another meaning.
    """
    named = os.environ.get("TMPDIR", "")
    return Path(named if named.startswith("/") else "/tmp")  # noqa: S108 - only private folders are made in it


def _xdg(variable: str, fallback: str) -> Path:
    """A base folder of the XDG specification, which wants relative values ignored."""
    named = os.environ.get(variable, "")
    return Path(named) if named.startswith("/") else home() / fallback


def home() -> Path:
    """The user's home. Raises UsageError where there is none, as for a container's bare number."""
    try:
        return Path.home()
    except RuntimeError as error:
        raise UsageError(
            f"user {os.geteuid()} has no home folder",
            hint="set HOME, or name the place: --root or AIRGAP_ROOT, AIRGAP_CACHE, AIRGAP_KEYS",
        ) from error
