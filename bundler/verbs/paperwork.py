"""`airgap paperwork`: the papers beside a bundle, made anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console
from airgap.verbs import options

if TYPE_CHECKING:
    from airgap.keys import PublicKey
    from bundler.paperwork import Remade


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("paperwork")(paperwork)


def paperwork(
    bundle: options.BundleFiles,
    public_key: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="A signer's .pub, to check minisign and model signatures with, beside those of "
            "the key folder. May be given again.",
            show_default=False,
        ),
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make the papers beside a bundle anew: all that need no private key.

    They come out of the bundle, which is checked to its last byte first. What only a private key
    can make (*.minisig, model.sig) stays, and is checked where its key is known here. Whether its
    signers are to be trusted is for `airgap verify` to say.

    \b
    Examples:
      airgap paperwork demo-1.0.0/demo-1.0.0.tar.zst
      airgap paperwork demo-1.0.0.tar.zst --public-key officer.ecdsa-p384.pub
    """
    console.configure(as_json=json, quiet=quiet)
    from bundler.paperwork import check, remake

    named = _named_keys(public_key or [])
    names = {key.key_id: name for key, name in named}
    remade = remake(bundle, (key for key, _name in named), names)
    _report(bundle, remade)
    console.configure(quiet=quiet)  # the one document is out
    check(remade, bundle)


def _named_keys(paths: list[Path]) -> list[tuple[PublicKey, str]]:
    """The public keys of the key folder and of these files, with their signers' names."""
    from airgap import places, signing

    there = sorted(places.key_folder().glob("*.pub"))
    return [
        (key, signing.signer_name(path.name))
        for path in (*there, *paths)
        for key in options.load_public_keys([path])
    ]


def _report(bundle: Path, remade: Remade) -> None:
    console.data(f"{bundle}: papers made anew")
    console.data(f"  made           {', '.join(remade.made)}")
    console.data(f"  kept           {', '.join(remade.kept) or 'nothing'}")
    if remade.unchecked:
        console.data(f"  not checked    {', '.join(remade.unchecked)}")
        console.warn("the keys of some signature files are not known here: --public-key FILE")
    console.document(
        "airgap/paperwork/v1",
        {
            "bundle": str(bundle),
            "made": list(remade.made),
            "kept": list(remade.kept),
            "not_checked": list(remade.unchecked),
            "wrong": list(remade.wrong),
        },
    )
