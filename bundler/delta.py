"""What a delta leaves to its base: each model file whose content the base has, by SHA-256.

A content that the base has under another path is left out as well: a new commit of a repository
moves every file of its snapshot, and changes few. The bundle's own papers always travel.
"""

from __future__ import annotations

from collections.abc import Iterable

from airgap.manifest import File


def carried(files: Iterable[File], base: Iterable[File]) -> tuple[File, ...]:
    """Those of `files` that a delta holds itself, in their order.

    Args:
        files: of the whole bundle.
        base: of the full bundle that it builds on.
    """
    held = {file.sha256 for file in base}
    return tuple(file for file in files if file.artifact is None or file.sha256 not in held)
