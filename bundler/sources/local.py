"""A folder as a source: models that were downloaded by other means."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airgap.digest import CHUNK
from airgap.errors import AirgapError
from airgap.sink import Sink
from bundler.sources import Access


@dataclass(frozen=True)
class Local:
    """A folder that holds the files of a model under their own paths.

    Links are followed: the folder is the builder's own, the hub's cache is made of links, and
    what is read must match the lock as from anywhere else.

    Attributes:
        folder: absolute, or relative to the lock; `~` is the user's home.
    """

    folder: str

    @property
    def name(self) -> str:
        """For a person."""
        return f"local {self.folder}"

    def hosts(self, access: Access) -> tuple[str, ...]:  # noqa: ARG002 - the protocol's
        """None."""
        return ()

    def copy(self, path: str, commit: str | None, access: Access, sink: Sink) -> None:  # noqa: ARG002 - a folder has one state
        """Pour the rest of the file of that path. Raises AirgapError."""
        file = access.folder / Path(self.folder).expanduser() / path
        try:
            # O_NONBLOCK: a named pipe must not hang the build.
            descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as stream:
                if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                    raise AirgapError(f"'{file}' is not a regular file")
                stream.seek(sink.position)
                while chunk := stream.read(CHUNK):
                    sink.write(chunk)
        except OSError as error:
            raise AirgapError(f"cannot read '{file}': {error.strerror}") from error

    def as_lock(self) -> dict[str, Any]:
        """`local: FOLDER`."""
        return {"local": self.folder}
