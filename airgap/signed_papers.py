"""The signature files that a signer's private keys make beside a bundle, for foreign tools."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from airgap import keys, minisign, model_signature, signature_files
from airgap.manifest import Manifest
from airgap.signing import PrivateKey


def make(
    folder: Path, statement: bytes, manifest: Manifest, private: Iterable[PrivateKey]
) -> dict[str, bytes]:
    """The signature files of these keys, by name; nothing is written yet.

    Args:
        folder: where they will lie; a name that another signer's file has is not taken.
        statement: the bundle's, as it is signed.
        manifest: the bundle's, whose files were checked.
        private: keys, each of an algorithm of its own for one signer; ML-DSA-87 makes no file.
    """
    files: dict[str, bytes] = {}
    for key in private:
        name = signature_files.name_for(folder, key.public, files)
        if name is not None:
            files[name] = _signature(key, statement, manifest)
    return files


def _signature(key: PrivateKey, statement: bytes, manifest: Manifest) -> bytes:
    def signed(message: bytes) -> bytes:
        return key.sign(message).value

    if key.public.algorithm == keys.ED25519:
        said = signature_files.comment(statement)
        return minisign.sign(manifest.to_bytes(), said, key.public, signed).to_bytes()
    return model_signature.sign(manifest, key.public, signed).to_bytes()
