"""A bundle that is open to be copied, in which files its copy will lie, and what goes with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from airgap import papers, volume_names, volumes
from airgap.archive import OpenBundle, open_bundle, read_head
from airgap.statement import Statement
from airgap.volume_names import Files, volume_name
from bundler import volume_size


@dataclass(frozen=True)
class Piece:
    """One file of the copy: the bundle's bytes [start, end)."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Shipment:
    """A bundle that is open to be copied, and the paperwork that lies with it."""

    files: Files
    bundle: OpenBundle
    papers: tuple[Path, ...]

    @property
    def title(self) -> str:
        """`NAME-VERSION`."""
        return self.bundle.statement.title

    def name_of(self, paper: Path) -> str:
        """The name of one of the papers, below the bundle's folder."""
        return str(paper.relative_to(self.files.first.parent.resolve()))

    def pieces(self, each: int | None) -> list[Piece]:
        """The files of a copy with volumes of `each` bytes; None leaves the bundle cut as it is."""
        end = self.bundle.end
        if each is None:
            return [
                Piece(volume_name(self.files.name, number), one.start, one.end)
                for number, one in enumerate(self.bundle.source.volumes, start=1)
            ] or [Piece(self.files.name, 0, end)]
        volume_size.check_count(end, each)
        if end <= each:
            return [Piece(self.files.name, 0, end)]
        return [
            Piece(volume_name(self.files.name, number), start, min(start + each, end))
            for number, start in enumerate(range(0, end, each), start=1)
        ]

    def is_new_cut(self, pieces: Sequence[Piece]) -> bool:
        """Whether these are other files than those that the bundle lies in."""
        return list(pieces) != self.pieces(None)


@contextmanager
def opened(bundle: Path, also: Sequence[Path]) -> Iterator[Shipment]:
    """Open a bundle, with the papers beside it: all of its folder, if that bears its title.

    Raises:
        AirgapError, UsageError, DamagedError: as `volumes.opened` and `open_bundle`.
    """
    files = volume_names.locate(bundle, also)
    with volumes.opened_files(files) as source:
        envelope = read_head(source)
        opened_ = open_bundle(source, envelope, Statement.parse(envelope.statement))
        yield Shipment(files, opened_, papers.beside(files, opened_.statement.title))
