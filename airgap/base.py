"""The base of a delta: whether a bundle is the one that a delta names, and holds what it lacks.

A host that mounts a delta does not ask this: it takes from its store what has the digest that the
delta's signers vouch for, whichever bundle brought it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from airgap import frames
from airgap.archive import OpenBundle
from airgap.errors import UntrustedError, UsageError
from airgap.manifest import File

_NAMED_FILES: Final = 8
"""How many files an error names; a delta can leave thousands."""


def check(delta: OpenBundle, base: OpenBundle) -> None:
    """Compare a delta's manifest with that of its base; no frame is read.

    Args:
        delta: whose signatures satisfied a policy.
        base: whose signatures satisfied the same.

    Raises:
        UsageError: `delta` is a full bundle, and has no base.
        UntrustedError: `base` is another bundle than the one that was signed for, is itself a
            delta, or lacks files that the delta leaves to it.
    """
    named = delta.statement.base
    title, found = delta.statement.title, base.statement.title
    if named is None:
        raise UsageError(
            f"'{title}' is a full bundle, and needs no base",
            hint="the same command without --base",
        )
    digest = frames.digest(base.manifest.to_bytes(), delta.statement.hash).hex()
    if digest != named.manifest:
        raise UntrustedError(
            f"'{title}' builds on '{named.title}' whose manifest.json has the digest "
            f"{named.manifest}; '{base.source.name}' is '{found}', and its has {digest}",
            rule="delta.base",
            hint=f"--base with the '{named.title}' that it was built on",
        )
    if base.statement.base is not None:
        raise UntrustedError(
            f"the base '{found}' of '{title}' is itself a delta, and a base is a full bundle",
            rule="delta.base",
            hint="ask the builder for a full bundle",
        )
    held = {(file.sha256, file.size) for file in base.manifest.files}
    if lacking := [f for f in delta.manifest.left_to_base if (f.sha256, f.size) not in held]:
        raise UntrustedError(
            f"'{title}' leaves {listed(lacking)} to its base '{found}', which has none of that "
            "content",
            rule="delta.files",
            hint="ask the builder for a full bundle",
        )


def listed(files: Iterable[File]) -> str:
    """Files in an error's words: the first few by path, and how many more."""
    paths = [f"'{file.path}'" for file in files]
    more = f" and {len(paths) - _NAMED_FILES} more" if len(paths) > _NAMED_FILES else ""
    return f"{', '.join(paths[:_NAMED_FILES])}{more}"
