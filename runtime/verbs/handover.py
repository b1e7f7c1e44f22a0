"""A verb that needs the engine goes on in the runtime that the mounted bundle brought."""

from __future__ import annotations

import os
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from airgap.errors import AirgapError
from airgap.verbs import options


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
    command = runtime_of(root, bundle)
    if command is not None:
        become(command)


def become(command: Path) -> None:
    """Go on as a runtime's command, with this command line. Raises AirgapError where it fails."""
    try:
        os.execv(command, [str(command), *sys.argv[1:]])  # noqa: S606 - installed of signed wheels
    except OSError as error:
        raise AirgapError(
            f"cannot run '{command}': {error.strerror}", hint="airgap runtime install"
        ) from error


def runtime_of(root: Path, bundle: str | None) -> Path | None:
    """The command to go on by; None where an engine is installed here, or no runtime there.

    Raises:
        UsageError: nothing is mounted, or several bundles and none was named.
        AirgapError: what is mounted cannot be read.
        DamagedError: it was changed after it was mounted.
    """
    if find_spec("faster_whisper") is not None:
        return None
    from runtime import environments, generation

    with generation.current(root, bundle) as one:
        runtime = environments.of(root, one.folder)
        if runtime is None or environments.runs_this(root, runtime.folder.name):
            return None
        return environments.stable_command(one)


def require(module: str, extra: str, verb: str, root: Path, bundle: str | None) -> None:
    """Refuse, once nothing was handed over, what this environment lacks a library for.

    Args:
        module: as it is imported.
        extra: of ours that installs it.
        verb: as it is typed.
        root: the host's.
        bundle: the name of a mounted bundle; None for the only one.

    Raises:
        UsageError: it is not installed; with what brings it, the mounted bundle if that does. Or
            nothing is mounted, or several bundles and none was named.
    """
    if find_spec(module) is not None:
        return
    from runtime import environments, generation

    with generation.current(root, bundle) as one:
        options.require(module, extra, verb, partial(environments.what_brings, one))
