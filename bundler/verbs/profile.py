"""The argument that every verb of the connected side has."""

from __future__ import annotations

from typing import Annotated

import typer

ProfileName = Annotated[
    str, typer.Argument(metavar="PROFILE", help="A shipped profile's name, or a file's path.")
]
