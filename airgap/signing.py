"""Private keys: make, save, load, sign. Nothing on the way of verify and mount imports this.

A signer has one key of each algorithm, each in a PEM file of its own that openssl reads as well:
`NAME.ed25519.key`, `NAME.ecdsa-p384.key`, `NAME.ml-dsa-87.key`, and `.pub` beside each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from airgap import keys, limits, minisign, passphrase
from airgap.envelope import Envelope, Signature
from airgap.errors import UsageError
from airgap.files import read_bounded, write_whole
from airgap.keys import PublicKey

_Material = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | mldsa.MLDSA87PrivateKey


@dataclass(frozen=True)
class PrivateKey:
    """A private key of one of our algorithms, with its public half."""

    public: PublicKey
    _material: _Material

    def sign(self, message: bytes) -> Signature:
        """This key's signature over `message`, in its one accepted encoding."""
        if isinstance(self._material, ec.EllipticCurvePrivateKey):
            value = keys.lowest_form(self._material.sign(message, ec.ECDSA(hashes.SHA384())))
        else:
            value = self._material.sign(message)
        return Signature(self.public.key_id, value)

    def to_pem(self, passphrase: bytes | None) -> bytes:
        """The key as PKCS #8 PEM, encrypted where a passphrase is given."""
        encryption: KeySerializationEncryption = NoEncryption()
        if passphrase is not None:
            encryption = BestAvailableEncryption(passphrase)
        return self._material.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def generate(algorithm: str) -> PrivateKey:
    """A new private key of `ed25519`, `ecdsa-p384` or `ml-dsa-87`."""
    material: _Material
    match algorithm:
        case keys.ED25519:
            material = ed25519.Ed25519PrivateKey.generate()
        case keys.ECDSA_P384:
            material = ec.generate_private_key(ec.SECP384R1())
        case keys.ML_DSA_87:
            material = mldsa.MLDSA87PrivateKey.generate()
        case _:
            raise UsageError(f"'{algorithm}' is none of {', '.join(keys.ALGORITHMS)}")
    return PrivateKey(keys.from_material(material.public_key()), material)


def save(folder: Path, name: str, private: Iterable[PrivateKey], secret: bytes | None) -> None:
    """Write `NAME.ALGORITHM.key` (mode 0600) and `.pub` for each key into `folder`.

    Ed25519 has its public key in minisign's form as well: `NAME.ed25519.minisign`.

    Raises:
        UsageError: one of the files is there already; a key is never overwritten.
    """
    paths = {folder / f"{name}.{key.public.algorithm}.key": key for key in private}
    for path in (*paths, *(path.with_suffix(".pub") for path in paths)):
        if path.exists():
            raise UsageError(
                f"'{path}' is there already, and a key is never overwritten",
                hint="choose another NAME, or move the old key away",
            )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path, key in paths.items():
        write_whole(path, key.to_pem(secret), mode=0o600)
        write_whole(path.with_suffix(".pub"), key.public.pem.encode())
        if key.public.algorithm == keys.ED25519:
            write_whole(path.with_suffix(".minisign"), minisign.public_key(key.public))


def find(named: str, folder: Path) -> tuple[Path, ...]:
    """The private key files that `--key` names.

    Args:
        named: a key file; or the NAME of a signer, in the key folder or, as PATH/NAME, elsewhere.
        folder: the key folder.

    Raises:
        UsageError: there is none.
    """
    path = Path(named) if "/" in named or Path(named).is_file() else folder / named
    if path.is_file():
        return (path,)
    found = tuple(
        file
        for algorithm in keys.ALGORITHMS
        if (file := path.with_name(f"{path.name}.{algorithm}.key")).is_file()
    )
    if not found:
        known = sorted({file.name.split(".")[0] for file in path.parent.glob("*.key")})
        raise UsageError(
            f"no private key '{path.name}' in '{path.parent}'; there: {', '.join(known) or 'none'}",
            hint=f"airgap keygen {path.name}",
        )
    return found


def signer_name(named: str) -> str:
    """The signer's name that `--key` stands for, as `SIGNERS.txt` shows it."""
    return Path(named).name.split(".")[0]


def load(path: Path, secret: bytes | None) -> PrivateKey:
    """Load a private key from PEM.

    Args:
        path: the file.
        secret: the passphrase that decrypts it; None for a key that is not encrypted.

    Raises:
        UsageError: the file is no such key, or the passphrase is wrong or missing.
    """
    content = read_bounded(path, limits.KEY_FILE, "a private key")
    try:
        material = load_pem_private_key(content, secret if is_encrypted(content) else None)
    except TypeError as error:
        raise UsageError(
            f"'{path}' is encrypted, and no passphrase was given",
            hint="--passphrase-file FILE, or --passphrase-fd N, or answer the prompt",
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        if is_encrypted(content):
            raise UsageError(
                f"cannot load '{path}': the passphrase is wrong",
                hint="try again; it cannot be recovered, so where it is lost: airgap keygen, and "
                "new trust",
            ) from error
        raise UsageError(f"cannot load '{path}': it is no private key in PEM") from error
    public = keys.from_material(material.public_key() if hasattr(material, "public_key") else None)
    assert isinstance(material, _Material)  # noqa: S101 - from_material has refused all others
    return PrivateKey(public, material)


def unlock(
    named: str, folder: Path, file: Path | None, descriptor: int | None
) -> tuple[PrivateKey, ...]:
    """The private keys of a signer, asking for one passphrase where they are encrypted.

    Args:
        named: what `--key` says: a NAME in the key folder, or a file.
        folder: the key folder.
        file: where `--passphrase-file` has the passphrase.
        descriptor: where `--passphrase-fd` has it.

    Raises:
        UsageError: there is no such key, or the passphrase is wrong.
    """
    paths = find(named, folder)
    secret = None
    if any(is_encrypted(read_bounded(path, limits.KEY_FILE, "a private key")) for path in paths):
        secret = passphrase.read(f"the keys of '{named}'", file, descriptor)
    return tuple(load(path, secret) for path in paths)


def unlock_each(
    named: Iterable[str], folder: Path, file: Path | None, descriptor: int | None
) -> dict[str, tuple[PrivateKey, ...]]:
    """The private keys of several `--key`, by the signer's name; two files of one signer join."""
    found: dict[str, tuple[PrivateKey, ...]] = {}
    for one in named:
        name = signer_name(one)
        found[name] = found.get(name, ()) + unlock(one, folder, file, descriptor)
    return found


def is_encrypted(content: bytes) -> bool:
    """Whether a PEM private key needs a passphrase."""
    return b"ENCRYPTED" in content


def sign(envelope: Envelope, private: Iterable[PrivateKey]) -> Envelope:
    """The envelope with a signature of each key over its statement."""
    message = envelope.message
    return envelope.signed_also(key.sign(message) for key in private)
