"""Who speaks, by NeMo's ClusteringDiarizer: TitaNet's voices of what MarbleNet hears as speech.

The library works on files: a sound file and a manifest in, RTTM out. They lie in a folder of
their own for as long as a recording takes; the sound among them without a name.
"""

from __future__ import annotations

import math
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from airgap.errors import UsageError
from runtime.engine.audio import SAMPLE_RATE, Samples
from runtime.engine.hardware import Hardware
from runtime.engine.speakers.diarizer import Diarizer, SpeakerHints
from runtime.engine.speakers.nemo_exchange import NAME, read_rttm, sound_in, write_manifest
from runtime.engine.speakers.nemo_models import (
    library,
    nemo_errors,
    nemo_file,
    restore,
    torch_device,
    without_bars,
)
from runtime.engine.speakers.nemo_speech import SpeechDetector, Stretch
from runtime.engine.speakers.turns import numbered
from runtime.engine.transcript import Turn

SPEAKER_CLASS: Final = "EncDecSpeakerLabelModel"

LOOKED_FOR: Final = 8
"""Speakers that are looked for where nobody says how many there may be: NVIDIA's own bound."""

WINDOWS: Final = (1.9, 1.2, 0.5)
SHIFTS: Final = (0.95, 0.6, 0.25)
"""Seconds of the segments whose voices are compared, and from one to the next, in three scales:
NVIDIA's for recordings of every domain (`diar_infer_general.yaml`)."""

SEGMENTS_AT_ONCE: Final = 4_000
"""Segments that are compared each with each, some 16 minutes of speech. A longer recording is
clustered in such parts, and then the parts' clusters: work and memory grow with the square of a
part, or more."""

CLUSTERS_OF_A_PART: Final = 50
"""What a part is reduced to before the parts are joined."""

ROWS: Final = 1_024
"""Segments whose neighbours in another scale are looked for at once."""


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
    detector = SpeechDetector(vad, hardware)
    voices = restore(speaker, SPEAKER_CLASS, hardware)
    settings = _settings(hardware)
    with nemo_errors(f"'{speaker}' cannot be loaded"):
        models = library("nemo.collections.asr.models")
        clustering = models.ClusteringDiarizer(cfg=settings, speaker_model=voices)
        _mend()
    diarizer = NemoDiarizer(clustering, settings, detector)
    diarizer.warm_up()
    return diarizer


@dataclass
class _Settings:
    """What ClusteringDiarizer is configured by.

    It keeps this very object, and reads `diarizer` anew for each recording; an omegaconf one it
    would copy.
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
    _detector: SpeechDetector
    _turn: threading.Lock = field(default_factory=threading.Lock)
    name: str = "nemo"
    most: int | None = None

    def diarize(self, samples: Samples, hints: SpeakerHints) -> tuple[Turn, ...]:
        """Who speaks when; see Diarizer."""
        number, at_most = _bounds(hints)
        with self._turn:
            speech = self._detector.speech(samples)
            heard = self._clustered(samples, speech, number, at_most) if speech else []
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
        self._clustered(noise, ((0.0, 4.0),), None, LOOKED_FOR)

    def _clustered(
        self, samples: Samples, speech: Sequence[Stretch], number: int | None, at_most: int
    ) -> list[Turn]:
        """The turns within the speech, with the library's labels."""
        torch = library("torch")
        with (
            tempfile.TemporaryDirectory(prefix="airgap-nemo-") as place,
            nemo_errors("diarization by NeMo failed"),
            torch.no_grad(),  # which the library forgets
            sound_in(folder := Path(place), samples) as sound,
        ):
            self._lay_out(sound, speech, number, at_most)
            self._clustering.diarize()
            rttm = folder / "pred_rttms" / f"{NAME}.rttm"
            return list(read_rttm(rttm.read_text(encoding="utf-8")))

    def _lay_out(
        self, sound: Path, speech: Sequence[Stretch], number: int | None, at_most: int
    ) -> None:
        """Write what the library reads beside the sound, and tell it where."""
        folder = sound.parent
        manifest, vad = folder / "manifest", folder / "speech"
        write_manifest(manifest, sound, [(0.0, None)], number)
        write_manifest(vad, sound, [(start, end - start) for start, end in speech])
        told = self._settings.diarizer
        told.out_dir, told.manifest_filepath = str(folder), str(manifest)
        told.vad.external_vad_manifest = str(vad)
        clusters = told.clustering.parameters
        clusters.oracle_num_speakers = number is not None
        clusters.max_num_speakers = at_most
        clusters.embeddings_per_chunk = _part(_segments(speech))


def _settings(hardware: Hardware) -> _Settings:
    """NVIDIA's settings for recordings of every domain (`diar_infer_general.yaml`)."""
    voices = {
        "window_length_in_sec": list(WINDOWS),
        "shift_length_in_sec": list(SHIFTS),
        "multiscale_weights": [1] * len(WINDOWS),
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
        "vad": {"model_path": None, "external_vad_manifest": None},
        "speaker_embeddings": {"model_path": None, "parameters": voices},
        "clustering": {"parameters": clusters},
    }
    return _Settings(library("omegaconf").OmegaConf.create(diarizer), torch_device(hardware))


def _segments(speech: Iterable[Stretch]) -> int:
    """Into how many segments of the finest scale the library cuts the speech."""
    cut = library("nemo.collections.asr.parts.utils.speaker_utils").get_subsegments_scriptable
    return sum(len(cut(start, WINDOWS[-1], SHIFTS[-1], end - start)) for start, end in speech)


def _part(segments: int) -> int:
    """The size of a part, such that all are alike.

    The library fills one part after the other. Where few segments are left for the last, their
    speakers are taken for one of the others: 2010 of four speakers in parts of 2000 become three.
    """
    parts = max(1, math.ceil(segments / SEGMENTS_AT_ONCE))
    return max(CLUSTERS_OF_A_PART + 1, math.ceil(segments / parts))


def _mend() -> None:
    """What the library does to a long recording: bars on the terminal, tables of its square."""
    without_bars("nemo.collections.asr.parts.utils.longform_clustering")
    library("nemo.collections.asr.parts.utils.offline_clustering").get_argmin_mat = nearest_segments


def nearest_segments(timestamps_in_scales: list[Any]) -> list[Any]:
    """Of each scale, the segment whose middle is nearest to that of each in the finest scale.

    The same as the library's `get_argmin_mat`, which makes four tables of the square of all
    segments for it: at 90 minutes 6 GB.
    """
    torch = library("torch")
    middles = [stamps.mean(dim=1) for stamps in timestamps_in_scales]
    return [
        torch.cat(
            [torch.argmin((scale - rows[:, None]).abs(), dim=1) for rows in middles[-1].split(ROWS)]
        )
        for scale in middles
    ]


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
