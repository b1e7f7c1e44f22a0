"""`airgap serve`: an offline transcription server with OpenAI's API, from a mounted bundle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.verbs import options
from runtime.engine.speakers.choosing import Diarization
from runtime.verbs import doors, from_bucket, handover, loading, speakers
from runtime.verified_load import VerifiedLoad

if TYPE_CHECKING:
    pass

_MIB = 1 << 20


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("serve")(serve)


def serve(
    bundle_file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[BUNDLE]",
            help="A .tar.zst file to verify and mount first; else what is mounted is served.",
            show_default=False,
        ),
    ] = None,
    host: doors.Address = "127.0.0.1",
    port: doors.Port = 8000,
    bundle: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the mounted bundle, where there are several."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            envvar="MODEL_SIZE",
            help="Model to serve, where the bundle has several; may be given again. The first is "
            "`whisper-1`.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Recordings computed at once; they share the weights. 0: two where there are two "
            "cores.",
        ),
    ] = 0,
    threads: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="CPU threads of each; 0 shares the cores out."),
    ] = 0,
    device: loading.Device = "auto",
    compute_type: loading.ComputeType = "auto",
    verified_load: loading.Way = VerifiedLoad.BUFFER,
    diarization: speakers.Duty = Diarization.AUTO,
    emotion: Annotated[
        bool,
        typer.Option(
            "--emotion",
            help="Load the bundle's emotion models, for requests that ask how it sounds.",
        ),
    ] = False,
    tls_cert: doors.Chain = None,
    tls_key: doors.ChainKey = None,
    allow_anonymous: doors.Anonymous = False,
    behind_proxy: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Address of a reverse proxy, whose X-Forwarded-For is believed.",
            show_default=False,
        ),
    ] = None,
    max_upload: Annotated[
        int, typer.Option(metavar="MIB", min=1, help="Largest recording; above it, 413.")
    ] = 512,
    max_minutes: Annotated[
        int, typer.Option(metavar="MINUTES", min=1, help="Longest recording; above it, 400.")
    ] = 240,
    memory: Annotated[
        int,
        typer.Option(
            metavar="MIB", min=1, help="Of a recording, held in memory; larger ones are spooled."
        ),
    ] = 8,
    spool: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Private folder for large recordings, swept at start; else AIRGAP_SPOOL, else "
            "`spool` in the root.",
            show_default=False,
        ),
    ] = None,
    queue: Annotated[
        int, typer.Option(metavar="N", min=1, help="Requests that may wait; above it, 429.")
    ] = 64,
    concurrency: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=2,
            help="Recordings transcribed in turns, each held decoded: 0.4 GB an hour of audio.",
        ),
    ] = 4,
    per_caller: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Requests of one caller at a time; 0: half the queue."
        ),
    ] = 0,
    upload_seconds: Annotated[
        int, typer.Option(metavar="SECONDS", min=1, help="For a body to arrive; above it, 408.")
    ] = 900,
    drain_seconds: Annotated[
        int, typer.Option(metavar="SECONDS", min=0, help="To finish requests in, after SIGTERM.")
    ] = 300,
    log_text: Annotated[
        bool, typer.Option("--log-text", help="Write transcripts into the log.")
    ] = False,
    attest: Annotated[
        bool,
        typer.Option(
            "--attest",
            help="Sign each answer with this host's key; `airgap verify --response` checks it.",
        ),
    ] = False,
    allow_network: Annotated[
        bool, typer.Option("--allow-network", help="Do not leave the network.")
    ] = False,
    print_unit: Annotated[
        bool,
        typer.Option("--print-unit", help="Print a hardened systemd unit for these options."),
    ] = False,
    root: options.Root = None,
) -> None:
    """Serve transcription to OpenAI's clients, from a process that has left the network for good.

    It binds one socket, leaves the network, proves that it did, loads the model from bytes that
    match the signed manifest, tries it, and answers. API keys: `airgap apikey add NAME`, or
    API_KEYS (separated by commas). SIGTERM finishes what was taken in; SIGHUP reads certificate
    and mount again; a new mount is served without a lost request.

    With USE_S3_MODELS=true the newest bundle below s3://MODEL_BUCKET/models is pulled, verified and
    mounted first, unless it is mounted already.

    \b
    Examples:
      airgap serve
      airgap serve --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem
      airgap serve --print-unit > /etc/systemd/system/airgap.service
    """
    from airgap import places
    from airgap.host_key import HostKey
    from runtime.server.limits import Limits

    place = places.isolated_root(root)
    if bundle_file is None:
        if not print_unit:
            bundle = from_bucket.mount_newest(place, bundle)
        handover.to_runtime(place, bundle)
    if print_unit:
        _print_unit(place, host, port, drain_seconds)
        return
    doors.refuse_half_a_pair(tls_cert, tls_key)
    bounds = Limits(
        upload_bytes=max_upload * _MIB,
        memory_bytes=memory * _MIB,
        upload_seconds=upload_seconds,
        audio_seconds=max_minutes * 60.0,
        queue=queue,
        concurrency=concurrency,
        per_caller=per_caller or (queue + 1) // 2,
    )
    name = _mount_first(bundle_file, place) if bundle_file else bundle
    handover.require("faster_whisper", "cpu", "airgap serve", place, name)
    handover.require("fastapi", "server", "airgap serve", place, name)
    chosen = _check_mount(place, name, tuple(model or ()), diarization, emotion=emotion)
    keys = doors.keys(place)
    host_key = HostKey.of(place) if attest else None
    with doors.bound(host, port) as listener:
        certificate = doors.certificate(tls_cert, tls_key)
        doors.refuse_open_doors(
            listener,
            keys,
            "keys, recordings and transcripts",
            tls=certificate is not None,
            allow_anonymous=allow_anonymous,
        )
        folder = _prepared_spool(spool or places.spool(place))
        isolation = doors.leave_network(listener, allow_network=allow_network)

        from runtime.server import application, logs
        from runtime.server.application import House
        from runtime.server.listener import shown
        from runtime.server.running import Manners, Running
        from runtime.server.service import Source

        logs.start()
        logs.say("offline", doors.network(isolation))
        application.use_spool(folder, bounds)
        source = Source(
            root=place,
            bundle=chosen,
            models=tuple(model or ()),
            device=device,
            compute_type=compute_type,
            threads=threads,
            workers=workers or _usual_workers(),
            verified_load=verified_load,
            diarization=diarization,
            emotion=emotion,
        )
        house = House.of(source, keys, bounds, log_text=log_text, key=host_key, isolation=isolation)
        manners = Manners(drain_seconds=drain_seconds, proxy=behind_proxy)
        logs.say("listening", f"listening on {shown(listener, tls=certificate is not None)}")
        Running(house, listener, certificate, manners).run()


def _mount_first(bundle_file: Path, root: Path) -> str:
    """Verify and mount, exactly as `airgap mount` does; the bundle's name."""
    from airgap import volumes
    from airgap.archive import read_head
    from airgap.statement import Statement
    from runtime.verbs import mount

    mount.mount(bundle_file, root=root)
    with volumes.opened(bundle_file) as source:
        return Statement.parse(read_head(source).statement).name


def _check_mount(
    root: Path,
    bundle: str | None,
    models: tuple[str, ...],
    diarization: Diarization,
    *,
    emotion: bool,
) -> str:
    """Refuse, before anything is bound, what could not be served; the name of the bundle."""
    from runtime import generation, promises

    with generation.current(root, bundle) as mounted:
        promises.kept(mounted, models, diarization, emotion=emotion)
        return mounted.statement.name


def _prepared_spool(folder: Path) -> Path:
    from runtime.server import spool

    return spool.prepare(folder)


def _usual_workers() -> int:
    """Two share two cores or more: for short recordings that beats one with all the cores."""
    import os

    return min(2, len(os.sched_getaffinity(0)))


def _print_unit(root: Path, host: str, port: int, drain_seconds: float) -> None:
    """The unit runs this very command."""
    from runtime.server import listener, unit

    with listener.bind(host, 0) as probe:
        loopback = listener.is_loopback(probe)
    command = [argument for argument in sys.argv[1:] if argument not in {"serve", "--print-unit"}]
    executable = Path(sys.argv[0]).absolute()
    sys.stdout.write(unit.text(unit.Host(executable, command, root, port, loopback, drain_seconds)))
