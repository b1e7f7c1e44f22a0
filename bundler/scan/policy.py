"""What a profile says about findings: refuse them, go on with a warning, or waive one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import yaml

from airgap.yaml_document import YamlDocument
from bundler.scan.findings import Finding

REFUSE: Final = "refuse"
WARN: Final = "warn"
CHOICES: Final = (REFUSE, WARN)

KEYS: Final = {"dangers": False, "waive": False}
WAIVER_KEYS: Final = {"model": True, "file": True, "rule": True, "reason": True}


@dataclass(frozen=True)
class Waiver:
    """One kind of finding in one file of one model, which somebody looked at and answers for.

    Attributes:
        model: its id in the lock.
        file: its path in the model's repository.
        rule: of the findings that are waived.
        reason: why; the signed manifest keeps it.
    """

    model: str
    file: str
    rule: str
    reason: str


@dataclass(frozen=True)
class ScanPolicy:
    """What becomes of dangers: `refuse`, or `warn` with a record in the signed manifest."""

    dangers: str = REFUSE
    waive: tuple[Waiver, ...] = ()

    def waiver(self, finding: Finding, files: dict[str, tuple[str, str]]) -> Waiver | None:
        """The waiver of a finding, if there is one.

        Args:
            finding: in a file of the bundle.
            files: model and path in its repository, by path in the bundle.
        """
        wanted = (*files.get(finding.file, ("", "")), finding.rule)
        return next((one for one in self.waive if (one.model, one.file, one.rule) == wanted), None)


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
    texts = {
        key: document.text(values[key], f"'{key}' of a waiver") if key in values else ""
        for key in WAIVER_KEYS
    }
    return Waiver(**texts)
