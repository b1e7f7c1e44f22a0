"""The key of this host: it signs what the host itself did, never a bundle.

One Ed25519 key, made at first use: `audit/host.key` under the host's root (PKCS #8 PEM, not
encrypted, mode 0600: it works where nobody is there to type) and `audit/host.pub`. The public
half is enrolled on the connected side with the role `receipt`, by its fingerprint, on paper.
"""

from __future__ import annotations

import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from airgap import keys, limits
from airgap.envelope import Envelope, Signature
from airgap.errors import AirgapError
from airgap.files import share_folder, sync_folder, write_whole
from airgap.keys import PublicKey

FOLDER: Final = "audit"
"""Under the host's root: the host's key, and the audit log that it signs."""

LOG: Final = "log.jsonl"
"""The audit log, beside the key. A log that has begun must have its key."""

_FOLDER_MODE: Final = 0o750
_RESTORE: Final = "restore the folder from the backup, or, if it is lost for good, move what is "
"""How to go on without the key; the sentence is ended where it is used."""


@dataclass(frozen=True)
class HostKey:
    """This host's private key, with its public half."""

    public: PublicKey
    _material: Ed25519PrivateKey

    def sign(self, envelope: Envelope) -> Envelope:
        """The envelope with this host's signature over its statement."""
        value = self._material.sign(envelope.message)
        return envelope.signed_also([Signature(self.public.key_id, value)])

    @classmethod
    def of(cls, root: Path) -> HostKey:
        """The key of the host whose root this is, made where there is none.

        Two processes that come first at once get one key: it is linked under its name whole, and
        the second finds the name taken.

        Raises:
            AirgapError: the folder cannot be written; the key is readable to others, is no key,
                or has another public half beside it; or it is missing although the audit log
                has begun, so that a new one would pass for the old.
        """
        folder = _made(root)
        begun = _has_begun(folder)  # asked before the key, which is always there before the log
        key = _load(folder / "host.key")
        if key is None and begun:
            raise AirgapError(
                f"the host key '{folder / 'host.key'}' is missing, and the audit log has begun",
                hint=f"{_RESTORE}left of it away: a new key and a new log begin",
            )
        if key is None:
            key = _make(folder / "host.key")
        _publish(folder, key.public)
        return key


def public_key(root: Path) -> PublicKey:
    """The public half, for those who check. Raises AirgapError where there is none."""
    path = root / FOLDER / "host.pub"
    content = _read(path)
    if content is None:
        raise AirgapError(
            f"there is no '{path}': this host has no key yet, or lost it", hint="airgap audit key"
        )
    return keys.load_public_keys(content, str(path))[0]


def public_file(root: Path) -> Path:
    """Where the public half lies."""
    return root / FOLDER / "host.pub"


def _made(root: Path) -> Path:
    folder = root / FOLDER
    try:
        share_folder(root)
        folder.mkdir(exist_ok=True, mode=_FOLDER_MODE)
    except OSError as error:
        raise AirgapError(f"cannot make the folder '{folder}': {error.strerror}") from error
    return folder


def _has_begun(folder: Path) -> bool:
    try:
        return os.lstat(folder / LOG).st_size > 0
    except FileNotFoundError:
        return False
    except OSError as error:
        raise AirgapError(f"cannot look at '{folder / LOG}': {error.strerror}") from error


def _load(path: Path) -> HostKey | None:
    content = _read(path, private=True)
    if content is None:
        return None
    try:
        material = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key(path) from error
    if not isinstance(material, Ed25519PrivateKey):
        raise _no_key(path)
    return HostKey(keys.from_material(material.public_key()), material)


def _make(path: Path) -> HostKey:
    """A new key under `path`, or the one that another process put there a moment earlier."""
    pem = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as stream:
            stream.write(pem)
            stream.flush()
            os.fsync(stream.fileno())
        # A link, unlike a rename, never replaces what is there: O_EXCL for a whole file.
        os.link(temporary, path, follow_symlinks=False)
        sync_folder(path.parent)
    except FileExistsError:
        pass
    except OSError as error:
        raise AirgapError(f"cannot write the host key '{path}': {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
    made = _load(path)
    if made is None:
        raise AirgapError(f"the host key '{path}' was removed as it was made")
    return made


def _publish(folder: Path, public: PublicKey) -> None:
    """See that the public half lies beside the key."""
    path = folder / "host.pub"
    there = _read(path)
    if there is None:
        write_whole(path, public.pem.encode())
    elif there != public.pem.encode():
        raise AirgapError(
            f"'{path}' is not the public half of '{folder / 'host.key'}'",
            hint=f"{_RESTORE}wrong away; compare with the fingerprint on your paper",
        )


def _read(path: Path, *, private: bool = False) -> bytes | None:
    """A small regular file, whole; None where there is none. Links are not followed."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags), "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            content = stream.read(limits.KEY_FILE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AirgapError(f"cannot read '{path}': {error.strerror}") from error
    if not stat.S_ISREG(mode) or len(content) > limits.KEY_FILE:
        raise _no_key(path)
    if private and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise AirgapError(
            f"the host key '{path}' has mode {stat.S_IMODE(mode):04o}: others may read it; "
            "expected 0600",
            hint=f"chmod 600 {path}; if others did read it, whoever enrolled it must know",
        )
    return content


def _no_key(path: Path) -> AirgapError:
    return AirgapError(
        f"'{path}' is no key of a host: expected one Ed25519 key in PEM",
        hint=f"{_RESTORE}left of it away: a new key and a new log begin",
    )
