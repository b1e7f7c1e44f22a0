"""`airgap apikey`: who may use the transcription server of this host."""

from __future__ import annotations

from typing import Annotated

import typer

from airgap.console import console
from airgap.verbs import options

HELP = """Make, list and revoke the API keys of `airgap serve` on this host.

A key is shown once, when it is made; the host keeps its SHA-256. A running server takes a change
over at the next request.
"""

_Name = Annotated[str, typer.Argument(metavar="NAME", help="Whose key: a person or a program.")]


def register(app: typer.Typer) -> None:
    """Add the group of verbs."""
    group = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode=None)
    group.command("add")(add)
    group.command("list")(show)
    group.command("revoke")(revoke)
    app.add_typer(group, name="apikey")


def add(
    name: _Name,
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make a key and print it, this once.

    \b
    Examples:
      airgap apikey add ward-7
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places
    from airgap.accepted import clock
    from runtime.server.keys import KeyFile

    path = KeyFile.under(places.isolated_root(root))
    key = KeyFile.load(path).add(name, clock())
    console.data(key)
    console.say(f"the key of '{name}'; it is not kept, and not shown again")
    console.document("airgap/apikey-add/v1", {"name": name, "key": key, "file": str(path)})


def show(
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show whose keys there are, and since when.

    \b
    Examples:
      airgap apikey list
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places
    from runtime.server.keys import KeyFile

    path = KeyFile.under(places.isolated_root(root))
    entries = KeyFile.load(path).entries
    if entries:
        console.table(("NAME", "CREATED"), [(entry.name, entry.created) for entry in entries])
    else:
        console.say(f"no API keys in '{path}'; next: airgap apikey add NAME")
    console.document(
        "airgap/apikey-list/v1",
        {
            "file": str(path),
            "keys": [{"name": entry.name, "created": entry.created} for entry in entries],
        },
    )


def revoke(
    name: _Name,
    root: options.Root = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Forget a key: whoever has it is refused from the next request on.

    \b
    Examples:
      airgap apikey revoke ward-7
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places
    from runtime.server.keys import KeyFile

    path = KeyFile.under(places.isolated_root(root))
    KeyFile.load(path).revoke(name)
    console.data(f"revoked the key of '{name}'")
    console.document("airgap/apikey-revoke/v1", {"name": name, "file": str(path)})
