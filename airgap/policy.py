"""The rule of a host: whose signatures count, how many signers it takes, for which bundles."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from airgap.envelope import Envelope
from airgap.errors import UntrustedError
from airgap.keys import PublicKey
from airgap.statement import Statement


@dataclass(frozen=True)
class Signer:
    """A named owner of keys. However many of the keys sign, it is one signer.

    Attributes:
        name: of the person or team.
        algorithms: each must be represented by a valid signature for the signer to count.
        keys: by key id.
    """

    name: str
    algorithms: tuple[str, ...]
    keys: Mapping[str, PublicKey]


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
    """

    source: str
    threshold: int
    bundles: tuple[str, ...]
    signers: Mapping[str, Signer]

    def judge(self, envelope: Envelope) -> Verdict:
        """Who of this policy's signers signed; nothing of the statement is parsed here.

        Raises:
            UntrustedError: too few did, a signature of a known key is bad, or a signer's set of
                signatures is incomplete (someone may have taken one away).
        """
        owners = {key_id: signer for signer in self.signers.values() for key_id in signer.keys}
        verified: dict[str, set[str]] = {}
        unknown = []
        for signature in envelope.signatures:
            signer = owners.get(signature.key_id)
            if signer is None:
                unknown.append(signature.key_id)
                continue
            key = signer.keys[signature.key_id]
            if not key.verifies(signature.value, envelope.message):
                raise _bad_signature(signer, key)
            verified.setdefault(signer.name, set()).add(key.algorithm)
        for name, algorithms in verified.items():
            if missing := set(self.signers[name].algorithms) - algorithms:
                raise _incomplete(name, missing)
        if len(verified) < self.threshold:
            raise self._too_few(envelope, sorted(verified), unknown)
        found = {name: tuple(sorted(verified[name])) for name in sorted(verified)}
        return Verdict(self.source, found, tuple(unknown))

    def admit(self, statement: Statement) -> None:
        """Check that bundles of this name are accepted. Raises UntrustedError."""
        if not any(fnmatch.fnmatchcase(statement.name, pattern) for pattern in self.bundles):
            raise UntrustedError(
                f"bundles named '{statement.name}' are not accepted by {self.source}; accepted: "
                f"{', '.join(self.bundles) or 'none'}",
                rule="policy.bundles",
                hint="who keeps the policy can add the name under `bundles`",
            )

    def _too_few(self, envelope: Envelope, names: list[str], unknown: list[str]) -> UntrustedError:
        if not envelope.signatures:
            why = "nobody has signed it"
        elif unknown and not names:
            why = "signed by keys that are not trusted here: " + ", ".join(
                key_id[:16] for key_id in unknown
            )
        else:
            why = f"signed by {', '.join(names) or 'nobody that counts'}"
        return UntrustedError(
            f"{self.source} wants {self.threshold} signer(s) of "
            f"{', '.join(sorted(self.signers)) or 'none yet'}; found: {why}",
            rule="policy.threshold",
            hint="have it signed with `airgap sign`; or, if a key is missing here, compare its "
            "fingerprint on paper: airgap trust add PUBKEYS --signer NAME --fingerprint FPR",
        )


def policy_of_keys(public: Iterable[PublicKey], source: str) -> Policy:
    """A policy of one signer with the keys that were given: each must have signed."""
    by_id = {key.key_id: key for key in public}
    algorithms = tuple(sorted({key.algorithm for key in by_id.values()}))
    signer = Signer("the key given", algorithms, by_id)
    return Policy(source, 1, ("*",), {signer.name: signer})


def _bad_signature(signer: Signer, key: PublicKey) -> UntrustedError:
    return UntrustedError(
        f"the {key.algorithm} signature of '{signer.name}' (key {key.key_id[:16]}) is bad: the "
        "bundle's statement is not what that key signed",
        rule="signature.bad",
        hint="copy the bundle again; if it stays so, someone changed it",
    )


def _incomplete(name: str, missing: set[str]) -> UntrustedError:
    return UntrustedError(
        f"'{name}' must sign with all of the algorithms that the policy lists; without a valid "
        f"signature: {', '.join(sorted(missing))}",
        rule="signature.incomplete",
        hint="a signature was removed on the way, or never made: ask the signer",
    )
