"""`airgap load`: a container image out of a mounted bundle, into this host's engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console, human_size
from airgap.verbs import options

if TYPE_CHECKING:
    from pathlib import Path

    from airgap.manifest import Artifact, File
    from runtime.generation import Generation

_IMAGE = "image"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("load")(load)


def load(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="The image's name, where the bundle has several.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="ENGINE|FILE",
            help="docker, podman, containerd, or a file to write (./FILE.tar); else the one engine "
            "that this host has.",
            show_default=False,
        ),
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option(
            metavar="BUNDLE",
            help="Name of the mounted bundle, where there are several.",
            show_default=False,
        ),
    ] = None,
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Hand a container image of a mounted bundle to docker, podman or containerd.

    All of it is compared with what was signed before the engine is given the first byte, and each
    piece once more as it is handed over. The engine's own command takes it from standard input
    (`docker load`, `podman load`, `ctr images import -`), as this user. For Kubernetes:
    CONTAINERD_NAMESPACE=k8s.io airgap load --to containerd.

    \b
    Examples:
      airgap load
      airgap load airgap-cpu --to podman
      airgap load --to ./airgap-cpu.tar
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places
    from airgap.accepted import clock
    from airgap.evidence import refusal_recorded
    from runtime import generation, image_engines, loading, standing

    place = places.isolated_root(root)
    target = image_engines.choose(to)
    with generation.current(place, bundle) as one:
        artifact, file = _image(one, name)
        for warning in standing.warnings(one, place, clock()):
            console.warn(warning)
        with (
            refusal_recorded(place, "load", one.statement.title),
            console.progress("check", file.size) as bar,
            loading.matched_pieces(one, file, bar.advance) as pieces,
        ):
            said = target.load(pieces)
        _record(place, one, artifact, file, target.name)
    for line in said.splitlines():
        console.say(line)
    console.data(f"{artifact.id} of {one.statement.title}: verified, and handed to {target.name}")
    console.data(f"  sha256         {file.sha256}")
    console.data(f"  size           {human_size(file.size)}")
    console.data(f"  approval code  {one.approval_code}")
    console.document(
        "airgap/load/v1",
        {
            "bundle": one.statement.name,
            "version": one.statement.version,
            "image": artifact.id,
            "sha256": file.sha256,
            "size": file.size,
            "to": target.name,
            "approval_code": one.approval_code,
            "said": said.splitlines(),
        },
    )


def _image(one: Generation, name: str | None) -> tuple[Artifact, File]:
    """The image of that name, and its archive; the only one, where none is given."""
    from airgap.errors import UsageError

    found = [artifact for artifact in one.manifest.artifacts if artifact.role == _IMAGE]
    chosen = [artifact for artifact in found if name in {None, artifact.id}]
    if len(chosen) != 1:
        wanted = f"the image '{name}'" if name else "one image"
        names = ", ".join(artifact.id for artifact in found) or "none"
        raise UsageError(
            f"expected {wanted} in '{one.statement.title}', found: {names}",
            hint=f"airgap load {found[0].id}" if found else "airgap list; see docs/images.md",
        )
    files = one.manifest.files_of(chosen[0])
    if len(files) != 1:
        raise UsageError(
            f"the image '{chosen[0].id}' has {len(files)} files, expected one archive",
            hint="ask who built the bundle",
        )
    return chosen[0], files[0]


def _record(root: Path, one: Generation, artifact: Artifact, file: File, where: str) -> None:
    from airgap.evidence import record_change

    record_change(
        root,
        f"'{artifact.id}' was handed to {where}",
        "load",
        bundle=one.statement.title,
        approval_code=one.approval_code.replace(" ", ""),
        image=artifact.id,
        sha256=file.sha256,
        to=where,
    )
