"""USE_S3_MODELS: the newest bundle of the site's bucket is mounted before a server starts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from airgap.console import console
from airgap.errors import AirgapError, UsageError

VARIABLE: Final = "USE_S3_MODELS"

_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"", "0", "false", "no", "off"})


def mount_newest(root: Path, name: str | None) -> str | None:
    """Pull, verify and mount what is newer than what is mounted, where USE_S3_MODELS asks for it.

    The variable is spent: whatever this process becomes does not look again. A store that cannot
    be reached, or holds nothing that this host believes, stops no server that has a mount: what is
    mounted was verified when it came.

    Args:
        root: the host's.
        name: of the bundle that is to be served; None for the only one.

    Returns:
        The name of the bundle that is to be served; `name` where nothing was asked for.

    Raises:
        UsageError: the variable says neither yes nor no, or boto3 is not installed.
        AirgapError: nothing could be had, and nothing is mounted.
    """
    if not _asked():
        return name
    from airgap import authorities, object_store
    from airgap.verbs import options
    from runtime import generation
    from runtime.site import newest, reaching
    from runtime.verbs import mount

    options.require("boto3", "site", f"{VARIABLE}=true airgap serve")
    authorities.trust(None)
    bucket, out = object_store.usual_bucket(), root / "pulled"
    try:
        _sweep(out)
        found, pulled = newest.pull_newer(bucket, root, name, out, reaching.PATIENCE)
        if pulled is not None:
            mount.mount(pulled.bundle, root=root)
    except UsageError:
        raise
    except AirgapError as error:
        mounted = generation.mounted(root)
        if not (name in mounted if name else mounted):
            raise
        console.warn(f"what is mounted is served, for nothing newer came: {error.message}")
        return name
    finally:
        _sweep(out)
    return found


def _sweep(out: Path) -> None:
    """Remove what was pulled: it is mounted, or will not be. What is still coming stays."""
    for path in out.iterdir() if out.is_dir() else ():
        if not path.name.startswith("."):
            shutil.rmtree(path, ignore_errors=True)


def _asked() -> bool:
    said = os.environ.pop(VARIABLE, "").strip().lower()
    if said not in _YES | _NO:
        raise UsageError(f"{VARIABLE} is '{said}'", hint=f"{VARIABLE}=true, or false")
    return said in _YES
