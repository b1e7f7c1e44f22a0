"""The isolated host's part of `airgap cache`: mounts, foreign caches, and variables for others."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from airgap.caches import Holding, Request, Side
from airgap.console import console
from airgap.verbs import options
from airgap.verbs.cache import Caches


class Host(Side):
    """Mounts, the store, and the folders that libraries fill by themselves."""

    @property
    def kinds(self) -> Sequence[str]:
        """A folder each."""
        from runtime.holdings import KINDS

        return KINDS

    def holdings(self, root: Path | None, /) -> list[Holding]:
        """All of them, each file counted once."""
        from airgap import places
        from runtime import holdings
        from runtime.cache import CachePaths

        return holdings.of_host(places.isolated_root(root), CachePaths.foreign(root))

    def warnings(self, root: Path | None, /) -> list[str]:
        """Variables that lead a library past the mount; none where there is no single one."""
        from airgap import places
        from runtime import generation
        from runtime.cache import CachePaths

        names = generation.mounted(places.isolated_root(root))
        return CachePaths.find(names[0], root).shadowed_by() if len(names) == 1 else []

    def clear(self, request: Request, /, *, dry_run: bool) -> list[Holding]:
        """Remove foreign files; what is mounted stays."""
        from airgap import places
        from runtime import clearing
        from runtime.cache import CachePaths

        root = places.isolated_root(request.root)
        paths = CachePaths.foreign(request.root)
        return clearing.clear(root, paths, request.kinds, dry_run=dry_run)

    def staying(self, root: Path | None, /) -> list[str]:
        """What is mounted."""
        from airgap import places
        from runtime import generation

        return [
            f"'{name}' stays mounted; what removes it: airgap unmount {name}, then airgap gc"
            for name in generation.mounted(places.isolated_root(root))
        ]

    def key(self, name: str | None, root: Path | None, /) -> str | None:
        """By the manifest of a mounted bundle, without what its build made."""
        from airgap import places
        from airgap.caches import key
        from runtime import generation

        place = places.isolated_root(root)
        names = generation.mounted(place)
        if not names or (name is not None and name not in names):
            return None
        with generation.current(place, name) as one:
            made = {derived.path for derived in one.manifest.derived}
            locked = (
                file.sha256
                for file in one.manifest.files
                if file.artifact is not None and file.path not in made
            )
            return key(one.manifest.name, locked)


class Format(StrEnum):
    """What `env` writes."""

    SHELL = "shell"
    DOCKERFILE = "dockerfile"


def register(app: typer.Typer) -> None:
    """Add the host's caches to the verb, and `env`."""
    caches = Caches.of(app)
    caches.sides.insert(0, Host())  # what is mounted is shown, and asked, first
    caches.command("env")(env)


def env(
    bundle: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of several mounted bundles, which.", show_default=False),
    ] = None,
    format: Annotated[  # noqa: A002 - the option is called so
        Format, typer.Option(help="For `eval` in a shell, or as lines of a Dockerfile.")
    ] = Format.SHELL,
    at: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where the program will see the cache root, in a container for instance.",
            show_default=False,
        ),
    ] = None,
    root: options.Root = None,
    json: options.Json = False,
) -> None:
    """Print the variables by which other programs find the models, and no network.

    Of the mounted bundle; where nothing is mounted, of the folders beside.

    \b
    Examples:
      eval "$(airgap cache env)"
      airgap cache env --format dockerfile --at /models
    """
    console.configure(as_json=json)
    from runtime.cache import SHADOWS, CachePaths

    paths = CachePaths.find(bundle, root)
    if paths.bundle is None:
        console.warn(f"nothing is mounted: '{paths.root}' is a cache that nobody verified")
    variables = (CachePaths.below(at, paths.bundle) if at else paths).environment()
    if format is Format.DOCKERFILE:
        for name, value in variables.items():
            console.data(f"ENV {name}={_for_dockerfile(value)}")
    else:
        for name, value in variables.items():
            console.data(f"export {name}={shlex.quote(value)}")
        console.data(f"unset {' '.join(SHADOWS)}")
    console.document(
        "airgap/cache-env/v1",
        {"bundle": paths.bundle, "variables": variables, "unset": list(SHADOWS)},
    )


def _for_dockerfile(value: str) -> str:
    """In quotes, in which a Dockerfile takes a backslash, a quote and a dollar for what they do."""
    for special in '\\"$':
        value = value.replace(special, f"\\{special}")
    return f'"{value}"'
