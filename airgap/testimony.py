"""What a host says under its signature: receipts of bundles, attestations of transcripts.

Each is an in-toto statement in DSSE with a predicate type of its own, and whose word counts is a
matter of roles. How one is checked is the same for all, and stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from airgap import strict_json
from airgap.envelope import Envelope
from airgap.errors import UntrustedError
from airgap.keys import PublicKey
from airgap.strict_json import Fields


class Said(Protocol):
    """What one host says."""

    @property
    def host(self) -> str:
        """Id of the key of the host that it speaks for."""

    def statement(self) -> bytes:
        """The one serialisation: canonical JSON."""


T = TypeVar("T", bound=Said)


@dataclass(frozen=True)
class Testimony(Generic[T]):
    """One kind of what hosts say.

    Attributes:
        name: of the role whose keys are believed, and what the names of its rules begin with.
        predicate_type: that it has, and nothing else has.
        wanted: what a refusal says that this is not.
        read: takes what it is made of from the statement; all the rest is compared.
    """

    name: str
    predicate_type: str
    wanted: str
    read: Callable[[Fields], T]

    def parse(self, content: bytes) -> T:
        """Parse the very bytes that a signature check returned; only one form is taken.

        Raises:
            UntrustedError: it is another kind of statement, or says something that we do not
                understand.
        """
        defects: list[str] = []
        try:
            top = Fields(strict_json.parse(content), "", defects)
        except strict_json.JsonError as error:
            raise self.refused(str(error), "form") from error
        kind = top.text("predicateType")
        if kind != self.predicate_type:
            raise self.refused(
                f"expected a statement of the type {self.predicate_type}, found {kind!r}",
                "predicate",
            )
        said = self.read(top)
        if not defects and said.statement() != content:
            defects.append("its fields do not agree with each other, or have another form")
        if defects:
            raise self.refused("; ".join(sorted(defects)), "form")
        return said

    def check(self, envelope: Envelope, trusted: Iterable[PublicKey]) -> T:
        """What a trusted host signed. The signature is checked first; nothing is parsed before.

        Args:
            envelope: as it came.
            trusted: keys of hosts, with the role of this kind.

        Raises:
            UntrustedError: nobody trusted signed it, a signature is bad, it is another kind of
                statement, or it speaks for another host.
        """
        by_id = {key.key_id: key for key in trusted}
        known = [one for one in envelope.signatures if one.key_id in by_id]
        for one in known:
            if not by_id[one.key_id].verifies(one.value, envelope.message):
                raise self.refused(
                    f"the signature of key {one.key_id[:16]} is bad: it was changed", "signature"
                )
        if not known:
            found = ", ".join(one.key_id[:16] for one in envelope.signatures) or "nobody"
            wanted = ", ".join(key_id[:16] for key_id in sorted(by_id))
            nobody = f"a key that was enrolled with the role {self.name}, and there is none"
            raise self.refused(
                f"expected a signature of {wanted or nobody}, found that of {found}", "key"
            )
        said = self.parse(envelope.statement)
        if said.host not in {one.key_id for one in known}:
            raise self.refused(f"it speaks for the host {said.host[:16]}", "host")
        return said

    def refused(self, why: str, part: str) -> UntrustedError:
        """The error for one that is not believed; its rule is `NAME.PART`."""
        return UntrustedError(
            f"this is no {self.wanted}: {why}",
            rule=f"{self.name}.{part}",
            authority="who handed it to you, or who keeps this host's policy",
            hint="a host's key is enrolled with its fingerprint from paper: airgap trust add "
            f"host.pub --signer HOST --role {self.name} --fingerprint FPR",
        )
