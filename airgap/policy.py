"""The rule of a host: whose signatures count for what, how many signers it takes, until when."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from airgap.decision import Step, Tell, untold
from airgap.envelope import Envelope
from airgap.errors import UntrustedError
from airgap.keys import PublicKey
from airgap.statement import Statement
from airgap.strict_json import from_time

BUNDLE: Final = "bundle"
TRUST: Final = "trust"
RECEIPT: Final = "receipt"
ATTESTATION: Final = "attestation"
ROLES: Final = (BUNDLE, TRUST, RECEIPT, ATTESTATION)
"""What a key may vouch for: bundles, changes of policy, what a host did, what a host answered.
One use never stands for another."""

Served = Literal["serve", "stop"]
"""What becomes of a mounted bundle that expires, or whose signers are revoked."""

ADD_KEY: Final = (
    "have it signed with `airgap sign`; or, if a key is missing here, compare its fingerprint on "
    "paper: airgap trust add PUBKEYS --signer NAME --fingerprint FPR"
)


@dataclass(frozen=True)
class TrustedKey:
    """A signer's key: what it may vouch for, and until when."""

    public: PublicKey
    roles: tuple[str, ...] = (BUNDLE, TRUST)
    expires: str | None = None

    def shortcoming(self, role: str, now: datetime) -> str | None:
        """Why this key counts for nothing in `role` at `now`; None where it counts."""
        if role not in self.roles:
            return f"a key for {', '.join(self.roles)}, not for {role}"
        if self.expires is not None and from_time(self.expires) <= now:
            return f"a key that expired on {self.expires}"
        return None


@dataclass(frozen=True)
class Signer:
    """A named owner of keys. However many of the keys sign, it is one signer.

    Attributes:
        name: of the person, team or host.
        algorithms: each must be represented by a valid signature for the signer to count.
        keys: by key id.
        bundles: names or patterns of the bundles that this signer may sign for.
    """

    name: str
    algorithms: tuple[str, ...]
    keys: Mapping[str, TrustedKey]
    bundles: tuple[str, ...] = ("*",)


@dataclass(frozen=True)
class Revocation:
    """A key that counts for nothing any more: since when, and why."""

    since: str
    reason: str


