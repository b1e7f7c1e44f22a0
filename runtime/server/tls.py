"""The server's certificate, exchanged without a restart."""

from __future__ import annotations

import ssl
from pathlib import Path

from airgap.errors import UsageError


class Certificate:
    """A certificate chain and its key, in PEM files, and the context that serves them.

    Attributes:
        context: TLS 1.2 and newer. New connections get what was loaded last.
    """

    def __init__(self, chain: Path, key: Path) -> None:
        self._chain, self._key = chain, key
        self.context = self._loaded()

    def reload(self) -> None:
        """Read both files again. Raises UsageError; then what was served stays."""
        self._loaded()  # a pair that does not match would be half taken over
        self.context.load_cert_chain(self._chain, self._key, password=_no_passphrase)

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._chain, self._key, password=_no_passphrase)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            raise UsageError(
                f"'{self._chain}' and '{self._key}' are not a certificate and its key: {reason}",
                hint="give PEM files that this user may read; the key without a passphrase",
            ) from error
        return context


def _no_passphrase() -> str:
    """Asked for by OpenSSL, which would else ask the terminal and wait."""
    return ""
