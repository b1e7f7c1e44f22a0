"""Bundle -> the papers beside it, made anew: everything that needs no private key.

The bundle is read to its last byte first, so papers are never made of a damaged one. Whose
signatures it has is not judged here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from airgap import frames, limits, papers, recovery, signature_files, tar, volume_names, volumes
from airgap.archive import OpenBundle, open_bundle, read_head
from airgap.bootstrap_text import FOLDER
from airgap.console import console
from airgap.errors import AirgapError, DamagedError
from airgap.files import write_whole
from airgap.keys import PublicKey
from airgap.manifest import File
from airgap.statement import BOOTSTRAP, Statement
from bundler.bootstrap.kit import make_kit, write_kit


@dataclass(frozen=True)
class Remade:
    """What became of the papers of a bundle.

    Attributes:
        made: written anew.
        kept: signature files that check with a key that is known here.
        unchecked: those of keys that signed and are not known here.
        wrong: those that do not check, or are of a key that did not sign.
    """

    made: tuple[str, ...]
    kept: tuple[str, ...]
    unchecked: tuple[str, ...]
    wrong: tuple[str, ...]


def remake(bundle: Path, known: Iterable[PublicKey], names: Mapping[str, str]) -> Remade:
    """Make the papers of a bundle anew, in its folder.

    Args:
        bundle: the .tar.zst, one of its volumes, or the folder that they lie in.
        known: public keys to check the signature files with.
        names: names of signers by key id.

    Raises:
        DamagedError: the bundle is not what was signed; nothing is written.
        AirgapError: a paper cannot be written.
    """
    folder = volume_names.locate(bundle).first.parent
    with volumes.opened(bundle) as source, recovery.scratch(folder, "kit") as spool:
        envelope = read_head(source)
        opened = open_bundle(source, envelope, Statement.parse(envelope.statement))
        copies = _read_copies(opened, spool)
        kit = _remade_kit(opened, spool, folder)
    for name, content in copies.items():
        write_whole(folder / name, content)
    papers.write(bundle, names, {})
    made = (*copies, *kit, *papers.made_from_head(envelope))
    return Remade(made, *_judged(folder, opened, known))


def check(remade: Remade, bundle: Path) -> None:
    """Raise AirgapError where a signature file is there that is worth nothing."""
    if remade.wrong:
        raise AirgapError(
            f"beside '{bundle}' lie signature files that do not check with this bundle and the "
            f"keys that signed it: {', '.join(remade.wrong)}",
            hint=f"remove them, then airgap sign {bundle} --key NAME makes the signer's anew",
        )


def _read_copies(opened: OpenBundle, spool: Path) -> dict[str, bytes]:
    """The papers of the tree that lie beside a bundle as well; every byte is checked.

    What a bootstrap is made of goes to the folder `spool`, named by digest.
    """
    has_kit = BOOTSTRAP in opened.statement.subjects
    copies = {tar.MANIFEST: opened.manifest.to_bytes()}
    for file in opened.manifest.carried:
        if file.path in papers.COPIES and file.size > limits.PAPER:
            raise DamagedError(
                f"'{file.path}' has {file.size} bytes; a paper has at most {limits.PAPER}",
                rule="paper.size",
                hint="ask the builder of the bundle",
            )
    with console.progress("check", opened.table.stored_total) as bar:
        for file, pieces in opened.contents(bar.advance):
            if file.path in papers.COPIES:
                copies[file.path] = b"".join(pieces)
            elif has_kit and file.path.startswith("wheels/"):
                with (spool / file.sha256).open("wb") as stream:
                    stream.writelines(pieces)
    return copies


def _remade_kit(opened: OpenBundle, spool: Path, folder: Path) -> tuple[str, ...]:
    """Make the bootstrap anew, where the bundle holds all of it and this version makes the same.

    Returns:
        What of it was signed; nothing where the bundle has none, or it stays as it lies there.
    """
    statement = opened.statement
    if BOOTSTRAP not in statement.subjects:
        return ()
    if statement.base:
        console.warn(
            f"{FOLDER}/ and {BOOTSTRAP} stay as they are: a delta does not hold every wheel of "
            "them; if they are lost, building it once more from its lock gives the same"
        )
        return ()

    def content(file: File) -> IO[bytes]:
        return (spool / file.sha256).open("rb")

    kit = make_kit(opened.manifest, content)
    made = {name: frames.digest(one, statement.hash).hex() for name, one in kit.signed.items()}
    if not made.items() <= statement.subjects.items():
        console.warn(f"{FOLDER}/ and {BOOTSTRAP} stay as they are: another version made them")
        return ()
    write_kit(kit, folder, content)
    return tuple(kit.signed)


def _judged(
    folder: Path, opened: OpenBundle, known: Iterable[PublicKey]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The signature files in the folder: those that check, that nobody can tell, the others."""
    keys = {key.key_id: key for key in known}
    signed_by = [one.key_id for one in opened.envelope.signatures]
    kept, unchecked = [], []
    for one in signature_files.found(folder, signed_by):
        key = keys.get(one.key_id)
        if key is None:
            unchecked.append(one.file)
        elif signature_files.holds(one, key, opened.envelope.statement, opened.manifest):
            kept.append(one.file)
    wrong = signature_files.all_names(folder) - {*kept, *unchecked}
    return tuple(sorted(kept)), tuple(sorted(unchecked)), tuple(sorted(wrong))
