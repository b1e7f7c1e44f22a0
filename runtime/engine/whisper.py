"""Whisper, by faster-whisper and CTranslate2: a verified model and samples -> a transcript.

Nothing here asks a network: faster-whisper goes to a hub for what a model lacks, so a model
that lacks it is refused first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from faster_whisper import WhisperModel

from airgap.errors import AirgapError, UsageError
from runtime.engine.audio import SAMPLE_RATE, Samples
from runtime.engine.features import BlockwiseFeatures
from runtime.engine.hardware import Hardware
from runtime.engine.library_errors import library_errors
from runtime.engine.options import HOTWORD_TOKENS, TranscribeOptions, check_options
from runtime.engine.transcript import Segment, Transcript, Word
from runtime.engine.whisper_files import check_files

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
"""onnxruntime (voice detection) since 1.29 reports to its maker unless this is set before its
first import, which happens at the first recording; it also keeps a device id under HOME."""

_MEMORY_NAME: Final = "/dev/null/verified"
"""What faster-whisper calls a model in memory. It joins file names to it and looks on disk, even
then; below a device there can never be a file, so nothing unverified is picked up."""

Heard = Callable[[float], None]
"""Told how many seconds of the recording have been heard so far; at last, all of them."""


def unwatched(seconds: float) -> None:
    """A Heard for callers that watch nothing."""


@dataclass(frozen=True, slots=True)
class Listening:
    """A transcription under way. Taking a segment is what computes it.

    Attributes:
        language: as in Transcript.
        language_probability: as in Transcript.
        duration: length of the recording in seconds.
        segments: to be taken once, in order. Raises AirgapError where the engine fails.
    """

    language: str | None
    language_probability: float
    duration: float
    segments: Iterator[Segment]


class WhisperEngine:
    """One loaded model. Made by `from_buffers` or `from_folder`.

    Attributes:
        name: what the model is called in transcripts and errors.
        hardware: what it runs on, with the arithmetic that CTranslate2 reports.
        languages: the codes that it knows, sorted; `("en",)` for an English-only model.
    """

    def __init__(self, name: str, model: WhisperModel, hardware: Hardware) -> None:
        self.name = name
        self.hardware = hardware
        self._model = model
        self.languages = tuple(
            sorted(
                code
                for code in model.supported_languages
                if not self.multilingual
                or model.hf_tokenizer.token_to_id(f"<|{code}|>") is not None
            )
        )

    @classmethod
    def from_buffers(
        cls, name: str, files: MutableMapping[str, bytes], hardware: Hardware
    ) -> WhisperEngine:
        """Load from memory: the bytes that were hashed are the bytes that the engine gets.

        `files` is emptied on the way, each buffer as soon as CTranslate2 has its copy. A caller
        that keeps no other reference saves the size of the model at the peak.

        Args:
            name: what to call the model.
            files: content by file name, such as `model.bin`.
            hardware: from `find_hardware`.

        Raises:
            AirgapError: a file is missing or empty, or the engine cannot load them.
        """
        check_files(name, {file: len(content) for file, content in files.items()})
        # Given always, so that faster-whisper looks for none: `{}` means Whisper's 80 mels.
        small = {
            "tokenizer.json": files.pop("tokenizer.json"),
            "preprocessor_config.json": files.pop("preprocessor_config.json", b"{}"),
        }
        given = {file: _GivenAway(files, file) for file in tuple(files)}
        return cls._loaded(name, hardware, _MEMORY_NAME, {**small, **given})

    @classmethod
    def from_folder(cls, name: str, folder: Path, hardware: Hardware) -> WhisperEngine:
        """Load by path, for a host short of memory, whose caller has hashed the files in place.

        Args:
            name: what to call the model.
            folder: the folder that holds the model's files, and that nobody else can write.
            hardware: from `find_hardware`.

        Raises:
            AirgapError: a file is missing or empty, or the engine cannot load them.
        """
        try:
            sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
        except OSError as error:
            raise AirgapError(f"cannot read model '{name}': {error}") from error
        check_files(name, sizes)
        return cls._loaded(name, hardware, str(folder.absolute()))

    @classmethod
    def _loaded(
        cls, name: str, hardware: Hardware, place: str, files: dict[str, Any] | None = None
    ) -> WhisperEngine:
        with library_errors(f"model '{name}' cannot be loaded"):
            model = WhisperModel(
                place,
                device=hardware.device,
                compute_type=hardware.compute_type,
                cpu_threads=hardware.threads,
                num_workers=hardware.workers,
                files=files,
                local_files_only=True,
            )
            model.feature_extractor = BlockwiseFeatures(**model.feat_kwargs)
        _check_features(name, model)
        return cls(name, model, replace(hardware, compute_type=model.model.compute_type))

    @property
    def multilingual(self) -> bool:
        """Whether the model knows other languages than English, and can translate."""
        return bool(self._model.model.is_multilingual)

    def transcribe(
        self,
        samples: Samples,
        options: TranscribeOptions | None = None,
        heard: Heard = unwatched,
    ) -> Transcript:
        """What was said, whole.

        Args:
            samples: 16 kHz mono float32, as `runtime.engine.audio` decodes it.
            options: how; None for the defaults.
            heard: told how far it is, in seconds of the recording.

        Raises:
            UsageError: the model cannot do what the options ask, or there are no samples.
            AirgapError: the engine failed; there is no partial result.
        """
        options = options or TranscribeOptions()
        listening = self.listen(samples, options)
        segments = []
        for segment in listening.segments:
            segments.append(segment)
            heard(segment.end)
        heard(listening.duration)
        return Transcript(
            model=self.name,
            task=options.task,
            language=listening.language,
            language_probability=listening.language_probability,
            duration=listening.duration,
            segments=tuple(segments),
        )

    def listen(self, samples: Samples, options: TranscribeOptions) -> Listening:
        """The same, segment by segment, for callers that stream or may stop early.

        Raises:
            UsageError: the model cannot do what the options ask, or there are no samples.
            AirgapError: the engine failed; also from the segments.
        """
        self._check(samples, options)
        with library_errors(f"transcription by model '{self.name}' failed"):
            raw, info = self._model.transcribe(
                samples,
                language=options.language,
                task=options.task,
                beam_size=options.beam_size,
                temperature=list(options.temperatures),
                word_timestamps=options.word_timestamps,
                vad_filter=options.vad_filter,
                initial_prompt=options.initial_prompt,
                hotwords=options.hotwords,
            )
        duration = len(samples) / SAMPLE_RATE
        # On silence faster-whisper still names a language: that of nothing at all.
        known = options.language or not self.multilingual or info.duration_after_vad > 0
        return Listening(
            language=info.language if known else None,
            language_probability=float(info.language_probability) if known else 0.0,
            duration=duration,
            segments=self._segments(iter(raw), duration),
        )

    def _check(self, samples: Samples, options: TranscribeOptions) -> None:
        check_options(options, self.name, self.languages)
        if samples.ndim != 1 or samples.dtype != np.float32:
            raise UsageError(
                "samples: expected one channel of float32, "
                f"found {samples.dtype} of shape {samples.shape}"
            )
        if not len(samples):
            raise UsageError("there is no sound to transcribe: found 0 samples")
        if options.hotwords:
            words = self._model.hf_tokenizer.encode(options.hotwords, add_special_tokens=False)
            if len(words) > HOTWORD_TOKENS:
                raise UsageError(
                    f"hotwords: expected at most {HOTWORD_TOKENS} tokens, found {len(words)}",
                    hint="name only the words that the model gets wrong",
                )

    def _segments(self, raw: Iterator[Any], duration: float) -> Iterator[Segment]:
        while True:
            with library_errors(f"transcription by model '{self.name}' failed"):
                segment = next(raw, None)
            if segment is None:
                return
            yield _converted(segment, duration)


class _GivenAway:
    """One file as CTranslate2 reads it: once, after which nothing of ours holds its bytes."""

    def __init__(self, files: MutableMapping[str, bytes], name: str) -> None:
        self._files, self._name = files, name

    def read(self) -> bytes:
        return self._files.pop(self._name)


def _check_features(name: str, model: WhisperModel) -> None:
    """Refuse a model that would hear another sound than it was trained on."""
    extractor, mels = model.feature_extractor, model.model.n_mels
    found = (extractor.sampling_rate, len(extractor.mel_filters))
    if found != (SAMPLE_RATE, mels):
        raise AirgapError(
            f"model '{name}' hears {mels} mel bands at {SAMPLE_RATE} Hz, but its "
            f"'preprocessor_config.json' is missing or gives {found[1]} at {found[0]} Hz",
            hint="build the bundle again from a lock that names 'preprocessor_config.json'",
        )


def _converted(raw: Any, duration: float) -> Segment:
    """faster-whisper's segment as ours, with no time after the end of the recording."""

    def time(seconds: float) -> float:
        return min(float(seconds), duration)

    return Segment(
        id=raw.id,
        seek=raw.seek,
        start=time(raw.start),
        end=time(raw.end),
        text=raw.text,
        words=tuple(
            Word(time(word.start), time(word.end), word.word, float(word.probability))
            for word in raw.words or ()
        ),
        tokens=tuple(raw.tokens),
        avg_logprob=float(raw.avg_logprob),
        compression_ratio=float(raw.compression_ratio),
        no_speech_prob=float(raw.no_speech_prob),
        temperature=float(raw.temperature),
    )
