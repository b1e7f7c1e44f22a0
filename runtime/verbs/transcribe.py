"""`airgap transcribe`: recordings to text, by a mounted model, in a process without a network."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from airgap.console import console
from airgap.verbs import options
from runtime.engine.speakers.diarizer import SpeakerHints
from runtime.verbs import handover, loading, speakers
from runtime.verified_load import VerifiedLoad

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airgap.errors import AirgapError
    from airgap.host_key import HostKey
    from runtime.batch.gathering import Item
    from runtime.generation import Generation
    from runtime.transcriber import Transcriber, Wish


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
    recordings: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE|FOLDER|PATTERN]...",
            help="Recordings; folders of them; patterns in quotes.",
            show_default=False,
        ),
    ] = None,
    from_file: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Further ones, one a line of this file; - for standard input.",
            show_default=False,
        ),
    ] = None,
    output_format: Annotated[
        list[FormatName] | None,
        typer.Option(
            "--format",
            "-f",
            metavar="|".join(FormatName),
            help="Of the transcript; may be given again. text, unless given.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for the texts. Else that of one file goes to stdout, and those of "
            "several lie beside their recordings.",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Recordings at once, each held decoded: 0.4 GB an hour of audio. 0: two where "
            "there are two cores.",
        ),
    ] = 0,
    attest: Annotated[
        bool,
        typer.Option(
            "--attest",
            help="Sign each text with this host's key, in a file beside it; `airgap verify "
            "--response` checks it.",
        ),
    ] = False,
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

    Of several recordings, what is done is skipped, what fails is told at the end (exit code 1), and
    a run that was broken off goes on. airgap-run.json beside the texts says what made each.

    \b
    Examples:
      airgap transcribe meeting.m4a
      airgap transcribe meeting.m4a --diarization auto --speakers 2
      airgap transcribe recordings --format srt --format json --out texts
      airgap transcribe *.wav --language en --attest
      find /archive -name '*.mp3' | airgap transcribe --from-file - --out texts
      airgap transcribe call.wav --format json --emotion
    """
    console.configure(quiet=quiet)
    from airgap import places
    from airgap.errors import AirgapError
    from runtime import recordings as files
    from runtime.batch import places as texts
    from runtime.engine.formats import FORMATS

    formats = tuple(dict.fromkeys(map(str, output_format or [FormatName.TEXT])))
    asked = speakers.asked(diarization, SpeakerHints(number, at_least, at_most), formats)
    _refuse_no_place(formats, emotion=emotion)
    place = places.isolated_root(root)
    handover.to_runtime(place, bundle)  # before standard input is read, which is read once
    items = _gathered(recordings or [], from_file, out)
    # Standard output holds one text, and nothing beside it.
    shown = len(formats) == 1 and not attest and out is None and from_file is None
    alone = shown and len(items) == 1 and items[0].named
    if not alone:
        endings = [FORMATS[name].extension for name in formats]
        texts.check(items, place, out, endings, attest=attest)
    handover.require("faster_whisper", "cpu", "airgap transcribe", place, bundle)
    if emotion:
        handover.require("transformers", "emotion", "airgap transcribe --emotion", place, bundle)
    key = _host_key(place) if attest else None
    with files.all_open([item.recording for item in items]) as found:
        if alone and isinstance(found[0], AirgapError):
            raise found[0]
        streams = [one for one in found if not isinstance(one, AirgapError)]
        _go_offline([stream.fileno() for stream in streams], allow_network=allow_network)
        from runtime.engine.options import TranscribeOptions
        from runtime.transcriber import Transcriber, Wish

        wish = Wish(
            options=TranscribeOptions(
                language=language,
                task=str(task),
                beam_size=beam_size,
                word_timestamps=word_timestamps,
            ),
            model=model,
            device=device,
            compute_type=compute_type,
            workers=1 if alone else jobs or min(2, len(os.sched_getaffinity(0))),
            verified_load=verified_load,
            diarization=asked.by if asked else None,
            hints=asked.hints if asked else SpeakerHints(),
            emotion=emotion,
        )
        if alone:
            with _mounted(place, bundle) as mounted:
                transcriber = Transcriber.load(mounted, place, wish)
            _print_one(transcriber, items[0], streams[0], formats[0])
        else:
            _run(place, bundle, wish, items, found, formats, key)


