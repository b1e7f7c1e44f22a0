"""The options of the verbs that reach the site's own store or registry, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from airgap.verbs import options

CaBundle = Annotated[
    Path | None,
    typer.Option(
        "--ca-bundle",
        metavar="FILE",
        help="Certificate authorities to trust (PEM); else those of SSL_CERT_FILE, "
        "REQUESTS_CA_BUNDLE or AWS_CA_BUNDLE.",
        show_default=False,
    ),
]
PlainHttp = Annotated[
    bool | None,
    typer.Option(
        "--plain-http/--tls",
        help="Speak to a registry without TLS, or with it; else without it on this machine's own "
        "addresses alone. For S3, S3_ENDPOINT says it.",
        show_default=False,
    ),
]


def prepare(verb: str, address: str, ca_bundle: Path | None) -> None:
    """Have the library that an address needs, and the authorities that it trusts.

    Raises:
        UsageError: the library is not installed, or the file holds no certificates.
    """
    from airgap import authorities

    options.require("oras" if address.startswith("oci:") else "boto3", "site", f"airgap {verb}")
    authorities.trust(ca_bundle)
