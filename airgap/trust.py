"""The trust store of a host: its policy and the public keys that the policy names.

It is a folder: `policy.yaml`, which a person may edit, and `keys/KEYID.pub`. Where
/etc/airgap/trust exists it alone decides; else the `trust` folder under the host's root does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from airgap import keys, limits
from airgap.digest import is_sha256
from airgap.errors import UntrustedError, UsageError
from airgap.files import read_bounded, write_whole
from airgap.keys import PublicKey
from airgap.places import SYSTEM_TRUST
from airgap.policy import Policy, Signer
from airgap.strict_json import is_name
from airgap.yaml_document import YamlDocument

SCHEMA = 1
START = "airgap trust init, then: airgap trust add PUBKEYS --signer NAME --fingerprint FPR"

_HEADER = """\
# Who may sign what this host accepts. Edit with care: this file decides.
#   threshold   how many signers must have signed; 2 is the two-person rule
#   bundles     names of bundles that are accepted, * for any
#   algorithms  those that must all verify for the signer to count
"""


@dataclass(frozen=True)
class TrustStore:
    """A folder with a policy and its keys."""

    folder: Path

    @classmethod
    def of_host(cls, root: Path) -> TrustStore:
        """The one that decides on this host; whether it exists is asked when it is read."""
        return cls(SYSTEM_TRUST if SYSTEM_TRUST.is_dir() else root / "trust")

    @property
    def policy_file(self) -> Path:
        """Where the policy stands."""
        return self.folder / "policy.yaml"

    def create(self, threshold: int, bundles: tuple[str, ...]) -> None:
        """Start a trust store without signers. Raises UsageError where there is one."""
        if self.policy_file.exists():
            raise UsageError(f"there is a trust store in '{self.folder}'", hint="airgap trust list")
        (self.folder / "keys").mkdir(parents=True, exist_ok=True)
        self._write(Policy(self._name(), threshold, bundles, {}))

    def load(self) -> Policy:
        """Read the policy and every key that it names.

        Raises:
            UntrustedError: there is no trust store, so nothing can be trusted.
            UsageError: the policy is not of the schema, or a key is missing or another.
        """
        if not self.policy_file.exists():
            raise UntrustedError(
                f"no trust store in '{self.folder}', so no signature can be trusted",
                rule="trust.missing",
                hint=START,
            )
        content = read_bounded(self.policy_file, limits.POLICY_FILE, "a trust policy")
        return self._parse(YamlDocument(content, str(self.policy_file)))

    def add(self, signer: str, public: tuple[PublicKey, ...]) -> Signer:
        """Add keys to a signer, who is made where there is none of that name.

        A new signer must sign with every algorithm of these keys; further keys of a known one
        (a spare, a successor) change nothing about that.

        Raises:
            UsageError: a key belongs to another signer already: one person would count twice; or
                the name is none that the policy can hold.
        """
        if not is_name(signer):
            raise UsageError(f"signer '{signer}': expected [a-z0-9][a-z0-9._-]{{0,63}}")
        policy = self.load()
        for other in policy.signers.values():
            if other.name != signer and (twice := other.keys.keys() & {k.key_id for k in public}):
                raise UsageError(f"key {min(twice)[:16]} belongs to '{other.name}' already")
        known = policy.signers.get(signer) or Signer(
            signer, tuple(sorted({key.algorithm for key in public})), {}
        )
        for key in public:
            write_whole(self._key_file(key.key_id), key.pem.encode())
        grown = replace(known, keys={**known.keys, **{key.key_id: key for key in public}})
        self._write(replace(policy, signers={**policy.signers, signer: grown}))
        return grown

    def _name(self) -> str:
        return f"the trust store '{self.folder}'"

    def _key_file(self, key_id: str) -> Path:
        return self.folder / "keys" / f"{key_id}.pub"

    def _write(self, policy: Policy) -> None:
        body = {
            "policy": SCHEMA,
            "threshold": policy.threshold,
            "bundles": list(policy.bundles),
            "signers": {
                signer.name: {"algorithms": list(signer.algorithms), "keys": list(signer.keys)}
                for signer in policy.signers.values()
            },
        }
        text = _HEADER + yaml.safe_dump(body, sort_keys=False)
        write_whole(self.policy_file, text.encode())

    def _parse(self, document: YamlDocument) -> Policy:
        wanted = {"policy": True, "threshold": True, "bundles": True, "signers": True}
        top = document.mapping(document.root, wanted, "the policy")
        document.finish()
        document.integer(top["policy"], "policy", least=SCHEMA, most=SCHEMA)
        threshold = document.integer(top["threshold"], "threshold", least=1, most=limits.SIGNATURES)
        names = [
            document.text(node, "a bundle") for node in document.items(top["bundles"], "bundles")
        ]
        signers = {
            key.value: self._parse_signer(document, key.value, node)
            for key, node in document.pairs(top["signers"], "signers")
        }
        document.finish()
        _refuse_shared_keys(document, top["signers"], signers.values())
        return Policy(self._name(), threshold, tuple(names), signers)

    def _parse_signer(self, document: YamlDocument, name: str, node: yaml.Node) -> Signer:
        if not is_name(name):
            document.defect(node, f"signer '{name}': expected [a-z0-9][a-z0-9._-]{{0,63}}")
        fields = document.mapping(node, {"algorithms": True, "keys": True}, f"signer '{name}'")
        if fields.keys() != {"algorithms", "keys"}:
            return Signer(name, (), {})
        algorithms = [
            document.choice(item, keys.ALGORITHMS, "an algorithm")
            for item in document.items(fields["algorithms"], "algorithms")
        ]
        by_id: dict[str, PublicKey] = {}
        for item in document.items(fields["keys"], "keys"):
            key_id = document.text(item, "a key")
            if not is_sha256(key_id):
                document.defect(item, f"key '{key_id}': expected 64 hex digits")
            elif (key := self._load_key(key_id)) is None:
                document.defect(item, f"key {key_id}: '{self._key_file(key_id)}' is not that key")
            else:
                by_id[key_id] = key
        for missing in sorted(set(algorithms) - {key.algorithm for key in by_id.values()} - {""}):
            document.defect(node, f"signer '{name}' must sign with {missing} and has no such key")
        return Signer(name, tuple(algorithms), by_id)

    def _load_key(self, key_id: str) -> PublicKey | None:
        path = self._key_file(key_id)
        if not path.is_file():
            return None
        content = read_bounded(path, limits.KEY_FILE, "a public key")
        found = keys.load_public_keys(content, str(path))
        return found[0] if [key.key_id for key in found] == [key_id] else None


def _refuse_shared_keys(document: YamlDocument, node: yaml.Node, signers: Iterable[Signer]) -> None:
    """One key under two names would let one person count as two."""
    owner: dict[str, str] = {}
    for signer in signers:
        for key_id in signer.keys:
            if other := owner.get(key_id):
                document.defect(node, f"key {key_id[:16]} belongs to '{other}' and '{signer.name}'")
            owner[key_id] = signer.name
    document.finish()
