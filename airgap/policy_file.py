"""`policy.yaml` <-> Policy: the rule of a host as a person reads and edits it.

The schema is strict: an unknown key, a wrong type, a key file that is another, all are named
with line and column, and nothing is trusted until they are mended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import yaml

from airgap import keys, limits, policy
from airgap.digest import is_sha256
from airgap.keys import PublicKey
from airgap.policy import Policy, Revocation, Signer, TrustedKey
from airgap.strict_json import is_name, is_time
from airgap.yaml_document import YamlDocument

SCHEMA = 1

_HEADER = """\
# Who may sign what this host accepts. Edit with care: this file decides.
#   threshold   how many signers must have signed; 2 is the two-person rule
#   bundles     names of bundles that are accepted, * for any; a signer may have a list of its own
#   algorithms  those that must all verify for the signer to count
#   roles       what a key may vouch for: bundle, trust, receipt, attestation
#   expired     what a mounted bundle does when it expires or its signers are revoked: serve, stop
"""

_LINE_ENDS = {"\x85", "\u2028", "\u2029"}
"""Line ends of Unicode. PyYAML writes them as they are, then reads a space: they are escaped."""

_TOP = {
    "policy": True,
    "version": True,
    "threshold": True,
    "bundles": True,
    "expired": True,
    "signers": True,
    "revoked": False,
}

FindKey = Callable[[str], PublicKey | None]
"""The public key with an id; None where there is none, or another under its name."""


def write(rule: Policy) -> bytes:
    """The file's content. `read(write(rule), …) == rule` where every key can be found."""
    body: dict[str, object] = {
        "policy": SCHEMA,
        "version": rule.version,
        "threshold": rule.threshold,
        "bundles": list(rule.bundles),
        "expired": rule.expired,
        "signers": {name: _signer_entry(signer) for name, signer in rule.signers.items()},
    }
    if rule.revoked:
        body["revoked"] = {
            key_id: {"since": one.since, "reason": one.reason}
            for key_id, one in rule.revoked.items()
        }
    text = yaml.safe_dump(body, sort_keys=False, allow_unicode=True)
    if _LINE_ENDS & set(text):
        text = yaml.safe_dump(body, sort_keys=False)
    return (_HEADER + text).encode()


def read(content: bytes, file: str, source: str, find_key: FindKey) -> Policy:
    """Parse a policy.

    Args:
        content: the file, already bounded by `limits.POLICY_FILE`.
        file: its name, for errors.
        source: what to call the policy in verdicts.
        find_key: looks up the keys that it names.

    Raises:
        UsageError: every defect, one a line, as FILE:LINE:COL.
    """
    return _Reader(YamlDocument(content, file), find_key).policy(source)


def _signer_entry(signer: Signer) -> dict[str, object]:
    entry: dict[str, object] = {"algorithms": list(signer.algorithms)}
    if signer.bundles != ("*",):
        entry["bundles"] = list(signer.bundles)
    entry["keys"] = {key_id: _key_entry(key) for key_id, key in signer.keys.items()}
    return entry


def _key_entry(key: TrustedKey) -> dict[str, object]:
    expires = {"expires": key.expires} if key.expires else {}
    return {"roles": list(key.roles), **expires}


