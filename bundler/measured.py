"""What dry-loads took on this builder: kept in the download cache for `plan`, never in a bundle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from airgap.files import write_whole
from airgap.limits import MIB
from bundler.download_cache import DownloadCache
from bundler.layout import Tree

SCHEMA: Final = "airgap/measured/v1"
MOST: Final = 4 * MIB
"""Bytes of the file; a model takes a hundred."""


@dataclass(frozen=True)
class Measured:
    """One load: seconds, and the most memory that its process had, in bytes, libraries included."""

    seconds: float
    peak: int


def key(digests: Iterable[str | None]) -> str:
    """A model by what it consists of: the same files load alike, under whatever name."""
    return hashlib.sha256("\n".join(sorted(filter(None, digests))).encode()).hexdigest()


def remember(cache: DownloadCache, model: str, tree: Tree, measured: Measured) -> None:
    """Keep what loading a model took. Raises AirgapError where the cache cannot be written."""
    digests = [one.file.sha256 for one in tree.locked if one.artifact == model]
    models = _read(cache)
    models[key(digests)] = {"seconds": measured.seconds, "peak": measured.peak}
    content = json.dumps({"schema": SCHEMA, "models": models}, indent=2, sort_keys=True)
    write_whole(cache.measured, content.encode() + b"\n")


def recall(cache: DownloadCache, digests: Iterable[str | None]) -> Measured | None:
    """What loading the model of these files took; None where it was never loaded here."""
    found = _read(cache).get(key(digests))
    try:
        return Measured(float(found["seconds"]), int(found["peak"])) if found else None
    except (KeyError, TypeError, ValueError):
        return None


def _read(cache: DownloadCache) -> dict[str, Any]:
    """The models that were measured; none where the file is missing or is not ours."""
    try:
        with cache.measured.open("rb") as stream:
            document = json.loads(stream.read(MOST))
        models = document["models"] if document["schema"] == SCHEMA else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return models if isinstance(models, dict) else {}
