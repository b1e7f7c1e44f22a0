"""A store of the site -> a folder, which gets its name when all of it was verified.

The head comes first and is judged by this host's policy, so that what would be refused anyway is
not fetched. The files then come into a private folder beside the target, each from the byte where
an earlier run stopped; the bundle in it is verified like one from a stick. A digest that a store
tells finds a transfer that went wrong. It is no reason to trust anything.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from io import BytesIO, FileIO
from pathlib import Path
from typing import Final

from airgap import limits, papers, volumes
from airgap.console import Advance, console, human_size
from airgap.digest import CHUNK
from airgap.errors import AirgapError, RefusedError, UsageError, next_after
from airgap.evidence import Decision
from airgap.files import sync_folder
from airgap.policy import TrustedKey
from airgap.sink import Sink, WrongBytesError
from airgap.statement import Statement
from airgap.transfer import Patience, transfer
from airgap.trust import TrustStore
from airgap.verify import VerifiedBundle
from runtime.site import taken
from runtime.site.holding import Held, Item
from runtime.site.taken import Chosen

_AGAIN: Final = "run it again: it goes on where it stopped"


@dataclass(frozen=True)
class Pulled:
    """A bundle that this host would mount, in a folder of its own.

    Attributes:
        verified: as its policy judged it; its source is closed.
        folder: `OUT/NAME-VERSION`.
        bundle: the file with its head.
        size: bytes that were taken from the store, in this run and before.
        left: names that were not taken, or that nobody here can check.
    """

    verified: VerifiedBundle
    folder: Path
    bundle: Path
    size: int
    left: tuple[str, ...]


def pull(held: Held, out: Path, decision: Decision, patience: Patience) -> Pulled:
    """Fetch a bundle with its papers, verify it, and give it its name.

    Args:
        held: the bundle in its store.
        out: the folder that it goes to; made where it is missing.
        decision: this host's; its refusals are recorded by whoever made it.
        patience: with the store.

    Raises:
        RefusedError: this host would not mount it. Nothing of it is left.
        UsageError: something has its name already.
        AirgapError: the store or this disk failed; what came is kept for the next run.
    """
    chosen = taken.choose(held)
    target = out / decision.foresee(_head(held, chosen.bundle[0])).title
    with _private_folder(out, target) as staging:
        _sweep(staging, chosen)
        _check_room(staging, chosen)
        _fetch_all(held, chosen, staging, patience)
        first = staging / chosen.bundle[0].name
        verified, left = _verified(first, chosen, decision)
        papers.write(first, {key.public.key_id: name for name, key in _keys(decision)}, {})
        _settle(staging)
        staging.rename(target)
        sync_folder(out)
    size = sum(item.size for item in chosen.all)
    return Pulled(verified, target, target / first.name, size, (*chosen.left, *left))


def judged_head(held: Held, decision: Decision) -> Statement:
    """What a bundle in a store says of itself, once this host's policy believes its head.

    Raises:
        RefusedError: this host would not mount it.
        AirgapError: there is no bundle, or the store fails.
    """
    return decision.foresee(_head(held, taken.choose(held).bundle[0]))


def _head(held: Held, first: Item) -> volumes.Pipe:
    """The first bytes of a bundle, in memory; what the store claims beyond them is not read."""
    head = bytearray()
    with held.opener(first)(0, None) as answer:
        for chunk in answer.chunks:
            head += chunk
            if len(head) >= limits.HEAD_SLOT:
                break
    return volumes.Pipe(f"{held.name}: {first.name}", BytesIO(bytes(head)))


@contextmanager
def _private_folder(out: Path, target: Path) -> Iterator[Path]:
    """The folder that is written into, of one run at a time; a refusal takes it away."""
    if target.exists() or target.is_symlink():
        raise UsageError(
            f"'{target}' is there already, and a bundle is never overwritten",
            hint=f"airgap verify {target}; or name another folder with --out",
        )
    staging = out / f".{target.name}.pulling"
    try:
        out.mkdir(parents=True, exist_ok=True)
        staging.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise AirgapError(
            f"cannot write in '{out}': {error.strerror}", hint=next_after(error)
        ) from error
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():  # a folder that others write, too
            raise AirgapError(f"'{staging}' belongs to another user", hint="name another --out")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield staging
    except BlockingIOError as error:
        raise AirgapError(f"another run is pulling '{target.name}' into '{out}'") from error
    except RefusedError:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    finally:
        os.close(descriptor)


def _sweep(staging: Path, chosen: Chosen) -> None:
    """Remove what an earlier run fetched of something else, or made itself."""
    wanted = {item.name for item in chosen.all}
    for path in sorted(staging.rglob("*"), reverse=True):
        is_wanted = path.relative_to(staging).as_posix() in wanted
        if path.is_symlink() or (path.is_file() and not is_wanted):
            path.unlink()


def _check_room(staging: Path, chosen: Chosen) -> None:
    there = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
    needed = max(0, sum(item.size for item in chosen.all) - there)
    free = shutil.disk_usage(staging).free
    if free < needed:
        raise AirgapError(
            f"not enough space in '{staging.parent}': {human_size(needed)} are to come, and "
            f"{human_size(free)} are free",
            hint="free some space, or name a folder on a larger disk: --out FOLDER",
        )


def _fetch_all(held: Held, chosen: Chosen, staging: Path, patience: Patience) -> None:
    with console.progress("pull", sum(item.size for item in chosen.all)) as bar:
        for item in chosen.all:
            bar.note(item.name)
            path = staging / item.name
            path.parent.mkdir(mode=0o700, exist_ok=True)
            _fetch(held, item, path, bar.advance, patience)


def _fetch(held: Held, item: Item, path: Path, advance: Advance, patience: Patience) -> None:
    """One file, whole and of the digest that the store tells, where it tells one."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        stream = FileIO(os.open(path, flags, 0o644), "r+")
    except OSError as error:
        raise AirgapError(
            f"cannot write '{path}': {error.strerror}", hint=next_after(error)
        ) from error
    sink = Sink(
        stream,
        size=item.size,
        limit=item.size,
        advance=advance,
        stop=threading.Event(),
        is_page=item.name.endswith(".html"),
    )
    with stream, closing(sink):
        taken_over = _adopt(stream, sink, item)
        try:
            _pour(held, item, sink, patience)
        except WrongBytesError as error:
            if not taken_over:
                path.unlink()
                raise _wrong(held, item, error) from error
            _begin_anew(held, item, path, sink, patience)
        os.fsync(stream.fileno())


