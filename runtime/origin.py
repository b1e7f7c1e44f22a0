"""What a mount's answers come from: a generation, the models that took part -> Provenance."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata

from airgap import __version__
from airgap.provenance import Option, Provenance, UsedModel, Work
from runtime.engine.hardware import Hardware
from runtime.engine.options import TranscribeOptions
from runtime.engine.speakers.choosing import Choice
from runtime.engine.speakers.diarizer import SpeakerHints
from runtime.generation import Generation

_TRANSCRIBER = ("av", "ctranslate2", "faster-whisper", "onnxruntime")
"""Distributions that make text of a recording: decoder, engine, and voice detection's."""

_EMOTION = ("torch", "transformers")


@dataclass(frozen=True)
class Origin:
    """A mounted bundle, and what tells speakers apart in it.

    Attributes:
        name, version: of the bundle.
        statement: SHA-256 of its statement, hex.
        models: those of its manifest, by id.
        speakers: the back end that was loaded; None for none.
    """

    name: str
    version: str
    statement: str
    models: Mapping[str, UsedModel]
    speakers: Choice | None

    @classmethod
    def of(cls, mounted: Generation, speakers: Choice | None) -> Origin:
        """The origin of everything that models of this mount answer."""
        return cls(
            mounted.statement.name,
            mounted.statement.version,
            hashlib.sha256(mounted.envelope.statement).hexdigest(),
            {one.id: UsedModel.of(one) for one in mounted.manifest.artifacts},
            speakers,
        )

    def work(
        self,
        model: str,
        options: TranscribeOptions,
        hints: SpeakerHints | None = None,
        emotions: Iterable[str] = (),
    ) -> Work:
        """What makes one transcript, known before anything is loaded. Arguments as `provenance`."""
        speakers = self.speakers if hints is not None else None
        told = tuple(emotions)
        others = tuple(one.id for one in speakers.artifacts) if speakers else ()
        return Work.of(
            self.statement,
            tuple(self.models[one] for one in (model, *others, *told)),
            {
                **_of_words(options),
                **(_of_speakers(speakers, hints) if speakers and hints else {}),
                **({"emotion": True} if told else {}),
            },
        )

    def provenance(
        self,
        model: str,
        hardware: Hardware,
        options: TranscribeOptions,
        hints: SpeakerHints | None = None,
        emotions: Iterable[str] = (),
    ) -> Provenance:
        """Where one transcript comes from.

        Args:
            model: id of the transcriber.
            hardware: what that was loaded for.
            options: how it was asked.
            hints: what was said about the speakers; None where nobody asked for them.
            emotions: ids of the models that told how it sounds.
        """
        speakers = self.speakers if hints is not None else None
        told = tuple(emotions)
        work = self.work(model, options, hints, told)
        libraries = (*_TRANSCRIBER, *(_EMOTION if told else ()))
        if speakers:
            libraries = (*libraries, speakers.back_end.distribution)
        return Provenance(
            name=self.name,
            version=self.version,
            statement=self.statement,
            models=work.models,
            engine={
                "airgap": __version__,
                **{one: _installed(one) for one in sorted(set(libraries))},
                "device": hardware.device,
                "compute_type": hardware.compute_type,
            },
            options=work.options,
        )


def _of_words(options: TranscribeOptions) -> dict[str, Option]:
    """The options of a transcription; what a person wrote among them by its SHA-256 alone."""
    texts = {"prompt_sha256": options.initial_prompt, "hotwords_sha256": options.hotwords}
    return {
        **({"language": options.language} if options.language else {}),
        "task": options.task,
        "beam_size": options.beam_size,
        "temperatures": " ".join(f"{one:g}" for one in options.temperatures),
        "word_timestamps": options.word_timestamps,
        "vad_filter": options.vad_filter,
        **{name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items() if text},
    }


def _of_speakers(choice: Choice, hints: SpeakerHints) -> dict[str, Option]:
    said = {
        "speakers": hints.number,
        "min_speakers": hints.at_least,
        "max_speakers": hints.at_most,
    }
    known: dict[str, Option] = {name: one for name, one in said.items() if one is not None}
    return {"diarization": choice.back_end.name, **known}


@cache
def _installed(distribution: str) -> str:
    """The version of a library; an image may hold one without its metadata."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"
