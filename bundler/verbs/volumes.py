"""Options of the verbs that write volumes and recovery data."""

from __future__ import annotations

from typing import Annotated

import typer

SIZES = "fat32, cd, dvd, bd, or a number such as 4GB or 700MiB"

Split = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help=f"Write volumes of this size: {SIZES}. What fits into one is not split.",
        show_default=False,
    ),
]
Recovery = Annotated[
    int | None,
    typer.Option(
        metavar="PERCENT",
        min=1,
        max=100,
        help="Write recovery data (PAR2) beside the bundle: so much of it may be lost or damaged, "
        "and `airgap repair` brings it back.",
        show_default=False,
    ),
]
