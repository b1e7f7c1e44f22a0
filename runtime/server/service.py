"""The models that are served now: loaded from a mount, tried out, exchanged for those of the next.

A generation is loaded beside the one that serves and takes its place whole, or not at all.
Requests that began with the old one end with it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from airgap import limits, strict_json
from airgap.accepted import clock
from airgap.errors import AirgapError
from runtime import diarization, emotion_models, generation, models, promises, standing
from runtime.engine.audio import SAMPLE_RATE, Samples
from runtime.engine.hardware import Hardware, find_hardware
from runtime.engine.options import FALLBACK_TEMPERATURES, TranscribeOptions
from runtime.engine.speakers.choosing import Choice, Diarization
from runtime.engine.speakers.conversation import overlaps
from runtime.engine.speakers.diarizer import Diarizer, SpeakerHints
from runtime.engine.whisper import WhisperEngine
from runtime.generation import INVENTORY, Generation, Hold
from runtime.origin import Origin
from runtime.server import errors, logs, speakers
from runtime.server.metrics import Metrics
from runtime.verified_load import VerifiedLoad

if TYPE_CHECKING:
    from runtime.engine.emotion.model import EmotionModel


@dataclass(frozen=True)
class Preset:
    """A name that OpenAI's clients know, and what it stands for here."""

    beam_size: int
    temperatures: tuple[float, ...]
    words: str


PRESETS: Final[Mapping[str, Preset]] = {
    "whisper-1": Preset(5, FALLBACK_TEMPERATURES, "as faster-whisper and OpenAI do: beam 5"),
    "whisper-1-fast": Preset(1, FALLBACK_TEMPERATURES, "the quickest: greedy, beam 1"),
    "whisper-1-quality": Preset(10, FALLBACK_TEMPERATURES, "the most careful: beam 10"),
}
"""All of them use the first model. A model's own name is served as `whisper-1` is."""


_WARM_UP_SECONDS: Final = 4
"""Of a tone; no back end finds that too short."""


@dataclass(frozen=True)
class Source:
    """What to serve, and on what. Fields as the options of `airgap serve`."""

    root: Path
    bundle: str | None = None
    models: tuple[str, ...] = ()
    device: str = "auto"
    compute_type: str = "auto"
    threads: int = 0
    workers: int = 1
    verified_load: VerifiedLoad = VerifiedLoad.BUFFER
    diarization: Diarization = Diarization.AUTO
    emotion: bool = False


@dataclass(frozen=True)
class Loaded:
    """A generation's models, verified and tried.

    Attributes:
        engines: by the model's id; the first is what `whisper-1` means.
        diarizer: what tells speakers apart; None where the bundle promises nothing of it.
        at_once: whether that is done while the words are heard.
        emotions: what tells how it sounds; none unless it was asked for.
        origin: of every answer: the bundle, its models, what tells speakers apart.
        bundle: the bundle's name.
        number: the generation.
        created: when the bundle was made, in seconds since 1970.
        verdict: who signed it, by which policy it was mounted.
        inventory: the manifest's, as `model_inventory.json` has it.
        hold: what is served cannot be unmounted, nor removed as garbage.
    """

    engines: Mapping[str, WhisperEngine]
    diarizer: Diarizer | None
    at_once: bool
    emotions: tuple[EmotionModel, ...]
    origin: Origin
    bundle: str
    number: int
    created: int
    verdict: Mapping[str, Any]
    inventory: Mapping[str, Any]
    hold: Hold

    @property
    def names(self) -> list[str]:
        """Every name under which a model may be asked for."""
        alias = [speakers.ALIAS] if self.diarizer else []
        return [*self.engines, *(name for name in PRESETS if name not in self.engines), *alias]

    def choose(self, name: str) -> tuple[WhisperEngine, Preset]:
        """The model and the preset of a name. Raises ApiError 404."""
        if name in self.engines:
            return self.engines[name], PRESETS["whisper-1"]
        if name in self.names:
            return next(iter(self.engines.values())), PRESETS.get(name, PRESETS["whisper-1"])
        raise errors.unknown_model(name, self.names)


