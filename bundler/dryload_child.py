"""Loads one model as the isolated host will, in a process that has left the network for good.

Run as a program, by `bundler.dryload` alone: `python -m bundler.dryload_child ENGINE ROLE
FOLDER`. The one place of this side that imports the isolated side: what is tried must be what
will run.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from airgap.errors import AirgapError
from runtime import offline


def main(engine: str, role: str, folder: Path) -> int:
    """Load, and print one JSON line: `seconds`, `peak` in bytes, or `error`."""
    try:
        offline.leave_network()
        before = time.perf_counter()
        _LOADERS[engine](role, folder)
        seconds = time.perf_counter() - before
    except AirgapError as error:
        print(json.dumps({"error": error.message}))  # noqa: T201 - this is how it answers
        return 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": round(seconds, 2), "peak": peak}))  # noqa: T201 - likewise
    return 0


def _faster_whisper(_role: str, folder: Path) -> None:
    """From memory, as `airgap transcribe` loads; on the CPU, which every builder has."""
    from runtime.engine.hardware import find_hardware  # noqa: PLC0415 - after the network is left
    from runtime.engine.whisper import WhisperEngine  # noqa: PLC0415 - after the network is left

    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    WhisperEngine.from_buffers(folder.name, files, find_hardware("cpu"))


def _pyannote(role: str, folder: Path) -> None:
    """A pipeline with what it names, and a second of noise through it; a part by itself."""
    from runtime.engine.hardware import find_hardware  # noqa: PLC0415 - after the network is left
    from runtime.engine.speakers import pyannote  # noqa: PLC0415 - after the network is left
    from runtime.engine.speakers.diarizer import SpeakerHints  # noqa: PLC0415 - likewise

    if role != pyannote.ROLE:
        pyannote.load_part(role, folder)
        return
    # `bundler.dryload` makes the tree this process's home: everything in it was checked.
    files = {role: folder, "tree": Path.home()}
    import numpy as np  # noqa: PLC0415 - after the network is left

    noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    pyannote.load(files, find_hardware("cpu")).diarize(noise, SpeakerHints())


def _transformers(_role: str, folder: Path) -> None:
    """An emotion model, from memory, as `airgap transcribe --emotion` loads it; on the CPU."""
    from runtime.engine.emotion.model import EmotionModel  # noqa: PLC0415 - after the network is left
    from runtime.engine.hardware import find_hardware  # noqa: PLC0415 - after the network is left

    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    EmotionModel.from_buffers(folder.name, files, find_hardware("cpu"))


def _nemo(role: str, folder: Path) -> None:
    """One `.nemo` as the back ends load it; what they run once when they load is run."""
    from runtime.engine.hardware import find_hardware  # noqa: PLC0415 - after the network is left
    from runtime.engine.speakers import nemo, sortformer  # noqa: PLC0415 - likewise
    from runtime.engine.speakers.nemo_models import nemo_file, restore  # noqa: PLC0415 - likewise
    from runtime.engine.speakers.nemo_speech import SpeechDetector  # noqa: PLC0415 - likewise

    hardware, files = find_hardware("cpu"), {role: folder}
    match role:
        case "vad":
            SpeechDetector(nemo_file(files, role), hardware)
        case "speaker-embedding":
            restore(nemo_file(files, role), nemo.SPEAKER_CLASS, hardware)
        case "diarization":
            sortformer.load(files, hardware)
        case _:
            raise AirgapError(f"this version has no use for a model of NeMo's as '{role}'")


_LOADERS: Final[Mapping[str, Callable[[str, Path], None]]] = MappingProxyType(
    {
        "faster-whisper": _faster_whisper,
        "nemo": _nemo,
        "pyannote": _pyannote,
        "transformers": _transformers,
    }
)
"""By engine: loads the model of a role from its folder, or raises AirgapError."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