def _refuse_no_place(formats: Sequence[str], *, emotion: bool) -> None:
    """Raise UsageError where no format can say what was asked for."""
    from airgap.errors import UsageError

    if emotion and FormatName.JSON not in formats:
        raise UsageError(f"{', '.join(formats)} has no place for --emotion", hint="--format json")


def _gathered(named: list[Path], from_file: str | None, out: Path | None) -> list[Item]:
    """Every recording that is meant. Raises UsageError where there is none."""
    from airgap.errors import UsageError
    from runtime.batch import gathering

    named = [*named, *(gathering.listed(from_file) if from_file is not None else ())]
    if not named:
        raise UsageError("there is nothing to transcribe", hint="airgap transcribe --help")
    return gathering.gather(named, out)


def _host_key(root: Path) -> HostKey:
    """Read while root may still read every file, and before hours of work."""
    from airgap.host_key import HostKey

    return HostKey.of(root)


def _go_offline(keep: list[int], *, allow_network: bool) -> None:
    """Leave the network before a thread is started or a speech library imported."""
    from runtime import offline

    if allow_network:
        offline.set_offline_variables()
        console.warn("--allow-network: this process can reach a network")
        return
    console.say(f"Running in OFFLINE mode: {offline.leave_network(keep=keep).sentence()}")


@contextmanager
def _mounted(root: Path, bundle: str | None) -> Iterator[Generation]:
    """What is mounted, with what a person should know about that."""
    from airgap.accepted import clock
    from runtime import generation, standing

    with generation.current(root, bundle) as mounted:
        for warning in standing.warnings(mounted, root, clock()):
            console.warn(warning)
        yield mounted


def _run(
    root: Path,
    bundle: str | None,
    wish: Wish,
    items: Sequence[Item],
    streams: Sequence[BinaryIO | AirgapError],
    formats: tuple[str, ...],
    key: HostKey | None,
) -> None:
    """Every recording into files, with a record of each folder that is written into.

    The bundle stays mounted until the end: what is skipped, and what is heard, is of one.
    """
    from airgap.errors import AirgapError
    from runtime.batch import running
    from runtime.batch.ledger import Ledger
    from runtime.batch.texts import Order
    from runtime.transcriber import Transcriber

    with _mounted(root, bundle) as mounted, ExitStack() as stack:
        work = Transcriber.work(mounted, wish)
        places = {
            item.place
            for item, stream in zip(items, streams, strict=True)
            if not isinstance(stream, AirgapError)
        }
        ledgers = {place: stack.enter_context(Ledger.opened(place)) for place in sorted(places)}
        order = Order(formats, key, wish.workers, work)
        load = partial(Transcriber.load, mounted, root, wish)
        running.run(items, streams, ledgers, order, load)


def _print_one(transcriber: Transcriber, item: Item, stream: BinaryIO, output_format: str) -> None:
    """One recording on stdout."""
    from runtime.batch.pace import Pace, Share
    from runtime.batch.texts import Opened
    from runtime.engine.formats import FORMATS
    from runtime.listening import Recording

    seconds = Opened.of(item, stream).seconds
    with console.progress(item.recording.name, round(seconds), unit="seconds") as bar:
        share = Share(Pace(seconds, 0, bar), seconds)
        recording = Recording.hashed(item.recording, stream)
        transcript, _damaged = recording.transcribed(transcriber, share.heard)
        share.finish()
    _print(FORMATS[output_format].render(transcript))


def _print(text: str) -> None:
    """A transcript on stdout: to a terminal escaped, to a file or pipe as `--out` writes it.

    A tab of tsv, or the joiners without which Persian and Hindi are misspelt, are no escape
    sequences; and there is no cursor in a file to move.
    """
    if sys.stdout.isatty():
        console.data(text.rstrip("\n"))
        return
    sys.stdout.write(text)
