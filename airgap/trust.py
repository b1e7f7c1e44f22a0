"""The trust store of a host: its policy and the public keys that the policy names.

It is a folder: `policy.yaml`, which a person may edit, and `keys/KEYID.pub`. Which one decides is
fixed: /etc/airgap/trust where it exists, and then nothing else; else the one that AIRGAP_TRUST
names; else the `trust` folder under the host's root.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from airgap import keys, limits, policy_file
from airgap.errors import UntrustedError, UsageError
from airgap.files import alone, read_bounded, share_folder, write_whole
from airgap.keys import PublicKey
from airgap.places import SYSTEM_TRUST
from airgap.policy import Policy, Revocation, Signer, TrustedKey
from airgap.strict_json import is_name, to_time

START = "airgap trust init, then: airgap trust add PUBKEYS --signer NAME --fingerprint FPR"


@dataclass(frozen=True)
class TrustStore:
    """A folder with a policy and its keys."""

    folder: Path

    @classmethod
    def of_host(cls, root: Path) -> TrustStore:
        """The one that decides on this host; whether it exists is asked when it is read."""
        if os.path.lexists(SYSTEM_TRUST):  # a broken link must not hand the choice to the user
            return cls(SYSTEM_TRUST)
        named = os.environ.get("AIRGAP_TRUST")
        return cls(Path(named).absolute() if named else root / "trust")

    @property
    def decides_alone(self) -> bool:
        """Whether this is the system's store, which excludes every other and `--key`."""
        return self.folder == SYSTEM_TRUST

    @property
    def policy_file(self) -> Path:
        """Where the policy stands."""
        return self.folder / "policy.yaml"

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return f"the trust store '{self.folder}'"

    def create(self, threshold: int, bundles: tuple[str, ...]) -> None:
        """Start a trust store without signers. Raises UsageError where there is one."""
        share_folder(self.folder)
        with alone(self._lock):
            if self.policy_file.exists():
                there = f"there is a trust store in '{self.folder}'"
                raise UsageError(there, hint="airgap trust list")
            share_folder(self.folder / "keys")
            self.save(Policy(self.name, threshold, bundles, {}))

    @contextmanager
    def changing(self) -> Iterator[Policy]:
        """The policy, for a change that no other process's change can undo.

        Two people at once would otherwise each write what they read and their own change: a
        revocation could be lost. Raises as `load`.
        """
        self.policy_bytes()  # a host without a store is told that, and gets no lock in its place
        with alone(self._lock):
            yield self.load()

    def load(self) -> Policy:
        """Read the policy and every key that it names.

        Raises:
            UntrustedError: there is no trust store, so nothing can be trusted.
            UsageError: the policy is not of the schema, or a key is missing or another.
        """
        return policy_file.read(
            self.policy_bytes(), str(self.policy_file), self.name, self._load_key
        )

    def policy_bytes(self) -> bytes:
        """The policy as it stands in the file. Raises UntrustedError where there is none."""
        if not self.policy_file.exists():
            raise UntrustedError(
                f"no trust store in '{self.folder}', so no signature can be trusted",
                rule="trust.missing",
                hint=START,
            )
        return read_bounded(self.policy_file, limits.POLICY_FILE, "a trust policy")

    def save(self, policy: Policy) -> None:
        """Write a policy that was changed here. Raises UsageError for one that nobody could read.

        Written all the same, it would stop every mount, and every verb that could mend it.
        """
        public = {
            key_id: key.public
            for one in policy.signers.values()
            for key_id, key in one.keys.items()
        }
        content = policy_file.write(policy)
        policy_file.read(content, str(self.policy_file), self.name, public.get)
        self.replace(content, policy)

    def replace(self, content: bytes, policy: Policy) -> None:
        """Write keys first, then the policy that names them: these bytes, which mean `policy`."""
        for signer in policy.signers.values():
            for key_id, key in signer.keys.items():
                write_whole(self._key_file(key_id), key.public.pem.encode(), mode=0o644)
        write_whole(self.policy_file, content, mode=0o644)

    def add(
        self,
        signer: str,
        public: Iterable[PublicKey],
        *,
        roles: tuple[str, ...],
        bundles: tuple[str, ...] = (),
        expires: str | None = None,
    ) -> Signer:
        """Add keys to a signer, who is made where there is none of that name.

        A new signer must sign with every algorithm of these keys; further keys of a known one
        (a spare, a successor) change nothing about that.

        Args:
            signer: whose keys they are.
            public: the keys.
            roles: what they may vouch for.
            bundles: names that the signer may sign for; none given leaves that as it is.
            expires: when the keys stop counting.

        Raises:
            UsageError: a key belongs to another signer already (one person would count twice), or
                was revoked; or the name is none that a policy can hold.
        """
        if not is_name(signer):
            raise UsageError(f"signer '{signer}': expected [a-z0-9][a-z0-9._-]{{0,63}}")
        by_id = {key.key_id: TrustedKey(key, roles, expires) for key in public}
        with self.changing() as policy:
            grown = _grown(policy, signer, by_id, bundles)
            self.save(replace(policy, signers={**policy.signers, signer: grown}))
        return grown

    def revoke(self, key_id: str, reason: str, now: datetime) -> tuple[str, str]:
        """Let a key count for nothing from now on; returns its signer's name, and its whole id.

        Args:
            key_id: at least eight digits of its id, enough to tell it from the others.
            reason: kept in the policy, for whoever meets its signature.
            now: kept as well.

        Raises:
            UsageError: no key, or more than one, has such an id; or it was revoked before, and
                when and why stays.
        """
        with self.changing() as policy:
            owner, whole = _owned_key(policy, key_id)
            if earlier := policy.revoked.get(whole):
                raise UsageError(
                    f"key {whole[:16]} was revoked on {earlier.since} already: {earlier.reason}",
                    hint="airgap trust list",
                )
            revoked = {**policy.revoked, whole: Revocation(to_time(now), reason)}
            self.save(replace(policy, revoked=revoked))
        return owner, whole

    @property
    def _lock(self) -> Path:
        return self.folder / "lock"

    def _key_file(self, key_id: str) -> Path:
        return self.folder / "keys" / f"{key_id}.pub"

    def _load_key(self, key_id: str) -> PublicKey | None:
        path = self._key_file(key_id)
        if not path.is_file():
            return None
        content = read_bounded(path, limits.KEY_FILE, "a public key")
        found = keys.load_public_keys(content, str(path))
        return found[0] if [key.key_id for key in found] == [key_id] else None


