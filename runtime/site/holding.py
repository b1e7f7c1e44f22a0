"""What a store holds of one bundle, and what `push` and `pull` ask of any store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from airgap.console import Advance
from airgap.errors import AirgapError
from airgap.transfer import Opener

FILES: Final = 4096
"""Files of one bundle at most: 999 volumes, papers, and the wheels of a bootstrap."""


@dataclass(frozen=True)
class Item:
    """A file in a store, by the store's word.

    Attributes:
        name: below the bundle's folder.
        size: in bytes.
        sha256: of its bytes, hex; None where the store does not know.
        place: what the store calls it: a key, or the digest of a blob.
        etag: of the state that was seen, where the store has states.
    """

    name: str
    size: int
    sha256: str | None
    place: str
    etag: str | None = None


@dataclass(frozen=True)
class Offered:
    """A file of this machine that is to be stored."""

    name: str
    path: Path
    size: int
    sha256: str


class Held(Protocol):
    """One bundle in a store, to be read.

    Attributes:
        name: where it lies, for a person, so that it is found again.
        items: its files.
    """

    name: str
    items: Sequence[Item]

    def opener(self, item: Item) -> Opener:
        """Opens the bytes of a file from any byte on. Its errors are AirgapErrors."""


class Shelf(Protocol):
    """A place in a store that takes one bundle.

    Attributes:
        name: where it lies, for a person, so that it is found again.
    """

    name: str

    def missing(self, files: Sequence[Offered]) -> list[Offered]:
        """Those that must still be stored.

        Raises:
            AirgapError: something else lies there under such a name, and is not to be replaced.
        """

    def put(self, file: Offered, advance: Advance) -> None:
        """Store one file, going on where an earlier run stopped; told the bytes that are there.

        Raises:
            AirgapError: the store fails, or keeps other bytes than it was given.
        """

    def finish(self, files: Sequence[Offered]) -> str | None:
        """Make all of it one thing that can be pulled.

        Returns:
            The digest by which it can be named; None where the store has none.
        """


def held_already(where: str, here: str, there: str | None, size: int | None = None) -> AirgapError:
    """Another content lies under the name. Both digests are told."""
    found = there or f"an unknown digest ({size} bytes)"
    return AirgapError(
        f"'{where}' is there already, and is another: here {here}, there {found}",
        hint="push it under another name; or, where it is to be replaced: --replace",
    )
