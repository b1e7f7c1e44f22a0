"""Licences by SPDX's identifiers, from the names that publishers give."""

from __future__ import annotations

from typing import Final

_SPDX: Final = {
    name.lower(): name
    for name in (
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "CC-BY-3.0",
        "CC-BY-4.0",
        "CC-BY-SA-4.0",
        "CC-BY-ND-4.0",
        "CC-BY-NC-2.0",
        "CC-BY-NC-3.0",
        "CC-BY-NC-4.0",
        "CC-BY-NC-ND-4.0",
        "CC-BY-NC-SA-4.0",
        "ISC",
        "LGPL-2.1-or-later",
        "LGPL-3.0-or-later",
        "MIT",
        "MIT-CMU",
        "MPL-2.0",
        "PSF-2.0",
        "Unlicense",
        "Zlib",
    )
}
"""Those that speech models and libraries come under. The hub writes SPDX's ids in lower case."""


def spdx_id(licence: str) -> str | None:
    """SPDX's identifier (https://spdx.org/licenses), None where it is not one that we know."""
    return _SPDX.get(licence.strip().lower())
