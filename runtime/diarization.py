"""A mounted diarization back end, loaded: the one way from a generation to a diarizer."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from airgap.console import Advance, quietly
from runtime import loading
from runtime.generation import Generation

if TYPE_CHECKING:
    from runtime.engine.hardware import Hardware
    from runtime.engine.speakers.choosing import Choice
    from runtime.engine.speakers.diarizer import Diarizer


def load(
    mounted: Generation, choice: Choice, hardware: Hardware, advance: Advance = quietly
) -> Diarizer:
    """The back end with models whose bytes are those that were signed.

    Its libraries take paths, so it loads from a private copy, which is gone when this returns.

    Args:
        mounted: the generation.
        choice: of its manifest.
        hardware: what to load it for.
        advance: told the bytes that are done.

    Raises:
        DamagedError: a file is not the one that was signed.
        AirgapError: a file is missing, there is no space for the copy, or the back end cannot
            load it.
    """
    with loading.private_copy(mounted, choice.artifacts, advance) as folder:
        files = {role: folder / artifact.path for role, artifact in choice.by_role.items()}
        diarizer: Diarizer = import_module(choice.back_end.module).load(files, hardware)
        return diarizer


def announced(choice: Choice, mounted: Generation) -> str:
    """The line for a log: what tells speakers apart, from what."""
    models = ", ".join(artifact.id for artifact in choice.artifacts)
    return (
        f"Speakers are told apart by {choice.back_end.name}: {models} from "
        f"{mounted.statement.title}; approval code {mounted.approval_code}"
    )
