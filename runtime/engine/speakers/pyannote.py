"""pyannote 4 as a back end: a pipeline's folder and samples -> turns.

Turns overlap where people do: `speaker_diarization`, not its exclusive variant. Who speaks over
whom is heard once and kept for every format; which of two speakers a word goes to is decided
where words meet turns, by one rule for every back end.
"""

from __future__ import annotations

import importlib
import os
import pickle
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from airgap.errors import AirgapError, UsageError
from runtime import torchaudio_cpu
from runtime.engine.audio import SAMPLE_RATE, Samples
from runtime.engine.hardware import Hardware
from runtime.engine.speakers import pyannote_pipeline
from runtime.engine.speakers.diarizer import Diarizer, SpeakerHints
from runtime.engine.speakers.turns import numbered
from runtime.engine.transcript import Turn

ROLE: Final = "diarization"
"""The role of the artifact that is the pipeline; the others are what it names."""

INSTALL: Final = "pip install 'airgap-bundler[pyannote]'"

_FOREIGN: Final = (
    *(RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError),
    *(OSError, EOFError, MemoryError, ImportError, AssertionError, pickle.UnpicklingError),
)
"""What torch, lightning and pyannote raise for a model or a recording that they cannot take."""


def load(files: Mapping[str, Path], hardware: Hardware) -> Diarizer:
    """Load a pipeline with everything that it names.

    Args:
        files: role -> folder of that artifact, absolute, inside a private copy whose files were
            verified as it was made, laid out as the bundle's tree: the pipeline names its parts
            relative to itself.
        hardware: what to load it for; the arithmetic is always float32.

    Raises:
        AirgapError: pyannote is not installed or does not start here, or the pipeline is
            incomplete, names something outside `files`, or does not load.
    """
    folder = files[ROLE]
    checkpoints = pyannote_pipeline.check_pipeline(folder, files.values())
    library = _library()
    import torch  # noqa: PLC0415 - takes seconds

    if hardware.device == "cuda" and not torch.cuda.is_available():
        raise AirgapError(
            "device 'cuda': the installed torch sees no GPU",
            hint="install torch for CUDA, or give --device cpu",
        )
    torch.set_num_threads(hardware.threads)
    with _loading(folder):
        for checkpoint in checkpoints:
            pyannote_pipeline.check_checkpoint(checkpoint)
        pipeline = library.Pipeline.from_pretrained(folder)
        pipeline.to(torch.device(hardware.device))
    if hardware.device == "cpu":
        # Published pipelines ask for 32, which suits GPUs: one voice at a time takes 8 seconds
        # of a CPU where 32 take 13 (WeSpeaker ResNet34, 14 s of speech, one thread).
        pipeline.embedding_batch_size = 1
    return PyannoteDiarizer(pipeline)


def load_part(role: str, folder: Path) -> None:
    """Load what a pipeline is made of by itself, as a pipeline would; nothing is kept.

    Args:
        role: `segmentation`, `speaker-embedding` or `plda`.
        folder: of the artifact; its files may lie below it.

    Raises:
        AirgapError: pyannote does not start here, or the part is incomplete or does not load.
    """
    library = _library()
    wanted = "plda.npz" if role == "plda" else pyannote_pipeline.CHECKPOINT
    found = sorted(folder.rglob(wanted))
    if not found:
        raise AirgapError(f"'{folder}' has no '{wanted}'")
    for file in found:
        with _loading(file):
            if role == "plda":
                importlib.import_module("pyannote.audio.core.plda").PLDA.from_pretrained(
                    file.parent
                )
            else:
                pyannote_pipeline.check_checkpoint(file)
                library.Model.from_pretrained(file)


@contextmanager
def _loading(path: Path) -> Iterator[None]:
    """Data alone is read, nothing is printed, and what the libraries raise is ours."""
    words = importlib.import_module("pyannote.audio.utils.dependencies")
    try:
        with pyannote_pipeline.weights_only(), _silence():
            yield
    except (*_FOREIGN, words.MissingDependency, words.WrongDependencyVersion) as error:
        raise AirgapError(f"pyannote cannot load '{path}': {_brief(error)}") from error


class PyannoteDiarizer:
    """A loaded pipeline. Made by `load`.

    Attributes:
        name: `pyannote`.
        most: None: it tells apart as many speakers as there are.
    """

    name = "pyannote"
    most: int | None = None

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    def diarize(self, samples: Samples, hints: SpeakerHints) -> tuple[Turn, ...]:
        """Who speaks when, as `Diarizer` says; turns of different speakers overlap.

        Raises:
            UsageError: another number of speakers was heard than the hints allow.
            AirgapError: pyannote failed.
        """
        if not len(samples):
            return ()
        import torch  # noqa: PLC0415 - loaded already

        try:
            with _silence():
                heard = self._pipeline(
                    {"waveform": torch.from_numpy(samples)[None], "sample_rate": SAMPLE_RATE},
                    num_speakers=hints.number,
                    min_speakers=hints.at_least,
                    max_speakers=hints.at_most,
                )
        except _FOREIGN as error:
            raise AirgapError(f"pyannote failed on this recording: {_brief(error)}") from error
        tracks = heard.speaker_diarization.itertracks(yield_label=True)
        turns = numbered(
            (Turn(float(at.start), float(at.end), str(who)) for at, _, who in tracks),
            len(samples) / SAMPLE_RATE,
        )
        _check_number(turns, hints)
        return turns


def _check_number(turns: tuple[Turn, ...], hints: SpeakerHints) -> None:
    """The library only warns where it could not make as many speakers as it was told."""
    found = len({turn.speaker for turn in turns})
    least = hints.number or hints.at_least or 0
    most = hints.number or hints.at_most or found
    if turns and not least <= found <= most:
        wanted = str(least) if least == most else f"{least or 1} to {hints.at_most or 'any number'}"
        raise UsageError(
            f"speakers: expected {wanted}, and pyannote could tell {found} apart",
            hint="ask without the number; short recordings hold too little of each voice",
        )


def _library() -> Any:
    """pyannote.audio, its telemetry off, and without NeMo where that is not loaded already."""
    # Read when it is imported, and again at each use.
    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
    try:
        with _silence(), _without_nemo():
            importlib.import_module("pyannote.audio.pipelines")
            return importlib.import_module("pyannote.audio")
    except ModuleNotFoundError as error:
        raise AirgapError(
            f"speakers by pyannote need a library that is not installed: {error.name}",
            hint=INSTALL,
        ) from error
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        hint = torchaudio_cpu.MEND if torchaudio_cpu.mends(error) else INSTALL
        raise AirgapError(f"pyannote does not start here: {_brief(error)}", hint=hint) from error


@contextmanager
def _without_nemo() -> Iterator[None]:
    """Let pyannote believe that NeMo is not installed.

    It imports NeMo to use speaker models of NeMo's, which a bundle never asks it for, at the
    cost of five seconds and 600 MB. A None in `sys.modules` is Python's own way to say that a
    module cannot be imported.
    """
    if "nemo" in sys.modules:
        yield
        return
    sys.modules["nemo"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["nemo"]


@contextmanager
def _silence() -> Iterator[None]:
    """No warnings: of torchcodec, which is never used, of means over speakers who are silent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _brief(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
