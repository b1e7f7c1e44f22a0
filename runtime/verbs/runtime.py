"""`airgap runtime`: the programs that a mounted bundle carries, installed beside its models."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console
from airgap.verbs import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.environments import Runtime
    from runtime.generation import Generation

group = typer.Typer(
    name="runtime",
    no_args_is_help=True,
    help="Install the programs that a mounted bundle carries, and try them.",
)

Sample = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Recording to transcribe; else the bundle's own.", show_default=False
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.add_typer(group)


@group.command("install")
def install(
    name: options.Mounted = None,
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Install the wheels of a mounted bundle into an environment of their own.

    Every wheel is compared with what was signed, and again by pip, which runs out of a wheel of the
    bundle and takes nothing else. No network, no compiler, no root. From then on
    `airgap transcribe` and `airgap serve` run by it, and `airgap rollback` goes back to the runtime
    of the generation that it goes back to.

    \b
    Examples:
      airgap runtime install
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places
    from airgap.evidence import record_change, refusal_recorded
    from runtime import environments, generation
    from runtime import root as roots

    place = places.isolated_root(root)
    bundle = generation.the_one(place, name, "airgap runtime install")
    with (
        roots.locked(place) as locked,
        refusal_recorded(place, "runtime", bundle),
        generation.current(place, bundle) as one,
    ):
        runtime = installed(locked.path, one)
        environments.link(one.folder, runtime)
        done = f"the runtime of '{one.statement.title}' is installed"
        record_change(
            place, done, "runtime", bundle=one.statement.title, runtime=runtime.folder.name
        )
        _report(one, runtime)


def installed(root: Path, one: Generation) -> Runtime:
    """Install a generation's runtime, with a bar for what is compared."""
    from runtime import environments
    from runtime.folders import Folder

    size = sum(file.size for file in one.manifest.files if file.path.startswith("wheels/"))
    with console.progress("wheels", size) as bar, Folder.at(root) as place:
        return environments.install(place, one, bar.advance)


def _report(one: Generation, runtime: Runtime) -> None:
    from runtime import environments

    console.data(f"{one.statement.title}: its runtime is installed")
    console.data(f"  runtime        {runtime.folder}")
    console.data(f"  command        {environments.stable_command(one)}")
    console.say("next: airgap runtime try; airgap transcribe FILE")
    console.document(
        "airgap/runtime-install/v1",
        {
            "name": one.statement.name,
            "version": one.statement.version,
            "runtime": str(runtime.folder),
            "command": str(environments.stable_command(one)),
        },
    )


@group.command("try")
def try_(
    name: options.Mounted = None,
    sample: Sample = None,
    tree: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of a generation that is not served yet, as `airgap update` tries it.",
            show_default=False,
        ),
    ] = None,
    root: options.Root = None,
    quiet: options.Quiet = False,
) -> None:
    """Transcribe a bundle's own recording with its own models, after leaving the network.

    Where the bundle promises to say who speaks, that is tried too. Prints the text. Fails where a
    model does not load, or hears nothing or nobody.

    \b
    Examples:
      airgap runtime try
    """
    console.configure(quiet=quiet)
    from airgap import places
    from runtime import environments, offline, recordings, trial
    from runtime.verbs import handover

    place = places.isolated_root(root)
    if tree is None:
        handover.to_runtime(place, name)
    with _opened(place, name, tree) as one:
        brings = partial(environments.what_brings, one)
        options.require("faster_whisper", "cpu", "airgap runtime try", brings)
        file = sample or one.folder.path / trial.sample(one.manifest).path
    with recordings.open_recording(file) as stream:
        # Every other descriptor is closed by it, so that the generation is opened anew.
        proof = offline.leave_network(keep=[stream.fileno()])
        console.say(f"Running in OFFLINE mode: {proof.sentence()}")
        from runtime.hear import hear

        with _opened(place, name, tree) as one:
            heard = hear(one, stream, str(file))
        console.data(heard.text)
        if heard.speakers is not None:
            console.say(f"{heard.by} tells speakers apart; heard: {heard.speakers}")


@contextmanager
def _opened(root: Path, name: str | None, tree: Path | None) -> Iterator[Generation]:
    """What is mounted; or a generation that is not served yet, by its folder."""
    from runtime import generation
    from runtime.folders import Folder

    if tree is None:
        with generation.current(root, name) as one:
            yield one
    else:
        with Folder.at(tree) as folder:
            yield generation.read(folder, 0)
