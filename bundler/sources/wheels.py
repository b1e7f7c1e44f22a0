"""Whole wheels from a package index: the one that pip is configured for, or one that is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from airgap.sink import Sink
from bundler.sources import Access

PYPI: Final = "pypi"
"""In a lock: the index that pip is configured for, which is pypi.org where it is not."""


@dataclass(frozen=True)
class Wheels:
    """An index that has wheels under their own names.

    Attributes:
        index: its address (PEP 503); None is the one that pip is configured for.
    """

    index: str | None = None

    @property
    def name(self) -> str:
        """For a person."""
        return f"wheels of {self.index or PYPI}"

    def hosts(self, access: Access) -> tuple[str, ...]:
        """The index's."""
        return access.index.at(self.index).hosts()

    def copy(self, path: str, commit: str | None, access: Access, sink: Sink) -> None:  # noqa: ARG002 - a release has one state
        """Pour the wheel of that name. Raises AirgapError."""
        access.index.at(self.index).pour(path, access, sink)

    def as_lock(self) -> dict[str, Any]:
        """`wheels: pypi`, or `wheels: ADDRESS`."""
        return {"wheels": self.index or PYPI}
