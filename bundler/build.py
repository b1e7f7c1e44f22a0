"""Profile and lock -> bundle: fetch, judge, load, pack, check what was written, sign, put in place.

Everything is written in a private folder beside the target, deep-verified from the disk, and
renamed last: a build that ends early leaves nothing under the bundle's name.
"""

from __future__ import annotations

import fcntl
import io
import os
import shlex
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from airgap import pack, papers, recovery, signed_papers, signing, tar, volume_names, volumes
from airgap.archive import OpenBundle, open_bundle, read_head
from airgap.console import console, human_size
from airgap.envelope import Envelope
from airgap.errors import AirgapError, UsageError
from airgap.files import sync_folder, write_whole
from airgap.manifest import File, Manifest
from airgap.signing import PrivateKey
from airgap.statement import Statement
from bundler import delta, layout
from bundler.bootstrap.kit import Kit, make_kit, write_kit
from bundler.compose import Checks, Contents, compose, model_files, whole_tree
from bundler.download_cache import changed
from bundler.dryload import Skipped, dry_load
from bundler.fetch import fetch
from bundler.layout import Tree
from bundler.lock import Lock
from bundler.profile import Profile
from bundler.scan.policy import Origin
from bundler.scan.verdict import judge, scan_files, scan_images, scan_programs
from bundler.sources import Access
from bundler.terms import announce
from bundler.volume_writer import writing
from bundler.wheelhouse.complete import check_complete
from bundler.wheelhouse.overlaps import check_overlaps


@dataclass(frozen=True)
class Shape:
    """In which files a bundle is written.

    Attributes:
        each: bytes of a volume; None writes one file.
        recovery_percent: how much recovery data lies beside it, of its size; None makes none.
    """

    each: int | None = None
    recovery_percent: int | None = None


WHOLE = Shape()


@dataclass(frozen=True)
class Built:
    """A bundle that was built, checked and put in place.

    Attributes:
        path: the bundle's file, or its first volume.
        statement, envelope, manifest: what it says.
    """

    path: Path
    statement: Statement
    envelope: Envelope
    manifest: Manifest

    @property
    def size(self) -> int:
        """Bytes of the bundle, all volumes together."""
        return sum(path.stat().st_size for path in self.files)

    @property
    def files(self) -> tuple[Path, ...]:
        """The bundle's file, or all its volumes."""
        return volume_names.locate(self.path).in_order()


def build(
    profile: Profile,
    lock: Lock,
    access: Access,
    out: Path,
    signers: Mapping[str, Sequence[PrivateKey]],
    *,
    skip_dry_load: Collection[str] = (),
    shape: Shape = WHOLE,
    base: Manifest | None = None,
    previous: Manifest | None = None,
) -> Built:
    """Build a bundle into `out/NAME-VERSION/`.

    Args:
        profile: what is wanted.
        lock: which bytes; of this very profile.
        access: sources and download cache.
        out: the folder to make `NAME-VERSION/` in.
        signers: private keys by the signer's name; none leaves the bundle unsigned.
        skip_dry_load: roles whose models are not loaded before they are signed.
        shape: in which files the bundle is written, and what lies beside it.
        base: of the full bundle that this one is a delta of; None builds a full one.
        previous: of an older bundle, from which REVIEW.html tells the changes; None takes `base`.

    Raises:
        UsageError: the lock is incomplete, the bundle is there already or cannot have this base, or
            there is no program to make recovery data.
        UnsafeError: a file could run code when it is loaded, and nobody answers for it.
        AirgapError: a file could not be fetched or written. Nothing is left behind but what
            was fetched rightly.
    """
    lock.check_complete()
    if shape.recovery_percent is not None:
        recovery.program()  # not found missing after an hour of packing
    if base:
        delta.check_base(lock, base)
    title = f"{lock.name}-{lock.version}"
    target = out / title
    if target.exists():
        raise UsageError(
            f"'{target}' is there already, and a bundle is never overwritten",
            hint=f"airgap verify {target / title}.tar.zst, or build with --out elsewhere",
        )
    skipped = Skipped.of(skip_dry_load, layout.lay_out(lock))
    with access.cache.used():
        announce((model.id, model.terms) for model in lock.models)
        fetched = fetch(lock, access)
        with _blaming_bit_rot(fetched.paths.values()):
            check_complete(lock, fetched.paths)
            check_overlaps(lock, fetched.paths)
            tree = whole_tree(lock, fetched.paths)
            checks = _check_models(
                profile, lock, tree, fetched.paths, skipped=skipped, access=access
            )
        manifest, contents = compose(
            profile, lock, fetched.paths, checks, tree=tree, base=base, previous=previous
        )
        return _packed(manifest, contents, profile, out, signers, shape=shape)


def _packed(
    manifest: Manifest,
    contents: Contents,
    profile: Profile,
    out: Path,
    signers: Mapping[str, Sequence[PrivateKey]],
    *,
    shape: Shape,
) -> Built:
    """Pack, check, sign, and only then give the folder its name."""
    title = f"{manifest.name}-{manifest.version}"
    target = out / title
    opened = _opener(contents)
    kit = make_kit(manifest, opened)
    with _private_folder(out, title) as folder:
        path = folder / f"{title}{volume_names.WHOLE}"
        statement, bundle = _write(path, manifest, opened, profile.hash, each=shape.each, kit=kit)
        envelope = _check_and_sign(bundle, manifest, contents, signers)
        if shape.recovery_percent is not None:
            console.say("making recovery data")
            recovery.make(volume_names.locate(bundle), shape.recovery_percent)
        write_kit(kit, folder, opened)
        _write_papers(bundle, envelope, manifest, contents, signers)
        folder.rename(target)
        sync_folder(out)
    return Built(target / bundle.name, statement, envelope, manifest)