class State(StrEnum):
    """What the server is at."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"


@dataclass
class Service:
    """What is served now. Changed by the event loop's thread alone."""

    source: Source
    metrics: Metrics
    state: State = State.LOADING
    loaded: Loaded | None = None
    failure: AirgapError | None = None
    _exchange: asyncio.Lock = field(default_factory=asyncio.Lock)

    def ready(self) -> Loaded:
        """The models. Raises ApiError 503 while loading, where that failed, and while draining."""
        if self.state is State.DRAINING:
            raise errors.not_now("The server is finishing its work and will stop", "draining")
        if self.failure is not None:
            raise errors.not_now(self.failure.message, "failed")
        if self.loaded is None:
            raise errors.not_now("The model is still being loaded", "loading")
        return self.loaded

    async def start(self) -> None:
        """Load what is mounted. Raises AirgapError where that fails: then there is no server."""
        try:
            loaded = await asyncio.to_thread(load, self.source, self.metrics)
        except AirgapError as error:
            self.failure = error  # said by /ready as well, for as long as there is anybody to ask
            raise
        await self._take(loaded)

    async def exchange(self) -> bool:
        """Load what is mounted now and serve that; whether it was exchanged.

        What is served stays where the new one fails: that is logged, and counted.
        """
        async with self._exchange:
            try:
                if not await asyncio.to_thread(self._is_another):
                    return False
                loaded = await asyncio.to_thread(load, self.source, self.metrics)
            except AirgapError as error:
                self.metrics.reloads.labels("failed").inc()
                logs.warn("reload", f"staying with what is served: {error.message}")
                return False
            await self._take(loaded)
            self.metrics.reloads.labels("done").inc()
            return True

    def drain(self) -> None:
        """Take nothing new."""
        self.state = State.DRAINING
        self.metrics.ready.set(0)

    def _is_another(self) -> bool:
        with generation.current(self.source.root, self.source.bundle) as mounted:
            now = self.loaded
            return now is None or (now.bundle, now.number) != (
                mounted.statement.name,
                mounted.number,
            )

    async def _take(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.metrics.generation.labels(loaded.bundle).set(loaded.number)
        if self.state is State.LOADING:
            self.state = State.READY
            self.metrics.ready.set(1)
        logs.say("ready", f"serving {', '.join(loaded.names)}", generation=loaded.number)


def load(source: Source, metrics: Metrics) -> Loaded:
    """Load the models of a mount from bytes that were compared with the signed manifest.

    Raises:
        AirgapError: nothing is mounted, a file is not what was signed, the engine does not load
            it, the first inference fails, or the bundle has expired and the policy says stop.
    """
    hardware = find_hardware(source.device, source.compute_type, source.threads, source.workers)
    with generation.current(source.root, source.bundle) as mounted:
        _tell_standing(source, mounted, metrics)
        promised = promises.kept(mounted, source.models, source.diarization, emotion=source.emotion)
        choice = promised.speakers
        engines = {}
        for artifact in promised.transcribers:
            started = time.perf_counter()
            engine = models.load(mounted, artifact, hardware, source.verified_load)
            metrics.load.labels(engine.name).set(time.perf_counter() - started)
            logs.say("loaded", models.announced(engine, mounted), hardware=str(engine.hardware))
            _record(source, mounted, engine.name)
            warm_up(engine)
            engines[engine.name] = engine
        diarizer = _load_diarizer(source, mounted, choice, hardware, metrics) if choice else None
        return Loaded(
            engines=engines,
            diarizer=diarizer,
            at_once=overlaps(hardware),
            emotions=_load_emotions(source, mounted, hardware, metrics) if source.emotion else (),
            origin=Origin.of(mounted, choice),
            bundle=mounted.statement.name,
            number=mounted.number,
            created=int(strict_json.from_time(mounted.statement.created).timestamp()),
            verdict=_verdict(mounted),
            inventory=json.loads(mounted.folder.read(INVENTORY, limits.MANIFEST_SIZE)),
            hold=Hold(mounted),
        )


def _tell_standing(source: Source, mounted: Generation, metrics: Metrics) -> None:
    """Say early what will stop new mounts. Raises RefusedError where the policy says stop."""
    now = clock()
    for warning in standing.warnings(mounted, source.root, now):
        logs.warn("standing", warning)
    if (left := standing.days_left(mounted, now)) is not None:
        metrics.days_left.labels(mounted.statement.name).set(left)


def warm_up(engine: WhisperEngine) -> None:
    """One real inference: missing GPU libraries show only then, and the first is the slowest.

    Raises:
        AirgapError: the engine does not work here.
    """
    greedy = TranscribeOptions(beam_size=1, temperatures=(0.0,), vad_filter=False)
    engine.transcribe(_tone(1), greedy)
    engine.transcribe(_tone(1))  # with voice detection, which is loaded at its first use


def _tone(seconds: int) -> Samples:
    time_line = np.arange(seconds * SAMPLE_RATE, dtype=np.float32) / SAMPLE_RATE
    return (0.1 * np.sin(2 * np.pi * 440 * time_line)).astype(np.float32)


def _load_diarizer(
    source: Source, mounted: Generation, choice: Choice, hardware: Hardware, metrics: Metrics
) -> Diarizer:
    """What tells speakers apart, tried out as well."""
    started = time.perf_counter()
    diarizer = diarization.load(mounted, choice, hardware)
    metrics.load.labels(choice.back_end.name).set(time.perf_counter() - started)
    logs.say("loaded", diarization.announced(choice, mounted), hardware=str(hardware))
    for artifact in choice.artifacts:
        _record(source, mounted, artifact.id)
    diarizer.diarize(_tone(_WARM_UP_SECONDS), SpeakerHints())
    return diarizer


def _load_emotions(
    source: Source, mounted: Generation, hardware: Hardware, metrics: Metrics
) -> tuple[EmotionModel, ...]:
    """What tells how it sounds, tried out as well; what their licences forbid is said."""
    started = time.perf_counter()
    emotions = emotion_models.load(mounted, hardware)
    metrics.load.labels("emotion").set(time.perf_counter() - started)
    for one in emotions:
        logs.say("loaded", models.announced(one, mounted), hardware=str(hardware))
        _record(source, mounted, one.name)
        one.scores(_tone(1))
    for warning in emotion_models.licence_warnings(mounted):
        logs.warn("licence", warning)
    return emotions


def _record(source: Source, mounted: Generation, model: str) -> None:
    """Note in the audit log which model answers, or say why not."""
    if unrecorded := models.record(model, mounted, source.root):
        logs.warn("audit", unrecorded)


def _verdict(mounted: Generation) -> dict[str, Any]:
    return {
        "bundle": mounted.statement.title,
        "sequence": mounted.statement.sequence,
        "generation": mounted.number,
        "approval_code": mounted.approval_code,
        "signers": list(mounted.record.signers),
        "policy": mounted.record.policy,
        "mounted": mounted.record.mounted,
    }