@dataclass(frozen=True)
class _Reader:
    """One policy being read."""

    document: YamlDocument
    find_key: FindKey

    def policy(self, source: str) -> Policy:
        document = self.document
        top = document.mapping(document.root, _TOP, "the policy")
        document.finish()
        document.integer(top["policy"], "policy", least=SCHEMA, most=SCHEMA)
        rule = Policy(
            source=source,
            threshold=document.integer(
                top["threshold"], "threshold", least=1, most=limits.SIGNATURES
            ),
            bundles=self.texts(top["bundles"], "bundles"),
            signers={
                key.value: self.signer(key, node)
                for key, node in document.pairs(top["signers"], "signers")
            },
            version=document.integer(top["version"], "version", least=1, most=limits.INTEGER),
            revoked={
                key.value: self.revocation(key, node)
                for key, node in (
                    document.pairs(top["revoked"], "revoked") if "revoked" in top else ()
                )
            },
            expired="stop" if self.choice(top["expired"], ("serve", "stop")) == "stop" else "serve",
        )
        self.refuse_shared_keys(top["signers"], rule.signers.values())
        document.finish()
        return rule

    def texts(self, node: yaml.Node, what: str) -> tuple[str, ...]:
        return tuple(self.document.text(item, what) for item in self.document.items(node, what))

    def choice(self, node: yaml.Node, choices: tuple[str, ...]) -> str:
        return self.document.choice(node, choices, "expired")

    def signer(self, name: yaml.ScalarNode, node: yaml.Node) -> Signer:
        document, what = self.document, f"signer '{name.value}'"
        if not is_name(name.value):
            document.defect(name, f"{what}: expected [a-z0-9][a-z0-9._-]{{0,63}}")
        wanted = {"algorithms": True, "bundles": False, "keys": True}
        fields = document.mapping(node, wanted, what)
        if not {"algorithms", "keys"} <= fields.keys():
            return Signer(name.value, (), {})
        algorithms = tuple(
            document.choice(item, keys.ALGORITHMS, "an algorithm")
            for item in document.items(fields["algorithms"], "algorithms")
        )
        trusted = {
            key.value: found
            for key, inner in document.pairs(fields["keys"], "keys")
            if (found := self.key(key, inner)) is not None
        }
        held = {key.public.algorithm for key in trusted.values()}
        for missing in sorted(set(algorithms) - held - {""}):
            document.defect(node, f"{what} must sign with {missing} and has no such key")
        bundles = self.texts(fields["bundles"], "bundles") if "bundles" in fields else ("*",)
        return Signer(name.value, algorithms, trusted, bundles)

    def key(self, key_id: yaml.ScalarNode, node: yaml.Node) -> TrustedKey | None:
        document, what = self.document, f"key {key_id.value[:16]}"
        fields = document.mapping(node, {"roles": True, "expires": False}, what)
        roles = tuple(
            document.choice(item, policy.ROLES, "a role")
            for item in (document.items(fields["roles"], "roles") if "roles" in fields else ())
        )
        expires = self.time(fields["expires"], "expires") if "expires" in fields else None
        public = self.find_key(key_id.value) if is_sha256(key_id.value) else None
        if public is None:
            document.defect(key_id, f"{what}: there is no file 'keys/{key_id.value}.pub' with it")
            return None
        return TrustedKey(public, roles, expires)

    def revocation(self, key_id: yaml.ScalarNode, node: yaml.Node) -> Revocation:
        document, what = self.document, f"revoked key {key_id.value[:16]}"
        if not is_sha256(key_id.value):
            document.defect(key_id, f"{what}: expected 64 hex digits")
        fields = document.mapping(node, {"since": True, "reason": True}, what)
        if fields.keys() != {"since", "reason"}:
            return Revocation("", "")
        reason = document.text(fields["reason"], "reason")
        return Revocation(self.time(fields["since"], "since"), reason)

    def time(self, node: yaml.Node, what: str) -> str:
        time = self.document.text(node, what)
        if time and not is_time(time):
            self.document.defect(node, f"{what}: expected a time as '2027-01-31T00:00:00Z'")
        return time

    def refuse_shared_keys(self, node: yaml.Node, signers: Iterable[Signer]) -> None:
        """One key under two names would let one person count as two."""
        owner: dict[str, str] = {}
        for signer in signers:
            for key_id in signer.keys:
                if other := owner.get(key_id):
                    both = f"'{other}' and '{signer.name}'"
                    self.document.defect(node, f"key {key_id[:16]} belongs to {both}")
                owner[key_id] = signer.name
