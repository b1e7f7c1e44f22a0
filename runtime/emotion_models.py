"""A mount's emotion models, loaded: the one way from a generation to them, for every verb."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airgap.console import Advance, quietly
from airgap.errors import AirgapError, UsageError
from airgap.licences import is_non_commercial
from airgap.manifest import Artifact
from runtime import environments, loading
from runtime.generation import Generation

if TYPE_CHECKING:
    from runtime.engine.emotion.model import EmotionModel
    from runtime.engine.hardware import Hardware

ROLE = "emotion"


def carried(mounted: Generation) -> tuple[Artifact, ...]:
    """The emotion models of a mount, at least one.

    Raises:
        UsageError: its bundle carries none.
    """
    found = tuple(one for one in mounted.manifest.artifacts if one.role == ROLE)
    if not found:
        raise UsageError(
            f"expected a model of the role {ROLE} in '{mounted.statement.title}', found: none",
            hint="airgap list, which shows what each mounted bundle carries",
        )
    return found


def size(mounted: Generation) -> int:
    """Bytes of the files of all of them, for a progress bar."""
    return sum(file.size for one in carried(mounted) for file in mounted.manifest.files_of(one))


def load(
    mounted: Generation, hardware: Hardware, advance: Advance = quietly
) -> tuple[EmotionModel, ...]:
    """Every emotion model of a mount, from bytes that were compared with the signed manifest.

    They are read into memory whichever way the transcriber is loaded: they come one at a time.

    Raises:
        UsageError: the bundle carries none.
        DamagedError: a file is not the one that was signed.
        AirgapError: the libraries are not installed, or a model is not one that they can run.
    """
    artifacts = carried(mounted)
    try:
        from runtime.engine.emotion.model import EmotionModel  # noqa: PLC0415 - takes seconds
    except ImportError as error:
        raise AirgapError(
            f"emotion needs torch and transformers, which do not work here: {error}",
            hint=environments.what_brings(mounted, "emotion"),
        ) from error
    return tuple(
        EmotionModel.from_buffers(one.id, loading.buffers(mounted, one, advance), hardware)
        for one in artifacts
    )


def licence_warnings(mounted: Generation) -> list[str]:
    """A sentence for each emotion model of a mount that may not be used commercially."""
    return [
        f"{one.id} may not be used commercially: its licence is {one.licence}"
        for one in carried(mounted)
        if is_non_commercial(one.licence)
    ]
