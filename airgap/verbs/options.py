"""Options that several verbs have, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.extras import by_pip

if TYPE_CHECKING:
    from collections.abc import Callable

    from airgap.accepted import Overrides
    from airgap.evidence import Decision
    from airgap.keys import PublicKey
    from airgap.receipt import Action
    from airgap.trust import TrustStore

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but warnings and errors.")]
Root = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="The host's root: trust, store, mounts. Else AIRGAP_ROOT, else /var/lib/airgap where "
        "it is writable, else the user's data folder.",
        show_default=False,
    ),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="File whose first line is the passphrase; else it is asked.",
        show_default=False,
    ),
]
PassphraseFd = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Open descriptor to read the passphrase from.", show_default=False
    ),
]
Bundle = Annotated[
    Path,
    typer.Argument(
        metavar="BUNDLE",
        help="The .tar.zst file, one of its volumes, the folder that they lie in, or - for a pipe.",
    ),
]
BundleFiles = Annotated[
    Path,
    typer.Argument(
        metavar="BUNDLE",
        help="The .tar.zst file, one of its volumes, or the folder that they lie in.",
    ),
]
Also = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FOLDER",
        help="A further folder with volumes of the bundle: a set that is spread over several "
        "sticks. May be given again.",
        show_default=False,
    ),
]
SignAs = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        metavar="NAME",
        help="Sign as NAME, with all keys that `airgap keygen NAME` made; or with the key in a "
        "file. May be given again.",
        show_default=False,
    ),
]
Mounted = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]", help="The bundle's name, where several are mounted.", show_default=False
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
AllowOlder = Annotated[
    str | None,
    typer.Option(
        metavar="REASON",
        help="Take a bundle that is older than what was accepted. The reason is recorded.",
        show_default=False,
    ),
]
ClockWrong = Annotated[
    str | None,
    typer.Option(
        metavar="REASON",
        help="Take a bundle that expired by this host's clock. The reason is recorded.",
        show_default=False,
    ),
]


def decision(action: Action, bundle: Path, root: Path | None, overrides: Overrides) -> Decision:
    """A decision of this host about a bundle, to be taken and recorded."""
    from airgap import places
    from airgap.accepted import clock
    from airgap.evidence import Decision

    return Decision(
        places.isolated_root(root), action, bundle.name or bundle.resolve().name, clock(), overrides
    )


def require(module: str, extra: str, verb: str, brings: Callable[[str], str] = by_pip) -> None:
    """Raise UsageError where the library that a verb needs is not installed.

    Args:
        module: as it is imported.
        extra: of ours that installs it.
        verb: as it is typed.
        brings: the command that installs an extra; asked where the library is missing.
    """
    from importlib.util import find_spec

    from airgap.errors import UsageError

    if find_spec(module) is None:
        raise UsageError(
            f"`{verb}` needs {module}, which is not installed",
            hint=brings(extra),
        )


def load_public_keys(paths: list[Path]) -> tuple[PublicKey, ...]:
    """Every key of the PEM files that a command line names. Raises UsageError."""
    from airgap import keys, limits
    from airgap.files import read_bounded

    return tuple(
        key
        for path in paths
        for key in keys.load_public_keys(
            read_bounded(path, limits.KEY_FILE, "a public key"), str(path)
        )
    )


def asked_store(root: Path | None, key: list[Path]) -> TrustStore:
    """This host's trust store. Raises UsageError for --key, where it is the system's."""
    from airgap import places
    from airgap.errors import UsageError
    from airgap.trust import TrustStore as Store

    store = Store.of_host(places.isolated_root(root))
    if key and store.decides_alone:
        raise UsageError(
            f"{store.name} decides alone on this host, and --key is not asked",
            hint="airgap verify BUNDLE, without --key",
        )
    return store
