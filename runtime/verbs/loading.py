"""Options of the verbs that load a model, declared once."""

from __future__ import annotations

from typing import Annotated

import typer

from runtime.verified_load import VerifiedLoad

Device = Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu or cuda.")]
ComputeType = Annotated[
    str,
    typer.Option(metavar="TYPE", help="auto, or an arithmetic of CTranslate2's: int8, float16, …"),
]
Way = Annotated[
    VerifiedLoad,
    typer.Option(
        metavar="|".join(VerifiedLoad),
        help="buffer: what was hashed in memory is what the engine gets. path: hash in place, "
        "then load by path; for hosts short of memory.",
    ),
]
