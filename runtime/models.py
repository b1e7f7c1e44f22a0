"""A mounted model, loaded: the one way from a generation to an engine, for every verb."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from airgap.audit import AuditLog
from airgap.console import Advance, quietly
from airgap.errors import AirgapError
from airgap.manifest import Artifact
from runtime import loading
from runtime.engine.hardware import Hardware
from runtime.engine.whisper import WhisperEngine
from runtime.generation import Generation
from runtime.verified_load import VerifiedLoad


class Loaded(Protocol):
    """A model in memory, of whatever kind."""

    @property
    def name(self) -> str:
        """Its id in the bundle."""

    @property
    def hardware(self) -> Hardware:
        """What it was loaded for."""


def load(
    mounted: Generation,
    artifact: Artifact,
    hardware: Hardware,
    way: VerifiedLoad = VerifiedLoad.BUFFER,
    advance: Advance = quietly,
) -> WhisperEngine:
    """The engine with a model whose bytes are those that were signed.

    Args:
        mounted: the generation.
        artifact: of its manifest, with the role `asr`.
        hardware: what to load it for.
        way: `buffer` gives the engine the memory that was hashed; `path` hashes in place.
        advance: told the bytes that are done.

    Raises:
        DamagedError: a file is not the one that was signed.
        AirgapError: a file is missing, or the engine cannot load them.
    """
    if way is VerifiedLoad.BUFFER:
        files = loading.buffers(mounted, artifact, advance)
        return WhisperEngine.from_buffers(artifact.id, files, hardware)
    folder = loading.folder(mounted, artifact, advance)
    return WhisperEngine.from_folder(artifact.id, folder, hardware)


def announced(engine: Loaded, mounted: Generation) -> str:
    """The line for a log: which model was loaded, from what, for what."""
    return (
        f"Model loaded successfully: {engine.name} from {mounted.statement.title} "
        f"({engine.hardware}); approval code {mounted.approval_code}"
    )


def record(model: str, mounted: Generation, root: Path) -> str | None:
    """Note in this host's audit log which model answers.

    Returns:
        Why it is not there, for whoever may not write it; None where it is.
    """
    try:
        AuditLog.of(root).append(
            "model-loaded",
            model=model,
            bundle=mounted.statement.title,
            approval_code=mounted.approval_code.replace(" ", ""),
        )
    except AirgapError as error:
        return f"not in the audit log: {error.message}"
    return None