def _check_models(
    profile: Profile,
    lock: Lock,
    tree: Tree,
    cached: Mapping[str, Path],
    *,
    skipped: Skipped,
    access: Access,
) -> Checks:
    """Judge every file, and then load every model: what is not safe is not loaded."""
    _, contents = model_files(tree, cached)
    on_disk = {path: place for path, place in contents.items() if isinstance(place, Path)}
    programs = {path for path in on_disk if path.startswith(f"{layout.WHEELS}/")}
    images = {path for path in on_disk if path.startswith(f"{layout.IMAGES}/")}
    models = {path: place for path, place in on_disk.items() if path not in programs | images}
    origins = {
        one.path: Origin(one.artifact, one.file.path, one.file.sha256) for one in tree.locked
    }
    scan = (
        scan_files(models)
        .joined(
            scan_programs(
                {path: on_disk[path] for path in programs}, profile.device, _licences(tree)
            )
        )
        .joined(scan_images({path: on_disk[path] for path in images}))
    )
    verdict = judge(scan, profile.scan, origins)
    machines = {one.target.machine for one in lock.runtime.targets} if lock.runtime else set()
    return Checks(verdict, dry_load(tree, contents, skipped, access.cache, machines=machines))


def _licences(tree: Tree) -> dict[str, str]:
    """The licence that the lock gives each wheel, by its path."""
    licences = {one.id: one.licence for one in tree.artifacts}
    return {one.path: licences[one.artifact] for one in tree.locked}


def _opener(contents: Contents) -> pack.Opener:
    def opened(file: File) -> IO[bytes]:
        content = contents[file.path]
        return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")

    return opened


def _write(
    bundle: Path,
    manifest: Manifest,
    opened: pack.Opener,
    algorithm: str,
    *,
    each: int | None,
    kit: Kit,
) -> tuple[Statement, Path]:
    """Write the bundle, unsigned; returns what it states, and the file with its head."""
    total = sum(file.size for file in manifest.carried)
    _check_space(bundle.parent, total)
    try:
        with writing(bundle, each) as stream, console.progress("pack", total) as bar:
            statement = pack.write_bundle(
                stream, manifest, opened, algorithm, bar.advance, beside=kit.signed
            )
    except OSError as error:
        raise AirgapError(
            f"cannot write the bundle in '{bundle.parent.parent}': {error.strerror}",
            hint="free some space, or build with --out elsewhere",
        ) from error
    return statement, stream.first


def _check_and_sign(
    bundle: Path,
    manifest: Manifest,
    contents: Contents,
    signers: Mapping[str, Sequence[PrivateKey]],
) -> Envelope:
    """Read every byte back from the disk, compare it with the lock's digests, then sign."""
    with volumes.opened(bundle) as source:
        envelope = read_head(source)
        opened = open_bundle(source, envelope, Statement.parse(envelope.statement))
        _check(opened, contents)
    if opened.manifest != manifest:
        raise AirgapError("the manifest that was written is not the one that was meant")
    for private in signers.values():
        envelope = signing.sign(envelope, private)
    with bundle.open("r+b") as stream:
        pack.write_head(stream, envelope)
    return envelope


def _write_papers(
    bundle: Path,
    envelope: Envelope,
    manifest: Manifest,
    contents: Contents,
    signers: Mapping[str, Sequence[PrivateKey]],
) -> None:
    """What lies beside the bundle: copies of its papers, and what its signers' keys make."""
    folder = bundle.parent
    write_whole(folder / tar.MANIFEST, manifest.to_bytes())
    for name in (papers.REVIEW, papers.SBOM):
        content = contents[name]
        assert isinstance(content, bytes)  # noqa: S101 - this build made them
        write_whole(folder / name, content)
    names = {key.public.key_id: name for name, private in signers.items() for key in private}
    keys = [key for private in signers.values() for key in private]
    made = signed_papers.make(folder, envelope.statement, manifest, keys)
    papers.write(bundle, names, made)


def _check(opened: OpenBundle, contents: Contents) -> None:
    """Deep-verify; a file of the download cache that is not what its name says is named."""
    cached = [one for one in contents.values() if isinstance(one, Path)]
    with _blaming_bit_rot(cached), console.progress("check", opened.table.stored_total) as bar:
        opened.check_contents(bar.advance)


@contextmanager
def _blaming_bit_rot(cached: Collection[Path]) -> Iterator[None]:
    """Where something is refused, say first which files of the download cache the disk changed.

    A flipped bit makes a good model look malicious, or broken: neither a waiver nor another lock
    would be the answer.
    """
    try:
        yield
    except AirgapError as error:
        if rotten := [str(one) for one in changed(cached)]:
            raise AirgapError(
                f"the download cache holds other bytes than its names say: {', '.join(rotten)}",
                hint=f"rm {shlex.join(rotten)}, then build again",
            ) from error
        raise


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise AirgapError(
            f"not enough space in '{folder.parent}': the bundle may need {human_size(needed)}, and "
            f"{human_size(free)} are free",
            hint="free some space, or build with --out elsewhere",
        )


@contextmanager
def _private_folder(out: Path, title: str) -> Iterator[Path]:
    """A folder of this build alone, removed at the end with whatever is still in it.

    It has one name and is locked, so that the next build finds and empties what one that was
    killed has left, and two at once do not meet.
    """
    folder = out / f".{title}.building"
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for left in folder.iterdir():
            if left.is_dir():  # where recovery data was being made
                shutil.rmtree(left)
            else:
                left.unlink()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError as error:
        raise AirgapError(f"another build of '{title}' is at work in '{out}'") from error
    finally:
        os.close(descriptor)
