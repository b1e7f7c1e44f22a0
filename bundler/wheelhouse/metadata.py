"""What a wheel says about itself: `METADATA`, core metadata as Python packages it.

Source: https://packaging.python.org/en/latest/specifications/core-metadata/.
"""

from __future__ import annotations

import email.policy
import zipfile
import zlib
from dataclasses import dataclass
from email.parser import BytesParser
from typing import IO, Final

from airgap.errors import AirgapError
from airgap.limits import MIB

MOST: Final = 8 * MIB
"""Bytes of METADATA, which holds a README."""

UNKNOWN: Final = "unknown"

_LICENCE: Final = 80
"""Characters of a field that names a licence; more is its text."""

_OSI: Final = "License :: OSI Approved :: "
_BY_CLASSIFIER: Final = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.1-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}


@dataclass(frozen=True)
class WheelMetadata:
    """The part of METADATA that this side needs.

    Attributes:
        name, version: as written.
        licence: an SPDX expression where it has one, else as classifiers or a short field name it.
        requires: requirements (PEP 508), those of extras among them.
    """

    name: str
    version: str
    licence: str
    requires: tuple[str, ...]

    @classmethod
    def parse(cls, content: bytes) -> WheelMetadata:
        """Read METADATA; what it lacks is empty, and a missing licence `unknown`."""
        fields = BytesParser(policy=email.policy.compat32).parsebytes(content, headersonly=True)

        def of(key: str) -> list[str]:
            return [str(value).strip() for value in fields.get_all(key, [])]

        return cls(
            name=next(iter(of("Name")), ""),
            version=next(iter(of("Version")), ""),
            licence=_licence(of("License-Expression"), of("Classifier"), of("License")),
            requires=tuple(of("Requires-Dist")),
        )


def read_metadata(stream: IO[bytes], file: str) -> WheelMetadata:
    """The metadata in a wheel, of which nothing else is read.

    Args:
        stream: the wheel, seekable.
        file: its name, for errors.

    Raises:
        AirgapError: it is no wheel, or has not one METADATA.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            found = [
                member
                for member in archive.infolist()
                if member.filename.endswith(".dist-info/METADATA")
                and member.filename.count("/") == 1
            ]
            if len(found) != 1 or found[0].file_size > MOST:
                raise AirgapError(f"'{file}' is no wheel: expected one METADATA in it")
            return WheelMetadata.parse(archive.read(found[0]))
    # What zipfile raises for archives that are cut, encrypted, or compressed in unknown ways.
    except (zipfile.BadZipFile, zlib.error, RuntimeError, OSError, EOFError, ValueError) as error:
        raise AirgapError(f"'{file}' is no wheel: {str(error)[:120]}") from error


def _licence(expressions: list[str], classifiers: list[str], fields: list[str]) -> str:
    if expressions and expressions[0]:
        return expressions[0]
    approved = [one.removeprefix(_OSI) for one in classifiers if one.startswith(_OSI)]
    field = fields[0] if fields else ""
    if field and len(field) <= _LICENCE and "\n" not in field and field.lower() != UNKNOWN:
        return field
    named = sorted({_BY_CLASSIFIER.get(one, one) for one in approved})
    return ", ".join(named) or UNKNOWN
