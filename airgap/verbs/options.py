"""Options that several verbs have, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
