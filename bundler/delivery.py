"""A bundle with its paperwork, put into a folder elsewhere: cut anew where that is asked for.

Everything is written into a private folder beside the target, flushed, dropped from memory and
read back from the device; the folder gets its name last. A run that was cut off is gone on with:
what is there already is compared, not written again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airgap import papers, recovery, volume_names, volumes
from airgap.archive import open_bundle, read_head
from airgap.console import Advance, console, quietly
from airgap.digest import sha256_file
from airgap.errors import AirgapError, DamagedError, UsageError
from airgap.files import sync_folder
from airgap.statement import approval_code
from airgap.volume_names import Files, is_of_bundle
from airgap.volumes import Bytes
from bundler.shipment import Piece, Shipment

CHUNK: Final = 4 << 20
"""Bytes that are copied at a time."""

_AGAIN: Final = "run it again: it goes on where it stopped"


@dataclass(frozen=True)
class Delivered:
    """A bundle that was put into a folder, and read back from there.

    Attributes:
        folder: `FOLDER/NAME-VERSION`.
        files: of the bundle, in order.
        size: bytes of the bundle.
        papers: how many other files went with it.
        approval_code: of the bundle's own statement.
    """

    folder: Path
    files: tuple[Path, ...]
    size: int
    papers: int
    approval_code: str


def deliver(
    shipment: Shipment,
    folder: Path,
    each: int | None,
    *,
    renew: bool,
    recovery_percent: int | None = None,
) -> Delivered:
    """Copy a bundle and its papers to `folder/NAME-VERSION`.

    Args:
        shipment: what is to be copied.
        folder: on the medium; it is there.
        each: bytes of a volume; None leaves the bundle cut as it is.
        renew: whether a copy of the same bundle that is there already may be brought up to date.
        recovery_percent: how much recovery data the copy gets; None gives it what the bundle has.

    Raises:
        UsageError: another bundle is there, or the same one and `renew` is false; or there is no
            program to make recovery data.
        DamagedError: the bundle is not what its own statement says.
        AirgapError: it cannot be written, or the medium does not give back what was written.
    """
    load = _load(shipment, each, recovery_percent)
    pieces, carried = load.pieces, load.papers
    if load.recovery_percent is not None:
        recovery.program()  # not found missing when everything is copied
    target = folder / shipment.title
    with _private_folder(folder, shipment, renew=renew) as staging:
        wanted = {one.name for one in pieces} | {shipment.name_of(path) for path in carried}
        _sweep(staging, shipment.files.name, wanted)
        total = sum(one.end - one.start for one in pieces)
        with console.progress("copy", total) as bar:
            for piece in pieces:
                _fill(staging / piece.name, shipment.bundle.source, piece, bar.advance)
        for path in carried:
            _copy(path, _place(staging, shipment.name_of(path)))
        if load.recovery_percent is not None:
            console.say("making recovery data")
            recovery.make(volume_names.locate(staging / pieces[0].name), load.recovery_percent)
        if shipment.is_new_cut(pieces) or load.recovery_percent is not None:
            papers.write(staging / pieces[0].name, {}, {})
        _read_back(shipment, staging, pieces)
        staging.rename(target)
        sync_folder(folder)
    return Delivered(
        target,
        tuple(target / piece.name for piece in pieces),
        total,
        len(carried),
        approval_code(shipment.bundle.envelope.statement),
    )


def needed(
    shipment: Shipment, folder: Path, each: int | None, recovery_percent: int | None = None
) -> int:
    """Bytes that a copy would still have to write, by what lies there already.

    Args: as those of `deliver`.
    """
    load = _load(shipment, each, recovery_percent)
    sizes = [piece.end - piece.start for piece in load.pieces]
    wanted = sum(sizes) + sum(path.stat().st_size for path in load.papers)
    if load.recovery_percent is not None:
        wanted += recovery.size_at_most(sizes, load.recovery_percent)
    there = 0
    for place in (folder / shipment.title, _staging(folder, shipment.title)):
        if place.is_dir():
            lying = (*place.iterdir(), *papers.bootstrap_files(place))
            there += sum(path.stat().st_size for path in lying)
    return max(0, wanted - there)


@dataclass(frozen=True)
class _Load:
    """What is written: the bundle's pieces, papers, and recovery data where it is made anew."""

    pieces: Sequence[Piece]
    papers: Sequence[Path]
    recovery_percent: int | None


def _load(shipment: Shipment, each: int | None, recovery_percent: int | None) -> _Load:
    pieces = shipment.pieces(each)
    if recovery_percent is None and shipment.is_new_cut(pieces):  # recovery data is of one cut
        recovery_percent = recovery.percent_beside(shipment.files)
    made = recovery_percent is not None
    carried = [path for path in shipment.papers if not (made and path.suffix == recovery.SUFFIX)]
    return _Load(pieces, carried, recovery_percent)


def _staging(folder: Path, title: str) -> Path:
    return folder / f".{title}.carrying"


