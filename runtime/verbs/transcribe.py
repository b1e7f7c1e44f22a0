"""`airgap transcribe`: recordings to text, by a mounted model, in a process without a network."""

from __future__ import annotations

import sys
from dataclasses import replace
from enum import StrEnum
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Protocol

import typer

from airgap.console import console
from airgap.verbs import options
from runtime.engine.speakers.diarizer import SpeakerHints
from runtime.verbs import handover, loading, speakers
from runtime.verified_load import VerifiedLoad

if TYPE_CHECKING:
    from runtime.engine.audio import Samples
    from runtime.engine.emotion.model import EmotionModel
    from runtime.engine.formats import Format
    from runtime.engine.speakers.choosing import Choice
    from runtime.engine.speakers.diarizer import Diarizer
    from runtime.engine.transcript import Transcript
    from runtime.engine.whisper import Heard, WhisperEngine
    from runtime.generation import Generation

    class Hear(Protocol):
        """Samples to a transcript, in whatever way was asked for."""

        def __call__(self, samples: Samples, *, heard: Heard) -> Transcript: ...  # noqa: D102


class FormatName(StrEnum):
    """Formats of a transcript, by their names in `runtime.engine.formats`."""

    TEXT = "text"
    SRT = "srt"
    VTT = "vtt"
    TSV = "tsv"
    JSON = "json"
    RTTM = "rttm"
    DIARIZED_JSON = "diarized_json"


class Task(StrEnum):
    """What to write: the language that is spoken, or English."""

    TRANSCRIBE = "transcribe"
    TRANSLATE = "translate"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("transcribe")(transcribe)


def transcribe(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Recordings.")],
    output_format: Annotated[
        FormatName,
        typer.Option("--format", "-f", metavar="|".join(FormatName), help="Of the transcript."),
    ] = FormatName.TEXT,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for one file a recording; else stdout.",
            show_default=False,
        ),
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the mounted bundle, where there are several."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the model, where the bundle has several."),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(metavar="CODE", help="What is spoken, as `en`; else it is detected."),
    ] = None,
    task: Annotated[
        Task,
        typer.Option(
            metavar="|".join(Task), help="Write what is said, or its English translation."
        ),
    ] = Task.TRANSCRIBE,
    beam_size: Annotated[int, typer.Option(metavar="N", help="Hypotheses kept in parallel.")] = 5,
    word_timestamps: Annotated[
        bool, typer.Option("--word-timestamps", help="Give each word its times (json).")
    ] = False,
    diarization: speakers.Wish = None,
    number: speakers.Number = None,
    at_least: speakers.AtLeast = None,
    at_most: speakers.AtMost = None,
    emotion: Annotated[
        bool,
        typer.Option(
            "--emotion",
            help="Give each segment how it sounds, by the bundle's emotion models (json).",
        ),
    ] = False,
    device: loading.Device = "auto",
    compute_type: loading.ComputeType = "auto",
    verified_load: loading.Way = VerifiedLoad.BUFFER,
    allow_network: Annotated[
        bool, typer.Option("--allow-network", help="Do not leave the network.")
    ] = False,
    root: options.Root = None,
    quiet: options.Quiet = False,
) -> None:
    """Transcribe recordings with a mounted model, after leaving the network for good.

    The process proves that it is offline by trying each known escape, and refuses to go on if one
    works. The model's bytes are compared with the signed manifest as they are loaded. Who asks for
    speakers that cannot be told apart gets an error, never a transcript without them.

    \b
    Examples:
      airgap transcribe meeting.m4a
      airgap transcribe meeting.m4a --diarization auto --speakers 2
      airgap transcribe *.wav --format srt --out subtitles --language de
      airgap transcribe call.wav --format json --emotion
    """
    console.configure(quiet=quiet)
    from airgap import places
    from airgap.accepted import clock
    from airgap.errors import UsageError
    from runtime import generation, recordings, standing
    from runtime.engine.speakers import choosing

    if len(files) > 1 and out is None and output_format is not FormatName.TEXT:
        raise UsageError(
            f"{len(files)} recordings as {output_format} need a folder", hint="--out FOLDER"
        )
    asked = speakers.asked(diarization, SpeakerHints(number, at_least, at_most), output_format)
    if emotion and output_format is not FormatName.JSON:
        raise UsageError(f"{output_format} has no place for --emotion", hint="--format json")
    if out is not None:
        _check_out(files, out)
    handover.to_runtime(places.isolated_root(root), bundle)
    options.require("faster_whisper", "cpu", "airgap transcribe")
    if emotion:
        options.require("transformers", "emotion", "airgap transcribe --emotion")
    with recordings.all_open(files) as streams:
        _go_offline([stream.fileno() for stream in streams], allow_network=allow_network)
        from runtime.engine.formats import FORMATS
        from runtime.engine.options import TranscribeOptions
        from runtime.engine.speakers.conversation import Conversation

        wanted = TranscribeOptions(
            language=language,
            task=str(task),
            beam_size=beam_size,
            word_timestamps=word_timestamps,
        )
        place = places.isolated_root(root)
        with generation.current(place, bundle) as mounted:
            for warning in standing.warnings(mounted, place, clock()):
                console.warn(warning)
            choice = choosing.choose(mounted.manifest, asked.by) if asked else None
            engine = _load(mounted, model, device, compute_type, verified_load)
            _record(mounted, place, engine.name)
            hear: Hear = partial(engine.transcribe, options=wanted)
            if asked and choice:
                diarizer = _load_diarizer(mounted, choice, engine)
                _record(mounted, place, *(artifact.id for artifact in choice.artifacts))
                both = Conversation(engine, diarizer)
                hear = partial(both.transcribe, options=wanted, hints=asked.hints)
            if emotion:
                emotions = _load_emotions(mounted, engine)
                _record(mounted, place, *(one.name for one in emotions))
                hear = _with_emotions(hear, emotions)
        for file, stream in zip(files, streams, strict=True):
            transcript = _transcribed(hear, file, stream)
            _deliver(transcript, file, FORMATS[output_format], out, alone=len(files) == 1)


