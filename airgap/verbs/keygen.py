"""`airgap keygen`: the keys of a signer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console
from airgap.verbs import options

if TYPE_CHECKING:
    from airgap.keys import PublicKey


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("keygen")(keygen)


def keygen(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the signer: a person or a team.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for the keys. Else AIRGAP_KEYS, else airgap/keys in the user's "
            "configuration, where --key NAME finds them.",
            show_default=False,
        ),
    ] = None,
    cnsa2: Annotated[
        bool, typer.Option("--cnsa2", help="Also make an ML-DSA-87 key, for CNSA 2.0.")
    ] = False,
    unencrypted: Annotated[
        bool, typer.Option("--unencrypted", help="Do not encrypt the private keys.")
    ] = False,
    passphrase_file: options.PassphraseFile = None,
    passphrase_fd: options.PassphraseFd = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make the keys of a signer: Ed25519 and ECDSA P-384, in PEM files that openssl reads too.

    A build signs with all of them; a host that trusts the signer wants all of them. The public
    half is in .pub files; NAME.ed25519.minisign is it once more, for the tool minisign.

    \b
    Examples:
      airgap keygen alice
      airgap keygen alice --cnsa2 --out /media/key-stick
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import keys, passphrase, places, signing
    from airgap.errors import UsageError
    from airgap.strict_json import is_name

    if not is_name(name) or "." in name:
        raise UsageError(f"'{name}' cannot name a signer: expected [a-z0-9][a-z0-9_-]*")
    folder = out or places.key_folder()
    secret = None
    if not unencrypted:
        what = f"the new keys of '{name}'"
        secret = passphrase.read(what, passphrase_file, passphrase_fd, twice=True)
    algorithms = keys.ALGORITHMS if cnsa2 else keys.ALGORITHMS[:2]
    pairs = [signing.generate(algorithm) for algorithm in algorithms]
    signing.save(folder, name, pairs, secret)
    _report(name, folder, [pair.public for pair in pairs])


def _report(name: str, folder: Path, public: list[PublicKey]) -> None:
    from airgap import keys
    from airgap.digest import grouped

    console.data(f"keys of '{name}' in {folder}")
    for key in public:
        console.data(f"  {key.algorithm:<11} {name}.{key.algorithm}.key  .pub  {key.key_id[:16]}")
    console.data("fingerprint, for paper:")
    console.data(f"  {grouped(keys.fingerprint(public))}")
    console.say("hand over the .pub files and, on paper, the fingerprint; keep the .key files")
    console.say(f"make a spare and keep it elsewhere: airgap keygen {name}-spare --out FOLDER")
    console.document(
        "airgap/keygen/v1",
        {
            "signer": name,
            "folder": str(folder),
            "fingerprint": keys.fingerprint(public),
            "keys": [{"algorithm": key.algorithm, "key_id": key.key_id} for key in public],
        },
    )
