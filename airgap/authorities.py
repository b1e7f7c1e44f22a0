"""The certificate authorities that a site trusts: one choice, for every library.

A proxy that inspects TLS shows certificates of the site's own authority. Each library looks for
that authority elsewhere: huggingface_hub in SSL_CERT_FILE, requests in REQUESTS_CA_BUNDLE, boto3 in
AWS_CA_BUNDLE, pip in PIP_CERT. Whoever sets one of them means all.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Final

from airgap.errors import UsageError

VARIABLES: Final = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "PIP_CERT")

CA_HINT: Final = "where a proxy inspects TLS, give its authorities: --ca-bundle FILE"


def trust(bundle: Path | None) -> None:
    """Let every library of this process trust the authorities in one file.

    Called before any of them is used; they read their variables then.

    Args:
        bundle: PEM certificates, which replace the system's; None takes what the first of
            `VARIABLES` names that is set, and leaves the libraries alone where none is.

    Raises:
        UsageError: the file holds no certificate.
    """
    if bundle is not None:
        check(bundle)
        os.environ.update(dict.fromkeys(VARIABLES, str(bundle.absolute())))
    elif named := authorities_named():
        for name in VARIABLES:
            os.environ.setdefault(name, named)


def check(bundle: Path) -> None:
    """Raise UsageError where a file holds no certificate."""
    try:
        context = ssl.create_default_context(cafile=str(bundle))
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"--ca-bundle: '{bundle}' holds no certificates: {error}",
            hint="a PEM file of the authorities that your site trusts",
        ) from error
    if not context.cert_store_stats()["x509_ca"]:
        raise UsageError(f"--ca-bundle: '{bundle}' holds no certificate of an authority")


def authorities_named() -> str | None:
    """What the first of `VARIABLES` names that is set."""
    return next((value for name in VARIABLES if (value := os.environ.get(name))), None)


def authorities() -> str | bool:
    """For libraries that are told: a file, or True for their own."""
    return authorities_named() or True
