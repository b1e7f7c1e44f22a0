"""`airgap mirror`: what is mounted, as a read-only hub for other machines inside the site."""

from __future__ import annotations

from typing import Annotated

import typer

from airgap.verbs import options
from runtime.verbs import doors


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("mirror")(mirror)


def mirror(
    bundle: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Mounted bundle to serve; may be given again. Else all that are mounted.",
            show_default=False,
        ),
    ] = None,
    host: doors.Address = "127.0.0.1",
    port: doors.Port = 8001,
    tls_cert: doors.Chain = None,
    tls_key: doors.ChainKey = None,
    allow_anonymous: doors.Anonymous = False,
    allow_network: Annotated[
        bool, typer.Option("--allow-network", help="Do not leave the network.")
    ] = False,
    root: options.Root = None,
) -> None:
    """Serve mounted models to the hub's own clients, from a process that has left the network.

    Other machines of the site set HF_ENDPOINT to its address: huggingface_hub, `hf download`,
    faster-whisper and `airgap fetch` then read from it. Every file is compared with the signed
    manifest first, and again when it was touched; nothing is written. With API keys
    (`airgap apikey add NAME`) a client sets HF_TOKEN to its key. SIGTERM finishes the answers;
    SIGHUP reads certificate and mounts again; a new mount is served within seconds.

    \b
    Examples:
      airgap mirror
      airgap mirror --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem
      HF_ENDPOINT=http://127.0.0.1:8001 hf download Systran/faster-whisper-tiny.en
    """
    from airgap import places
    from runtime import generation
    from runtime.server.listener import shown

    doors.refuse_half_a_pair(tls_cert, tls_key)
    place = places.isolated_root(root)
    bundles = tuple(bundle or ())
    for name in bundles or generation.mounted(place) or (None,):
        with generation.current(place, name):  # what could not be served is refused before
            pass
    keys = doors.keys(place)
    with doors.bound(host, port) as listener:
        certificate = doors.certificate(tls_cert, tls_key)
        tls = certificate is not None
        doors.refuse_open_doors(
            listener, keys, "keys and models", tls=tls, allow_anonymous=allow_anonymous
        )
        sentence = doors.leave_network(listener, allow_network=allow_network)

        from runtime.folders import Folder
        from runtime.mirror.running import Running
        from runtime.server import logs

        logs.start()
        logs.say("offline", sentence)
        with Folder.at(place) as opened:
            running = Running(opened, bundles, listener, certificate, keys)
            logs.say("listening", f"listening on {shown(listener, tls=tls)}")
            running.run()
