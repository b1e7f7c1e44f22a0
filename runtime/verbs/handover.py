"""A verb that needs the engine goes on in the runtime that the mounted bundle brought."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from airgap.errors import AirgapError


def to_runtime(root: Path, bundle: str | None) -> None:
    """Become the installed runtime of what is mounted, where no engine is installed here.

    Returns where there is one, or no runtime to go on in: the verb then says what it needs. The
    path stays from one generation to the next, so that what a unit file has of it does too.

    Args:
        root: the host's.
        bundle: the name of a mounted bundle; None for the only one.

    Raises:
        UsageError: nothing is mounted, or several bundles and none was named.
        AirgapError: the runtime does not run.
    """
    if find_spec("faster_whisper") is not None:
        return
    from runtime import environments, generation

    with generation.current(root, bundle) as one:
        runtime = environments.of(root, one.folder)
        command = environments.stable_command(one)
    if runtime is None or environments.runs_this(root, runtime.folder.name):
        return
    try:
        os.execv(command, [str(command), *sys.argv[1:]])  # noqa: S606 - installed of signed wheels
    except OSError as error:
        raise AirgapError(
            f"cannot run '{command}': {error.strerror}", hint="airgap runtime install"
        ) from error