def _check_out(files: list[Path], out: Path) -> None:
    """No transcript may take another's place, and the folder must be one."""
    from airgap.errors import AirgapError, UsageError

    for stem, several in groupby(sorted(files, key=lambda one: one.stem), lambda one: one.stem):
        if len(same := list(several)) > 1:
            named = ", ".join(f"'{file}'" for file in same)
            raise UsageError(
                f"{named} would all be written to '{stem}' in '{out}'",
                hint="give each its own --out, or rename them",
            )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AirgapError(f"cannot write into '{out}': {error.strerror}") from error


def _go_offline(keep: list[int], *, allow_network: bool) -> None:
    """Leave the network before a thread is started or a speech library imported."""
    from runtime import offline

    if allow_network:
        offline.set_offline_variables()
        console.warn("--allow-network: this process can reach a network")
        return
    console.say(f"Running in OFFLINE mode: {offline.leave_network(keep=keep).sentence()}")


def _load(
    mounted: Generation,
    model: str | None,
    device: str,
    compute_type: str,
    verified_load: VerifiedLoad,
) -> WhisperEngine:
    """The engine with a model whose bytes are those that were signed."""
    from runtime import models
    from runtime.engine.hardware import find_hardware

    artifact = mounted.artifact("asr", model)
    hardware = find_hardware(device, compute_type)
    size = sum(file.size for file in mounted.manifest.files_of(artifact))
    with console.progress("load", size) as bar:
        engine = models.load(mounted, artifact, hardware, verified_load, bar.advance)
    console.say(models.announced(engine, mounted))
    return engine


def _load_diarizer(mounted: Generation, choice: Choice, engine: WhisperEngine) -> Diarizer:
    """What tells speakers apart, likewise of bytes that were signed."""
    from runtime import diarization

    size = sum(file.size for one in choice.artifacts for file in mounted.manifest.files_of(one))
    with console.progress("load", size) as bar:
        diarizer = diarization.load(mounted, choice, engine.hardware, bar.advance)
    console.say(diarization.announced(choice, mounted))
    return diarizer


def _load_emotions(mounted: Generation, engine: WhisperEngine) -> tuple[EmotionModel, ...]:
    """The bundle's emotion models, likewise; what their licences forbid is said."""
    from runtime import emotion_models, models

    with console.progress("load", emotion_models.size(mounted)) as bar:
        emotions = emotion_models.load(mounted, engine.hardware, bar.advance)
    for one in emotions:
        console.say(models.announced(one, mounted))
    for warning in emotion_models.licence_warnings(mounted):
        console.warn(warning)
    return emotions


def _with_emotions(hear: Hear, emotions: tuple[EmotionModel, ...]) -> Hear:
    """The same transcript, each segment with how it sounds."""
    from runtime.engine.emotion.segments import with_emotions

    def both(samples: Samples, *, heard: Heard) -> Transcript:
        return with_emotions(hear(samples, heard=heard), emotions, samples)

    return both


def _record(mounted: Generation, root: Path, *names: str) -> None:
    """Note in the audit log which models answer, or say why not."""
    from runtime import models

    for name in names:
        if unrecorded := models.record(name, mounted, root):
            console.warn(unrecorded)


def _transcribed(hear: Hear, file: Path, stream: BinaryIO) -> Transcript:
    from runtime.engine.audio import decode

    recording = decode(stream, str(file))
    if recording.damaged_packets:
        console.warn(
            f"'{file}' is damaged: {recording.damaged_packets} packets could not be decoded, and "
            "what they held is missing from the transcript"
        )
    heard = 0.0
    with console.progress(file.name, round(recording.duration), unit="seconds") as bar:

        def advance(seconds: float) -> None:
            nonlocal heard
            bar.advance(round(seconds) - round(heard))
            heard = seconds

        transcript = hear(recording.samples, heard=advance)
    return replace(transcript, recording=file.stem)


def _deliver(
    transcript: Transcript, file: Path, form: Format, out: Path | None, *, alone: bool
) -> None:
    """Write a transcript to its file under `out`, whole or not at all, or print it."""
    from airgap.files import write_whole

    text = form.render(transcript)
    if out is None:
        if not alone:
            console.data(f"== {file}")
        _print(text)
        return
    target = out / f"{file.stem}{form.extension}"
    write_whole(target, text.encode())
    console.say(f"wrote {target}")


def _print(text: str) -> None:
    """A transcript on stdout: to a terminal escaped, to a file or pipe as `--out` writes it.

    A tab of tsv, or the joiners without which Persian and Hindi are misspelt, are no escape
    sequences; and there is no cursor in a file to move.
    """
    if sys.stdout.isatty():
        console.data(text.rstrip("\n"))
        return
    sys.stdout.write(text)