def _adopt(stream: FileIO, sink: Sink, item: Item) -> int:
    """Take over what an earlier run left; how many bytes. Without a digest nobody could tell."""
    if item.sha256 is None or os.fstat(stream.fileno()).st_size > item.size:
        stream.truncate(0)
    while chunk := stream.read(CHUNK):
        sink.adopt(chunk)
    return sink.position


def _begin_anew(held: Held, item: Item, path: Path, sink: Sink, patience: Patience) -> None:
    """What was left may have been wrong, not what came: once more, from the first byte."""
    sink.restart()
    try:
        _pour(held, item, sink, patience)
    except WrongBytesError as error:
        path.unlink()
        raise _wrong(held, item, error) from error


def _pour(held: Held, item: Item, sink: Sink, patience: Patience) -> None:
    if sink.position < item.size:
        try:
            transfer(item.place, held.opener(item), sink, patience)
        except WrongBytesError:
            raise
        except AirgapError as error:
            raise AirgapError(
                f"'{item.name}': {error.message}", hint=error.hint or _AGAIN
            ) from error
    sink.check_whole(item.sha256 or sink.digest)


def _wrong(held: Held, item: Item, error: WrongBytesError) -> AirgapError:
    return WrongBytesError(
        f"'{held.name}' sends '{item.name}' wrongly: {error.message}",
        hint="run it again; if it stays so, the store is damaged, or lies: ask who runs it",
    )


def _verified(first: Path, chosen: Chosen, decision: Decision) -> tuple[VerifiedBundle, list[str]]:
    """Judge the bundle, every byte of it, then its papers; the names of those that were dropped."""
    with volumes.opened(first) as source:
        verified = decision.verify(source)
        with console.progress("verify", verified.bundle.table.stored_total) as bar:
            verified.bundle.check_frames(bar.advance)
    names = [item.name for item in chosen.papers]
    known = [key.public for _signer, key in _keys(decision)]
    return verified, taken.check_papers(first.parent, names, verified.bundle, known)


def _keys(decision: Decision) -> Iterator[tuple[str, TrustedKey]]:
    """The keys that this host's policy believes now, each with its signer's name."""
    policy = TrustStore.of_host(decision.root).load()
    for name in policy.signers:
        yield from ((name, key) for key in policy.in_force(name))


def _settle(staging: Path) -> None:
    """Make all of it last through a power cut, and readable as what is copied from a stick."""
    for folder in (path for path in staging.rglob("*") if path.is_dir()):
        folder.chmod(0o755)
        sync_folder(folder)
    staging.chmod(0o755)
    sync_folder(staging)
