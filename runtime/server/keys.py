"""Who may call: API keys, of which this host keeps nothing but hashes.

A key is 256 random bits, so that its plain SHA-256 says nothing about it: there is nothing to
guess, and no need for a slow hash at every request.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from airgap import limits, strict_json
from airgap.digest import is_sha256
from airgap.errors import AirgapError, UsageError
from airgap.files import read_bounded, share_folder, write_whole
from airgap.strict_json import Fields, is_name, is_time

SCHEMA: Final = "airgap/api-keys/v1"

PREFIX: Final = "airgap-"
"""Lets a scanner for leaked secrets find a key."""

SHORTEST: Final = 16
"""Characters of a key that somebody made up and gave by API_KEYS."""

MOST: Final = 10_000
"""Keys in a file."""


@dataclass(frozen=True)
class KeyEntry:
    """One key as it is kept: whose, its SHA-256, and when it was made."""

    name: str
    sha256: str
    created: str


@dataclass(frozen=True)
class KeyFile:
    """The file of hashed keys. `KeyFile.parse(path, file.to_bytes()) == file`."""

    path: Path
    entries: tuple[KeyEntry, ...] = ()

    @classmethod
    def under(cls, root: Path) -> Path:
        """Where it lies under a host's root."""
        return root / "state" / "api-keys.json"

    @classmethod
    def load(cls, path: Path) -> KeyFile:
        """Read it; without a file there are no keys.

        Raises:
            UsageError: it cannot be read, or is damaged.
        """
        if not path.exists():
            return cls(path)
        return cls.parse(path, read_bounded(path, limits.MANIFEST_SIZE, "the file of API keys"))

    @classmethod
    def parse(cls, path: Path, content: bytes) -> KeyFile:
        """Read what `to_bytes` wrote. Raises UsageError where it is anything else."""
        defects: list[str] = []
        try:
            top = Fields(strict_json.parse(content), "", defects)
        except strict_json.JsonError as error:
            raise _damaged(path, str(error)) from error
        top.text("schema", SCHEMA.__eq__, SCHEMA)
        entries = []
        for one in top.objects("keys", MOST):
            entries.append(
                KeyEntry(
                    one.text("name", is_name, "a name"),
                    one.text("sha256", is_sha256, "64 hex digits"),
                    one.text("created", is_time, "a time"),
                )
            )
            one.close()
        top.close()
        if defects:
            raise _damaged(path, "; ".join(sorted(defects)))
        return cls(path, tuple(entries))

    def to_bytes(self) -> bytes:
        """The file's content."""
        keys = [vars(entry) for entry in self.entries]
        return strict_json.readable({"schema": SCHEMA, "keys": keys})

    def add(self, name: str, now: datetime) -> str:
        """Make a key, keep its hash, and return it: it is shown this once.

        Raises:
            UsageError: it is no name, or has a key already.
        """
        if not is_name(name):
            raise UsageError(f"key name '{name}': expected [a-z0-9][a-z0-9._-]{{0,63}}")
        if any(entry.name == name for entry in self.entries):
            raise UsageError(
                f"'{name}' has a key already", hint=f"airgap apikey revoke {name}, or another name"
            )
        key = PREFIX + secrets.token_urlsafe(32)
        entry = KeyEntry(name, _hashed(key).hex(), strict_json.to_time(now))
        self._write((*self.entries, entry))
        return key

    def revoke(self, name: str) -> None:
        """Forget a key. Raises UsageError where there is none of that name."""
        left = tuple(entry for entry in self.entries if entry.name != name)
        if len(left) == len(self.entries):
            known = ", ".join(entry.name for entry in self.entries) or "none"
            raise UsageError(f"expected the name of a key, found '{name}'; there are: {known}")
        self._write(left)

    def _write(self, entries: tuple[KeyEntry, ...]) -> None:
        share_folder(self.path.parent)
        # Readable for the service's own user, whoever wrote it: hashes of 256 random bits.
        write_whole(self.path, replace(self, entries=entries).to_bytes(), mode=0o644)


class Keys:
    """The keys that are valid now: those given by API_KEYS, and those of the file, as it changes.

    Args:
        given: plain keys by the name of their caller.
        path: the file of hashed keys.

    Attributes:
        required: whether a caller needs a key: from the first key on, also when the last is
            revoked.
    """

    def __init__(self, given: Mapping[str, str], path: Path) -> None:
        self._given = {name: _hashed(key) for name, key in given.items()}
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._filed: dict[str, bytes] = {}
        self.required = bool(given)
        self.refresh()

    def refresh(self) -> bool:
        """Read the file again where it changed; whether it did.

        Raises:
            UsageError: it cannot be read; the keys stay as they were.
        """
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return False
        entries = KeyFile.load(self._path).entries
        self._filed = {entry.name: bytes.fromhex(entry.sha256) for entry in entries}
        self._stamp = stamp
        self.required = self.required or bool(self._filed)
        return True

    def caller(self, key: str) -> str | None:
        """The name of whoever has this key; None for nobody.

        Every key is compared, each in constant time: how long it takes says nothing.
        """
        presented, found = _hashed(key), None
        for name, expected in (*self._given.items(), *self._filed.items()):
            if hmac.compare_digest(presented, expected):
                found = name
        return found


def given_by_environment() -> dict[str, str]:
    """The keys of API_KEYS (separated by commas), which is then taken out of the environment.

    Raises:
        UsageError: one is shorter than a key should be.
    """
    keys = [key.strip() for key in os.environ.pop("API_KEYS", "").split(",") if key.strip()]
    for number, key in enumerate(keys, start=1):
        if len(key) < SHORTEST:
            raise UsageError(
                f"API_KEYS: key {number} has {len(key)} characters, expected {SHORTEST} or more",
                hint="airgap apikey add NAME makes one",
            )
    return {f"API_KEYS[{number}]": key for number, key in enumerate(keys, start=1)}


def _hashed(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AirgapError(f"cannot read '{path}': {error.strerror}") from error
    return (found.st_mtime_ns, found.st_ino, found.st_size)


def _damaged(path: Path, why: str) -> UsageError:
    return UsageError(
        f"the file of API keys '{path}' is damaged: {why}",
        hint="restore it, or remove it and make new keys: airgap apikey add NAME",
    )
