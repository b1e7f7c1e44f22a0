"""Signature files beside a bundle for tools that know nothing of it: minisign, model_signing.

`manifest.json.minisig` and `model.sig` are those of the signer who came first; whoever signs later
has the first digits of the key's id in the name, so that no signer touches another's file.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airgap import keys, limits, minisign, model_signature, tar
from airgap.files import read_bounded
from airgap.keys import PublicKey
from airgap.manifest import Manifest
from airgap.minisign import FileSignature
from airgap.model_signature import ModelSignature
from airgap.statement import Statement, approval_code

MINISIGN: Final = (f"{tar.MANIFEST}.minisig", f"{tar.MANIFEST}.{{}}.minisig")
MODEL: Final = ("model.sig", "model.{}.sig")
"""The name of the first signer's file, and of those that came later."""


@dataclass(frozen=True)
class Found:
    """A signature file in a folder, which claims to be of a key."""

    file: str
    key_id: str
    signature: FileSignature | ModelSignature


def found(folder: Path, key_ids: Iterable[str]) -> Iterator[Found]:
    """The signature files in a folder that claim to be of these keys. None is checked."""
    for key_id in key_ids:
        for names in (MINISIGN, MODEL):
            for file in _names(names, key_id):
                signature = _read(folder / file)
                if signature is not None and signature.is_by(key_id):
                    yield Found(file, key_id, signature)


def all_names(folder: Path) -> set[str]:
    """Every file in a folder that has the name of a signature file."""
    return {
        path.name
        for plain, later in (MINISIGN, MODEL)
        for pattern in (plain, later.format("?" * 8))
        for path in folder.glob(pattern)
    }


def name_for(folder: Path, key: PublicKey, taken: Container[str]) -> str | None:
    """What this key's file is to be called in a folder.

    Args:
        folder: with the files of those who signed before.
        key: the signer's.
        taken: names that are about to be written there.

    Returns:
        None for a key of an algorithm that has no such file.
    """
    match key.algorithm:
        case keys.ED25519:
            plain, own = _names(MINISIGN, key.key_id)
        case keys.ECDSA_P384:
            plain, own = _names(MODEL, key.key_id)
        case _:
            return None
    there = _read(folder / plain)
    is_own = there is not None and there.is_by(key.key_id)
    is_free = plain not in taken and not (folder / plain).exists()
    return plain if is_own or is_free else own


def comment(statement: bytes) -> str:
    """What a minisign signature says and covers beside the manifest: which bundle, how long."""
    said = Statement.parse(statement)
    return (
        f"{said.title} sequence {said.sequence} expires {said.expires or 'never'} "
        f"approval code {approval_code(statement)}"
    )


def holds(one: Found, key: PublicKey, statement: bytes, manifest: Manifest) -> bool:
    """Whether a signature file is this key's, over this bundle."""
    if isinstance(one.signature, FileSignature):
        return one.signature.holds(manifest.to_bytes(), comment(statement), key)
    return one.signature.holds(manifest, key)


def _names(names: tuple[str, str], key_id: str) -> tuple[str, str]:
    plain, later = names
    return plain, later.format(key_id[:8])


def _read(path: Path) -> FileSignature | ModelSignature | None:
    if not path.is_file():
        return None
    content = read_bounded(path, limits.SIGNATURE_FILE, "a signature")
    if path.suffix == ".minisig":
        return minisign.FileSignature.parse(content)
    return model_signature.ModelSignature.parse(content)
