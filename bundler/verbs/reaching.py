"""The option of every verb that reaches sources."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CaBundle = Annotated[
    Path | None,
    typer.Option(
        "--ca-bundle",
        metavar="FILE",
        help="Certificate authorities to trust (PEM), where a proxy inspects TLS; else those of "
        "SSL_CERT_FILE, REQUESTS_CA_BUNDLE, AWS_CA_BUNDLE or PIP_CERT.",
        show_default=False,
    ),
]