def _grown(
    policy: Policy, name: str, added: Mapping[str, TrustedKey], bundles: tuple[str, ...]
) -> Signer:
    """A signer with further keys. Raises UsageError for a key that is another's, or revoked."""
    for other in policy.signers.values():
        if other.name != name and (twice := other.keys.keys() & added.keys()):
            raise UsageError(f"key {min(twice)[:16]} belongs to '{other.name}' already")
    if revoked := policy.revoked.keys() & added.keys():
        raise UsageError(f"key {min(revoked)[:16]} was revoked, and stays so")
    algorithms = tuple(sorted({key.public.algorithm for key in added.values()}))
    known = policy.signers.get(name) or Signer(name, algorithms, {})
    return replace(known, keys={**known.keys, **added}, bundles=bundles or known.bundles)


def _owned_key(policy: Policy, beginning: str) -> tuple[str, str]:
    """The signer's name and the whole id of the one key whose id begins so. Raises UsageError."""
    found = [
        (one.name, key_id)
        for one in policy.signers.values()
        for key_id in one.keys
        if key_id.startswith(beginning)
    ]
    if len(beginning) < 8 or len(found) != 1:  # noqa: PLR2004 - as short as file names have it
        raise UsageError(
            f"expected the first 8 or more digits of one key's id, found '{beginning}', which "
            f"{len(found)} keys have",
            hint="airgap trust list",
        )
    return found[0]
