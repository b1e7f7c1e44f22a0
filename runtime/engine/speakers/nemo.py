"""Who speaks, by NeMo's ClusteringDiarizer: TitaNet's voices of what MarbleNet hears as speech.

The library works on files: a sound file and a manifest in, RTTM out. They lie in a folder of
their own for as long as a recording takes.
"""

from __future__ import annotations

import json
import tempfile
import threading
import wave
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from airgap.errors import AirgapError, UsageError
from runtime.engine.audio import SAMPLE_RATE, Samples
from runtime.engine.hardware import Hardware
from runtime.engine.speakers.diarizer import Diarizer, SpeakerHints
from runtime.engine.speakers.frame_vad import FRAME_CLASS, POSTPROCESSING, FrameVad, Stretch
from runtime.engine.speakers.nemo_models import (
    check_class,
    library,
    nemo_errors,
    nemo_file,
    restore,
    torch_device,
    without_bars,
)
from runtime.engine.speakers.numbering import numbered
from runtime.engine.transcript import Turn

SPEAKER_CLASS: Final = "EncDecSpeakerLabelModel"
WINDOW_CLASS: Final = "EncDecClassificationModel"

LOOKED_FOR: Final = 8
"""Speakers that are looked for where nobody says how many there may be: NVIDIA's own bound."""

SEGMENTS_AT_ONCE: Final = 5_000
"""Segments that are compared each with each; above, NeMo clusters them in such parts, and then
the parts' clusters. Without a bound the table of a long recording grows with its square."""

CLUSTERS_OF_A_PART: Final = 50
"""What a part is reduced to before the parts are joined."""

SHORTEST: Final = SAMPLE_RATE
"""Samples up to which a recording is filled up with silence: the windows of the library's voice
detection need 0.63 seconds."""

_NAME: Final = "recording"


def load(files: Mapping[str, Path], hardware: Hardware) -> Diarizer:
    """Load the back end, and run it once: what NeMo compiles on first use takes seconds.

    Args:
        files: the absolute folder of each role, `speaker-embedding` and `vad`, which nobody else
            can write; each holds one `.nemo`. They are not read after loading.
        hardware: what it computes on.

    Raises:
        AirgapError: a file is missing or of another class, or NeMo is not installed or cannot
            load them.
    """
    speaker, vad = nemo_file(files, "speaker-embedding"), nemo_file(files, "vad")
    is_frames = check_class(vad, (FRAME_CLASS, WINDOW_CLASS)) == FRAME_CLASS
    voices = restore(speaker, SPEAKER_CLASS, hardware)
    settings = _settings(hardware, None if is_frames else vad)
    with nemo_errors(f"'{vad}' cannot be loaded"):
        models = library("nemo.collections.asr.models")
        without_bars("nemo.collections.asr.parts.utils.vad_utils")
        clustering = models.ClusteringDiarizer(cfg=settings, speaker_model=voices)
    diarizer = NemoDiarizer(clustering, settings, FrameVad(vad, hardware) if is_frames else None)
    diarizer.warm_up()
    return diarizer


@dataclass
class _Settings:
    """What ClusteringDiarizer is configured by. It keeps this very object, and reads `diarizer`
    anew for each recording; an omegaconf one it would copy.
    """

    diarizer: Any
    device: Any
    sample_rate: int = SAMPLE_RATE
    batch_size: int = 64
    num_workers: int = 0  # a worker is a process, and a socket to it
    verbose: bool = False

    def get(self, name: str) -> Any:
        """As omegaconf's."""
        return getattr(self, name)


@dataclass
class NemoDiarizer:
    """The loaded back end. Recordings wait for each other: the library keeps each in itself."""

    _clustering: Any
    _settings: _Settings
    _frame_vad: FrameVad | None
    _turn: threading.Lock = field(default_factory=threading.Lock)
    name: str = "nemo"
    most: int | None = None

    def diarize(self, samples: Samples, hints: SpeakerHints) -> tuple[Turn, ...]:
        """Who speaks when; see Diarizer."""
        number, at_most = _bounds(hints)
        padded = np.pad(samples, (0, max(0, SHORTEST - len(samples))))
        with self._turn:
            speech = self._frame_vad.speech(padded) if self._frame_vad else None
            heard = [] if speech == () else self._clustered(padded, speech, number, at_most)
        turns = numbered(heard, len(samples) / SAMPLE_RATE)
        found = len({turn.speaker for turn in turns})
        if turns and number is not None and found != number:
            raise UsageError(
                f"NeMo was told of {number} speakers, and could tell {found} apart",
                hint="give no number, or a recording in which each of them speaks for longer",
            )
        return turns

    def warm_up(self) -> None:
        """One recording, of noise that is taken for speech."""
        noise = np.random.default_rng(0).normal(0, 0.1, 4 * SAMPLE_RATE).astype(np.float32)
        if self._frame_vad:
            self._clustered(noise, ((0.0, 4.0),), None, LOOKED_FOR)
        else:
            self._clustered(noise, None, None, LOOKED_FOR)

    def _clustered(
        self, samples: Samples, speech: Iterable[Stretch] | None, number: int | None, at_most: int
    ) -> list[tuple[float, float, str]]:
        """What ClusteringDiarizer hears; `speech` None where it detects speech by itself."""
        torch = library("torch")
        with (
            tempfile.TemporaryDirectory(prefix="airgap-nemo-") as place,
            nemo_errors("diarization by NeMo failed"),
            torch.no_grad(),  # which the library forgets
        ):
            folder = Path(place)
            try:
                self._lay_out(folder, samples, speech, number, at_most)
                self._clustering.diarize()
            except ValueError as error:
                if "contains silence" in str(error):  # how it says that nobody speaks
                    return []
                raise
            rttm = folder / "pred_rttms" / f"{_NAME}.rttm"
            return list(_read_rttm(rttm.read_text(encoding="utf-8")))

    def _lay_out(
        self,
        folder: Path,
        samples: Samples,
        speech: Iterable[Stretch] | None,
        number: int | None,
        at_most: int,
    ) -> None:
        """Write what the library reads, and tell it where."""
        sound, manifest, vad = folder / f"{_NAME}.wav", folder / "manifest", folder / "speech"
        _write_wave(sound, samples)
        _write_lines(manifest, [_entry(sound, 0.0, None, num_speakers=number)])
        if speech is not None:
            _write_lines(vad, (_entry(sound, start, end - start) for start, end in speech))
        told = self._settings.diarizer
        told.out_dir, told.manifest_filepath = str(folder), str(manifest)
        told.vad.external_vad_manifest = None if speech is None else str(vad)
        told.clustering.parameters.oracle_num_speakers = number is not None
        told.clustering.parameters.max_num_speakers = at_most


