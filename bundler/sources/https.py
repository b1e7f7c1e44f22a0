"""Addresses as a source: a model that lies on a web server, a release page, a site's own mirror."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from airgap.sink import Sink
from bundler.sources import Access


@dataclass(frozen=True)
class Https:
    """A folder on a web server; plain HTTP serves as well, for the lock decides what is right.

    Attributes:
        base: the address below which the files lie under their own paths.
        files: files that have addresses of their own, by path.
    """

    base: str
    files: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """For a person."""
        return f"https {urlsplit(self.base).netloc}"

    def hosts(self, access: Access) -> tuple[str, ...]:  # noqa: ARG002 - the protocol's
        """Those of its addresses."""
        addresses = (self.base, *(address for _, address in self.files))
        return tuple(sorted({urlsplit(address).hostname or address for address in addresses}))

    def copy(self, path: str, commit: str | None, access: Access, sink: Sink) -> None:  # noqa: ARG002 - a folder has one state
        """Pour the file at its address. Raises AirgapError."""
        address = dict(self.files).get(path) or f"{self.base.rstrip('/')}/{quote(path)}"
        access.web.pour(address, sink)

    def as_lock(self) -> dict[str, Any]:
        """`https: BASE`, with `files` where some have addresses of their own."""
        return {"https": self.base, **({"files": dict(self.files)} if self.files else {})}
