"""A bundle and its papers -> a store of the site.

The bundle is read to its last byte first, so that no damaged one is offered to a whole site.
Whether its signatures are good is judged by each host that pulls it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from airgap import papers, volume_names, volumes
from airgap.archive import open_bundle, read_head
from airgap.console import console
from airgap.digest import sha256_file
from airgap.statement import Statement, approval_code
from runtime.site import reaching
from runtime.site.address import Address
from runtime.site.holding import Offered, Shelf


@dataclass(frozen=True)
class Pushed:
    """A bundle in a store.

    Attributes:
        statement: the bundle's.
        approval_code: of that statement.
        where: its address.
        digest: by which it can be pulled; None where the store has none.
        files: of the bundle, and papers.
        size: bytes of all of them.
        sent: bytes that were not there yet.
    """

    statement: Statement
    approval_code: str
    where: str
    digest: str | None
    files: int
    size: int
    sent: int


def push(
    bundle: Path, address: Address, *, replace: bool, plain_http: bool | None = None
) -> Pushed:
    """Store a bundle, with all of its folder where that bears its title.

    What is there already is not sent again. The file with the head comes last, and a tag after
    it: whoever sees them can have all of it.

    Args:
        bundle: the .tar.zst, one of its volumes, or the folder that they lie in.
        address: where to.
        replace: whether something else under its name may be overwritten.
        plain_http: as `reaching.held`.

    Raises:
        DamagedError: the bundle is not what its own statement says.
        AirgapError: something else is there under its name, or the store fails.
    """
    files = volume_names.locate(bundle)
    with volumes.opened_files(files) as source:
        envelope = read_head(source)
        statement = Statement.parse(envelope.statement)
        opened = open_bundle(source, envelope, statement)
        if not envelope.signatures:
            console.warn(f"'{statement.title}' is unsigned: no host will take it from there")
        with console.progress("check", opened.table.stored_total) as bar:
            opened.check_frames(bar.advance)
        first, *rest = files.in_order()
        beside = papers.beside(files, statement.title)
        folder = files.first.parent.resolve()
        named = [(path.relative_to(folder).as_posix(), path) for path in beside]
        named += [(path.name, path) for path in (*reversed(rest), first)]
        offered = _hashed(named)
    with reaching.shelf(address, statement, replace=replace, plain_http=plain_http) as shelf:
        sent, digest = _stored(shelf, offered)
        size = sum(file.size for file in offered)
        return Pushed(
            statement,
            approval_code(envelope.statement),
            shelf.name,
            digest,
            len(offered),
            size,
            sent,
        )


def _hashed(named: Sequence[tuple[str, Path]]) -> list[Offered]:
    """The files, each with the digest that the store is told."""
    total = sum(path.stat().st_size for _name, path in named)
    with console.progress("hash", total) as bar:
        return [
            Offered(name, path, path.stat().st_size, sha256_file(path, bar.advance))
            for name, path in named
        ]


def _stored(shelf: Shelf, offered: Sequence[Offered]) -> tuple[int, str | None]:
    """Send what is missing; how many bytes that was, and the digest of the whole."""
    missing = shelf.missing(offered)
    total = sum(file.size for file in missing)
    with console.progress("push", total) as bar:
        for file in missing:
            bar.note(file.name)
            shelf.put(file, bar.advance)
    return total, shelf.finish(offered)
