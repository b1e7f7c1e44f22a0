"""Papers beside a bundle, for people and other tools; nothing of ours reads them as evidence.

Some come out of the head (statement, raw signatures), some are copies of the tree's own
(`manifest.json`, `REVIEW.html`, `sbom.cdx.json`), some only a private key can make
(`signature_files`). SIGNERS.txt and SHA256SUMS speak of the others and are written last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from airgap import (
    bootstrap_text,
    checksums,
    limits,
    recovery,
    signature_files,
    tar,
    volume_names,
    volumes,
)
from airgap.archive import read_head
from airgap.console import console
from airgap.digest import sha256_file
from airgap.envelope import Envelope
from airgap.files import read_bounded, write_whole
from airgap.signers_text import STATEMENT, UNNAMED, Signed, signature_file, signers_text
from airgap.statement import BOOTSTRAP, Statement
from airgap.volume_names import Files

SIGNERS: Final = "SIGNERS.txt"
REVIEW: Final = "REVIEW.html"
SBOM: Final = "sbom.cdx.json"

COPIES: Final = (tar.MANIFEST, REVIEW, SBOM)
"""Members of the tree that lie beside the bundle as well, byte for byte."""

_SIGNED: Final = re.compile(r"^  ([a-z0-9][a-z0-9._-]*) +(\S+) +([0-9a-f]{64})$", re.MULTILINE)

_UNSIGNED_NOTE: Final = f"""\
# Of the delivered files. Nobody signed this list: it finds a copy that went wrong, not a forgery.
# {SIGNERS} says how to find one. Check with: sha256sum -c --strict {checksums.FILE}
"""


def write(bundle: Path, names: Mapping[str, str], signed: Mapping[str, bytes]) -> None:
    """Write what the head says, what keys have made, and the two papers that speak of the rest.

    Args:
        bundle: the .tar.zst, or one of its volumes, with the head that it has now.
        names: names of signers by key id, as far as they are known; those that an older
            SIGNERS.txt gives are kept.
        signed: the new signature files, by name.
    """
    files = volume_names.locate(bundle)
    with volumes.opened_files(files.alone) as source:
        envelope = read_head(source)
    folder = files.first.parent
    write_whole(folder / STATEMENT, envelope.statement)
    for signature in envelope.signatures:
        write_whole(folder / signature_file(signature), signature.value)
    for file, content in signed.items():
        write_whole(folder / file, content)
    known = {**_names_in(folder / SIGNERS), **names}
    others = tuple(signature_files.found(folder, (one.key_id for one in envelope.signatures)))
    text = signers_text(Signed(files.name, envelope, known, others, files.is_split))
    write_whole(folder / SIGNERS, text.encode())
    if _has_bootstrap(envelope):
        write_whole(folder / bootstrap_text.PAGE, bootstrap_text.bootstrap_text(envelope).encode())
    write_whole(folder / checksums.FILE, _sums(files, envelope).encode())


def made_from_head(envelope: Envelope) -> Iterator[str]:
    """The names of the papers that `write` makes of a head alone."""
    yield STATEMENT
    yield from map(signature_file, envelope.signatures)
    if _has_bootstrap(envelope):
        yield bootstrap_text.PAGE
    yield from (SIGNERS, checksums.FILE)


def _has_bootstrap(envelope: Envelope) -> bool:
    return BOOTSTRAP in Statement.parse(envelope.statement).subjects


def _delivered(files: Files, envelope: Envelope) -> Iterator[str]:
    """The names of the bundle, its recovery data and its papers, SHA256SUMS apart."""
    folder = files.first.parent
    names = {*COPIES, BOOTSTRAP, *made_from_head(envelope), *signature_files.all_names(folder)}
    yield from (f"{path.parent.name}/{path.name}" for path in bootstrap_files(folder))
    yield from (path.name for path in files.volumes.values() or (files.first,))
    yield from (path.name for path in recovery.files_beside(files))
    yield from (name for name in names - {checksums.FILE} if (folder / name).is_file())


def beside(files: Files, title: str) -> tuple[Path, ...]:
    """What goes with a bundle wherever it goes: all of its folder, if that bears its title."""
    folder = files.first.parent.resolve()
    if folder.name != title:
        return ()
    alone = sorted(
        path
        for path in folder.iterdir()
        if is_plain(path) and not volume_names.is_of_bundle(path.name, files.name)
    )
    return (*alone, *bootstrap_files(folder))


def bootstrap_files(folder: Path) -> list[Path]:
    """The files of the folder `bootstrap` among a bundle's papers, by name."""
    inner = folder / bootstrap_text.FOLDER
    return sorted(path for path in inner.iterdir() if is_plain(path)) if inner.is_dir() else []


def is_plain(path: Path) -> bool:
    """Whether a paper is one to be handed on: a regular file, not hidden."""
    return not path.name.startswith(".") and not path.is_symlink() and path.is_file()


def _sums(files: Files, envelope: Envelope) -> str:
    """SHA256SUMS of what is delivered. The bundle is read once more: its head may be new."""
    folder = files.first.parent
    names = list(_delivered(files, envelope))
    total = sum((folder / name).stat().st_size for name in names)
    digests = {}
    with console.progress("checksums", total) as bar:
        for name in names:
            digests[name] = sha256_file(folder / name, bar.advance)
    return _UNSIGNED_NOTE + checksums.text(digests)


def _names_in(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    text = read_bounded(path, limits.PAPER, "SIGNERS.txt").decode(errors="replace")
    return {key_id: name for name, _algorithm, key_id in _SIGNED.findall(text) if name != UNNAMED}