def _settings(hardware: Hardware, window_vad: Path | None) -> _Settings:
    """NVIDIA's settings for recordings of every domain (`diar_infer_general.yaml`)."""
    vad = {
        **POSTPROCESSING,
        "filter_speech_first": True,
        "window_length_in_sec": 0.63,
        "shift_length_in_sec": 0.08,
        "smoothing": False,
        "overlap": 0.5,
    }
    voices = {
        "window_length_in_sec": [1.9, 1.2, 0.5],
        "shift_length_in_sec": [0.95, 0.6, 0.25],
        "multiscale_weights": [1, 1, 1],
        "save_embeddings": False,
    }
    clusters = {
        "oracle_num_speakers": False,
        "max_num_speakers": LOOKED_FOR,
        "enhanced_count_thres": 80,
        "max_rp_threshold": 0.25,
        "sparse_search_volume": 10,
        "maj_vote_spk_count": False,
        "chunk_cluster_count": CLUSTERS_OF_A_PART,
        "embeddings_per_chunk": SEGMENTS_AT_ONCE,
    }
    diarizer = {
        "manifest_filepath": None,
        "out_dir": None,
        "oracle_vad": False,
        "collar": 0.25,
        "ignore_overlap": True,
        "vad": {
            "model_path": None if window_vad is None else str(window_vad),
            "external_vad_manifest": None,
            "parameters": vad,
        },
        "speaker_embeddings": {"model_path": None, "parameters": voices},
        "clustering": {"parameters": clusters},
    }
    return _Settings(library("omegaconf").OmegaConf.create(diarizer), torch_device(hardware))


def _bounds(hints: SpeakerHints) -> tuple[int | None, int]:
    """The number of speakers where it is known, and the most."""
    hints.check()
    if hints.at_least is not None and hints.at_least == hints.at_most:
        return hints.at_least, hints.at_least
    if hints.at_least is not None and hints.at_least > 1:
        raise UsageError(
            f"NeMo cannot be told that there are at least {hints.at_least} speakers",
            hint="give their number, or only the most that there can be",
        )
    return hints.number, hints.at_most or LOOKED_FOR


def _entry(sound: Path, start: float, duration: float | None, **more: Any) -> dict[str, Any]:
    """A line of NeMo's manifests."""
    return {
        "audio_filepath": str(sound),
        "offset": start,
        "duration": duration,
        "label": "infer",
        "text": "-",
        "uniq_id": _NAME,
        "rttm_filepath": None,
        "uem_filepath": None,
        **more,
    }


def _write_lines(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries), encoding="utf-8")


def _write_wave(path: Path, samples: Samples) -> None:
    """Samples of 16 bits, which is what they were decoded from; a minute at a time."""
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SAMPLE_RATE)
        for start in range(0, len(samples), 60 * SAMPLE_RATE):
            block = np.rint(samples[start : start + 60 * SAMPLE_RATE] * 32768.0)
            sound.writeframes(np.clip(block, -32768, 32767).astype("<i2").tobytes())


def _read_rttm(text: str) -> Iterator[tuple[float, float, str]]:
    """Start, end and label of each line. Raises AirgapError for a line of another form."""
    for line in text.splitlines():
        try:
            kind, name, _channel, start, length, _, _, label, _, _ = line.split()
            begin, end = float(start), float(start) + float(length)
        except ValueError as error:
            raise AirgapError(f"NeMo wrote a line that is not RTTM: '{line}'") from error
        if (kind, name) != ("SPEAKER", _NAME) or not 0 <= begin <= end < np.inf:
            raise AirgapError(f"NeMo wrote a line that is not RTTM: '{line}'")
        yield begin, end, label
