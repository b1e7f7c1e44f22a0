"""What a server of a mounted bundle must be able to do: asked before it starts, and by `doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

from airgap.errors import UsageError
from airgap.manifest import Artifact
from runtime import emotion_models, environments
from runtime.engine.speakers import choosing
from runtime.engine.speakers.choosing import Choice, Diarization
from runtime.generation import Generation


@dataclass(frozen=True)
class Promises:
    """What will be loaded.

    Attributes:
        transcribers: the models that hear words; the first is what `whisper-1` means.
        speakers: what tells speakers apart; None where the bundle promises nothing of it.
    """

    transcribers: tuple[Artifact, ...]
    speakers: Choice | None


def kept(
    mounted: Generation, models: Sequence[str], diarization: Diarization, *, emotion: bool
) -> Promises:
    """What this host will load of a mount; no library is imported.

    Args:
        mounted: the generation.
        models: ids of the models to transcribe with; none for the only one.
        diarization: a back end, or `auto` for what the bundle promises.
        emotion: whether the emotion models are wanted.

    Raises:
        UsageError: a model is not in the bundle, or is named twice; the bundle promises what it
            does not carry, or what this host has no library for.
    """
    if len(set(models)) != len(models):
        raise UsageError(f"--model: a model is named twice in {', '.join(models)}")
    transcribers = tuple(mounted.artifact("asr", name) for name in models or (None,))
    brings = partial(environments.what_brings, mounted)
    speakers = choosing.promised(mounted.manifest, diarization, brings)
    if emotion:
        if find_spec("transformers") is None:
            raise UsageError(
                "emotion needs transformers, which is not installed",
                hint=brings("emotion"),
            )
        emotion_models.carried(mounted)
    return Promises(transcribers, speakers)