@dataclass(frozen=True)
class Verdict:
    """Who signed, by which policy.

    Attributes:
        policy: where the policy came from, for a person.
        signers: the names that count, with the algorithms that verified.
        unknown: ids of keys that signed and that the policy does not know.
    """

    policy: str
    signers: Mapping[str, tuple[str, ...]]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Policy:
    """Which signatures a host demands.

    Attributes:
        source: where it came from, for messages.
        threshold: signers that must have signed.
        bundles: names or patterns of bundles that are accepted.
        signers: by name.
        version: grows with every rotation.
        revoked: keys that count for nothing, by id.
        expired: what becomes of a mounted bundle that expires or whose signers are revoked.
    """

    source: str
    threshold: int
    bundles: tuple[str, ...]
    signers: Mapping[str, Signer]
    version: int = 1
    revoked: Mapping[str, Revocation] = field(default_factory=dict)
    expired: Served = "serve"

    def judge(
        self, envelope: Envelope, now: datetime, *, role: str = BUNDLE, tell: Tell = untold
    ) -> Verdict:
        """Who of this policy's signers signed; nothing of the statement is parsed here.

        Args:
            envelope: statement and signatures.
            now: when; keys expire.
            role: what the keys must be allowed to vouch for.
            tell: told each signature, and the count.

        Raises:
            UntrustedError: too few did, a signature of a known key is bad, or a signer's set of
                signatures is incomplete (someone may have taken one away).
        """
        verified: dict[str, set[str]] = {}
        lapsed: dict[str, set[str]] = {}
        unknown, uncounted = [], []
        for signature in envelope.signatures:
            short = signature.key_id[:16]
            signer = self.owner(signature.key_id)
            if signer is None:
                unknown.append(signature.key_id)
                uncounted.append(f"{short}, {self._why_unknown(signature.key_id)}")
                continue
            key = signer.keys[signature.key_id]
            if not key.public.verifies(signature.value, envelope.message):
                raise _bad_signature(signer, key.public)
            why_not = key.shortcoming(role, now)
            (lapsed if why_not else verified).setdefault(signer.name, set()).add(
                key.public.algorithm
            )
            if why_not:
                uncounted.append(f"{short} of '{signer.name}', {why_not}")
            else:
                found = f"{short} of '{signer.name}', {key.public.algorithm}"
                tell(Step("signature", "valid", found))
        for one in uncounted:
            tell(Step("signature", "by a key that counts", one, "noted"))
        complete = self._complete(verified, lapsed)
        self._check_count(complete, uncounted)
        tell(Step("policy.threshold", self._wants(), f"signed by {', '.join(sorted(complete))}"))
        counted = {name: tuple(sorted(complete[name])) for name in sorted(complete)}
        return Verdict(self.source, counted, tuple(unknown))

    def admit(self, statement: Statement, verdict: Verdict, tell: Tell = untold) -> None:
        """Check that bundles of this name are accepted, from enough of those who signed.

        Raises:
            UntrustedError: the name is not accepted here, or too few signers may sign for it.
        """
        name = statement.name
        if not _matches(name, self.bundles):
            raise UntrustedError(
                f"bundles named '{name}' are not accepted by {self.source}; accepted: "
                f"{', '.join(self.bundles) or 'none'}",
                rule="policy.bundles",
                hint="who keeps the policy can add the name under `bundles`",
            )
        entitled = [one for one in verdict.signers if _matches(name, self.signers[one].bundles)]
        if len(entitled) < self.threshold:
            others = sorted(set(verdict.signers) - set(entitled))
            raise UntrustedError(
                f"{self.source} wants {self.threshold} signer(s) who may sign for '{name}'; found: "
                f"{', '.join(entitled) or 'none'}, and without that right: {', '.join(others)}",
                rule="policy.signer-bundles",
                hint="who keeps the policy can add the name under the signer's `bundles`",
            )
        tell(Step("policy.bundles", f"one of {', '.join(self.bundles)}", name))

    def owner(self, key_id: str) -> Signer | None:
        """The signer whose key it is; None for a key that is unknown or revoked."""
        if key_id in self.revoked:
            return None
        return next((one for one in self.signers.values() if key_id in one.keys), None)

    def _why_unknown(self, key_id: str) -> str:
        revocation = self.revoked.get(key_id)
        if revocation is None:
            return "a key that is not known here"
        return f"a key revoked on {revocation.since}: {revocation.reason}"

    def _complete(
        self, verified: Mapping[str, set[str]], lapsed: Mapping[str, set[str]]
    ) -> dict[str, set[str]]:
        """The signers whose every algorithm verified.

        One that lacks an algorithm although all its keys are in force has lost a signature on
        the way, which refuses; one whose key has lapsed does not count, and no more.
        """
        complete = {}
        for name, algorithms in verified.items():
            missing = set(self.signers[name].algorithms) - algorithms
            if missing - lapsed.get(name, set()) - self._revoked_algorithms(name):
                raise _incomplete(name, missing)
            if not missing:
                complete[name] = algorithms
        return complete

    def _revoked_algorithms(self, name: str) -> set[str]:
        """The algorithms of a signer for which every key has been revoked."""
        left = {key.public.algorithm for key in self.in_force(name)}
        return set(self.signers[name].algorithms) - left

    def keys_for(self, role: str, now: datetime) -> list[PublicKey]:
        """Every key, of any signer, that counts in `role` at `now`."""
        return [
            key.public
            for name in self.signers
            for key in self.in_force(name)
            if key.shortcoming(role, now) is None
        ]

    def in_force(self, name: str) -> list[TrustedKey]:
        """The keys of a signer that have not been revoked."""
        keys = self.signers[name].keys
        return [key for key_id, key in keys.items() if key_id not in self.revoked]

    def _wants(self) -> str:
        return f"{self.threshold} signer(s) of {', '.join(sorted(self.signers)) or 'none yet'}"

    def _check_count(self, complete: Mapping[str, object], uncounted: list[str]) -> None:
        if len(complete) >= self.threshold:
            return
        found = f"signed by {', '.join(sorted(complete)) or 'nobody that counts'}"
        if uncounted:
            found += f"; not counted: {'; '.join(uncounted)}"
        elif not complete:
            found = "nobody has signed it"
        raise UntrustedError(
            f"{self.source} wants {self._wants()}; found: {found}",
            rule="policy.threshold",
            hint=ADD_KEY,
        )


def policy_of_keys(public: Iterable[PublicKey], source: str) -> Policy:
    """A policy of one signer with the keys that were given: each must have signed."""
    by_id = {key.key_id: TrustedKey(key, ROLES) for key in public}
    algorithms = tuple(sorted({key.public.algorithm for key in by_id.values()}))
    signer = Signer("the key given", algorithms, by_id)
    return Policy(source, 1, ("*",), {signer.name: signer})


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _bad_signature(signer: Signer, key: PublicKey) -> UntrustedError:
    return UntrustedError(
        f"the {key.algorithm} signature of '{signer.name}' (key {key.key_id[:16]}) is bad: the "
        "statement is not what that key signed",
        rule="signature.bad",
        hint="copy it again; if it stays so, someone changed it",
    )


def _incomplete(name: str, missing: set[str]) -> UntrustedError:
    return UntrustedError(
        f"'{name}' must sign with all of the algorithms that the policy lists; without a valid "
        f"signature: {', '.join(sorted(missing))}",
        rule="signature.incomplete",
        hint="a signature was removed on the way, or never made: ask the signer",
    )
