"""Passphrases: from a prompt, a file or an open descriptor; never from an argument or variable."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from airgap.errors import UsageError
from airgap.files import read_bounded

_LONGEST = 1024


def read(what: str, file: Path | None, descriptor: int | None, *, twice: bool = False) -> bytes:
    """A passphrase, without the newline that ends it.

    Args:
        what: what it opens, for the prompt.
        file: a file whose first line it is.
        descriptor: an open descriptor to read it from.
        twice: whether to ask again, for a new one.

    Raises:
        UsageError: it is empty, differs the second time, or there is no terminal to ask on.
    """
    if file is not None:
        given = read_bounded(file, _LONGEST, "a passphrase").split(b"\n")[0].rstrip(b"\r")
    elif descriptor is not None:
        given = _from_descriptor(descriptor)
    else:
        given = _asked(what, twice)
    if not given:
        raise UsageError(f"the passphrase for {what} is empty")
    return given


def _from_descriptor(descriptor: int) -> bytes:
    try:
        # Unbuffered: the next signer's passphrase, on the next line, is read by the next call.
        with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as stream:
            return stream.readline(_LONGEST).rstrip(b"\r\n")
    except OSError as error:
        raise UsageError(f"cannot read a passphrase from descriptor {descriptor}") from error


def _asked(what: str, twice: bool) -> bytes:
    if not sys.stdin.isatty():
        raise UsageError(
            f"a passphrase is needed for {what}, and there is no terminal to ask on",
            hint="--passphrase-file FILE or --passphrase-fd N",
        )
    given = getpass.getpass(f"Passphrase for {what}: ")
    if twice and getpass.getpass("Again: ") != given:
        raise UsageError("the two passphrases differ")
    return given.encode()
