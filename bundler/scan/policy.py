"""What a profile says about findings: refuse them, go on with a warning, or waive one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Final

import yaml

from airgap.yaml_document import YamlDocument
from bundler.locked_model import SHA256
from bundler.scan.findings import Finding

REFUSE: Final = "refuse"
WARN: Final = "warn"
CHOICES: Final = (REFUSE, WARN)

KEYS: Final = {"dangers": False, "waive": False}
WAIVER_KEYS: Final = {"model": True, "file": True, "rule": True, "sha256": False, "reason": True}

DRAFTED: Final = 3
"""Waivers that a refusal writes out; whoever waives more should look at the model again."""


@dataclass(frozen=True)
class Origin:
    """Where a file of the bundle comes from: its model, its path there, and what the lock pins."""

    model: str
    file: str
    sha256: str | None


@dataclass(frozen=True)
class Waiver:
    """One kind of finding in one file of one model, which somebody looked at and answers for.

    Attributes:
        model: its id in the lock.
        file: its path in the model's repository.
        rule: of the findings that are waived.
        sha256: of the bytes that somebody read; empty where any bytes are waived.
        reason: why; the signed manifest keeps it.
    """

    model: str
    file: str
    rule: str
    sha256: str
    reason: str

    def names(self, finding: Finding, origin: Origin) -> bool:
        """Whether it is for this rule in this file, whatever bytes the file has."""
        return (self.model, self.file, self.rule) == (origin.model, origin.file, finding.rule)

    def is_of(self, origin: Origin) -> bool:
        """Whether it is for the bytes that the file has."""
        return self.sha256 in {"", origin.sha256}


@dataclass(frozen=True)
class ScanPolicy:
    """What becomes of dangers: `refuse`, or `warn` with a record in the signed manifest."""

    dangers: str = REFUSE
    waive: tuple[Waiver, ...] = ()

    def waiver(self, finding: Finding, origin: Origin) -> Waiver | None:
        """The waiver of a finding in a file of this origin, if there is one."""
        named = (one for one in self.waive if one.names(finding, origin))
        return next((one for one in named if one.is_of(origin)), None)

    def outlived(self, finding: Finding, origin: Origin) -> Waiver | None:
        """A waiver of the finding for other bytes than the file has now."""
        named = (one for one in self.waive if one.names(finding, origin))
        return next((one for one in named if not one.is_of(origin)), None)


def drafted(findings: Iterable[Finding], origins: Mapping[str, Origin]) -> str:
    """Waivers as a profile has them; no profile takes them before a person fills in the reason."""
    waivers = dict.fromkeys(
        Waiver(origin.model, origin.file, one.rule, origin.sha256 or "", "")
        for one in findings
        if (origin := origins.get(one.file))
    )
    policy = {"scan": {"waive": [asdict(one) for one in waivers][:DRAFTED]}}
    return str(yaml.safe_dump(policy, sort_keys=False, width=1_000))


def read_policy(document: YamlDocument, node: yaml.Node) -> ScanPolicy:
    """The profile's key `scan`; defects go where `document` collects them."""
    values = document.mapping(node, KEYS, "'scan'")
    dangers, waive = values.get("dangers"), values.get("waive")
    return ScanPolicy(
        (document.choice(dangers, CHOICES, "'dangers'") if dangers else "") or REFUSE,
        tuple(_waiver(document, one) for one in document.items(waive, "'waive'")) if waive else (),
    )


def _waiver(document: YamlDocument, node: yaml.Node) -> Waiver:
    values = document.mapping(node, WAIVER_KEYS, "a waiver")
    forms = {"sha256": SHA256}
    texts = {
        key: document.text(values[key], f"'{key}' of a waiver", forms.get(key))
        if key in values
        else ""
        for key in WAIVER_KEYS
    }
    return Waiver(**texts)
