"""How a model is loaded such that its bytes are known; apart, because help texts name it."""

from __future__ import annotations

from enum import StrEnum


class VerifiedLoad(StrEnum):
    """How a model is loaded such that its bytes are known."""

    BUFFER = "buffer"
    PATH = "path"