@contextmanager
def _private_folder(folder: Path, shipment: Shipment, *, renew: bool) -> Iterator[Path]:
    """The folder that is written into, of one run at a time.

    A copy that is there already becomes it: so it is brought up to date under a private name.
    """
    target, staging = folder / shipment.title, _staging(folder, shipment.title)
    if target.exists() or target.is_symlink():
        _check_same(shipment, target, renew=renew)
        if staging.exists():
            raise UsageError(
                f"'{staging}' was left by a run that was cut off, and '{target}' is there as well",
                hint=f"rm -r '{staging}'",
            )
        target.rename(staging)
    try:
        staging.mkdir(exist_ok=True)
        descriptor = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise AirgapError(
            f"cannot write in '{staging}': {error.strerror}",
            hint="look at what is there; a medium may be write-protected",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield staging
    except BlockingIOError as error:
        raise AirgapError(f"another run is writing '{shipment.title}' in '{folder}'") from error
    finally:
        os.close(descriptor)
        if not renew:  # only what may be brought up to date is gone on with
            shutil.rmtree(staging, ignore_errors=True)


def _check_same(shipment: Shipment, target: Path, *, renew: bool) -> None:
    """Raise UsageError where what is there may not be touched."""
    if not renew:
        raise UsageError(
            f"'{target}' is there already, and a bundle is never overwritten",
            hint="name another folder with --out",
        )
    if target.is_symlink():
        raise UsageError(
            f"'{target}' is a link: what is written there would lie elsewhere",
            hint=f"look at it, then: rm '{target}'",
        )
    if shipment.files.first.parent.resolve() == target.resolve():
        raise UsageError(f"'{target}' is where the bundle lies", hint="name another folder")
    try:
        with volumes.opened_files(volume_names.locate(target).alone) as source:
            same = read_head(source).statement == shipment.bundle.envelope.statement
    except AirgapError:
        same = False
    if not same:
        raise UsageError(
            f"'{target}' is there already, and is not a copy of this bundle",
            hint=f"look at it, then: rm -r '{target}'",
        )


def _sweep(staging: Path, name: str, wanted: set[str]) -> None:
    """Remove what an older cut has left; files of others stay."""
    for path in staging.iterdir():
        ours = is_of_bundle(path.name, name) or path.suffix == recovery.SUFFIX
        hidden = path.name.startswith(".")
        if hidden and path.is_dir() and not path.is_symlink():  # recovery data was being made
            shutil.rmtree(path)
        elif (ours or hidden) and path.name not in wanted:
            path.unlink()


def _fill(path: Path, source: Bytes, piece: Piece, advance: Advance) -> None:
    """Make a file hold a piece: what it holds already is compared, the rest is written."""
    size = piece.end - piece.start
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o644)
        try:
            for at in range(0, size, CHUNK):
                content = volumes.read(source, piece.start + at, min(CHUNK, size - at))
                if os.pread(descriptor, len(content), at) != content:
                    _write_at(descriptor, content, at)
                advance(len(content))
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise AirgapError(
            f"cannot write '{path.parent.parent / piece.name}': {error.strerror}",
            hint=f"free some space, or --split fat32 where files are too large; {_AGAIN}",
        ) from error


def _write_at(descriptor: int, content: bytes, at: int) -> None:
    view = memoryview(content)
    while view:
        count = os.pwrite(descriptor, view, at)
        view, at = view[count:], at + count


def _place(staging: Path, name: str) -> Path:
    """Where a paper goes; its folder is made, and is never a link that lies on the medium."""
    path = staging / name
    path.parent.mkdir(exist_ok=True)
    if path.parent.is_symlink():
        raise AirgapError(
            f"'{path.parent}' is a link: what is written there would lie elsewhere",
            hint=f"look at it, then: rm '{path.parent}'",
        )
    return path


def _copy(path: Path, to: Path) -> None:
    """Copy a paper, whose size is its own."""
    with volumes.opened_files(Files(path.name, path.parent, {})) as source:
        size = source.size or 0
        _fill(to, source, Piece(path.name, 0, size), quietly)


def _read_back(shipment: Shipment, staging: Path, pieces: Sequence[Piece]) -> None:
    """Compare what the device gives back with what was meant. Raises AirgapError, DamagedError."""
    names = {index: staging / one.name for index, one in enumerate(pieces, start=1)}
    is_split = pieces[0].name != shipment.files.name
    files = Files(shipment.files.name, staging, names if is_split else {})
    lying = (*staging.iterdir(), *papers.bootstrap_files(staging))
    others = [path for path in lying if path not in names.values() and not path.is_dir()]
    before = [sha256_file(path) for path in others]
    for path in (*names.values(), *others):
        _forget(path)
    try:
        with volumes.opened_files(files) as source:
            envelope = read_head(source)
            if envelope != shipment.bundle.envelope:
                raise _not_kept(f"'{files.first.name}' has another head")
            copy = open_bundle(source, envelope, shipment.bundle.statement)
            with console.progress("read back", copy.table.stored_total) as bar:
                copy.check_frames(bar.advance)
    except DamagedError as error:
        shipment.bundle.check_frames()  # if it is the bundle that is damaged, this says so
        raise _not_kept(error.message) from error
    for path, digest in zip(others, before, strict=True):
        if sha256_file(path) != digest:
            raise _not_kept(f"'{path.name}' is other than it was")


def _forget(path: Path) -> None:
    """Have the kernel drop a file from memory, so that reading asks the device."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)  # what is not written yet cannot be dropped
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _not_kept(what: str) -> AirgapError:
    return AirgapError(
        f"the medium does not give back what was written: {what}",
        hint=f"use another medium; or {_AGAIN}",
    )
