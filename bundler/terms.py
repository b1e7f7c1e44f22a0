"""The terms of a gated model, as its publisher had them when it was locked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

import yaml

from airgap.console import console
from airgap.yaml_document import Form, YamlDocument

APPROVALS: Final = ("auto", "manual")
"""How the hub gives access: to all who accept, or to those whom the publisher picks."""

_KEYS: Final = {"page": True, "approval": True, "sha256": False}
_PAGE: Final = Form(re.compile(r"https?://[^\s/@?#]+(?:/[\w.-]+)+"), "an address")
_SHA256: Final = Form(re.compile(r"[0-9a-f]{64}"), "64 hex digits")
_TEXTS: Final = ("extra_gated_heading", "extra_gated_description", "extra_gated_prompt")


@dataclass(frozen=True)
class Terms:
    """What somebody accepted, so that the files could be had.

    Attributes:
        page: where they are read and accepted.
        approval: one of `APPROVALS`.
        sha256: of their text (UTF-8, the parts that there are joined by blank lines); None where
            the model card has none, so that the page's own words hold.
    """

    page: str
    approval: str
    sha256: str | None

    @classmethod
    def of(cls, page: str, gated: str | bool, card: dict[str, Any]) -> Terms | None:
        """Those of a model as the hub describes it; None where it is open to all.

        Args:
            page: of the model.
            gated: the hub's `gated`: `auto`, `manual` or false.
            card: the metadata of the model card.
        """
        if not gated:
            return None
        texts = [card[key] for key in _TEXTS if isinstance(card.get(key), str)]
        sha256 = hashlib.sha256("\n\n".join(texts).encode()).hexdigest() if texts else None
        return cls(page, str(gated) if gated in APPROVALS else "manual", sha256)

    @classmethod
    def read(cls, document: YamlDocument, node: yaml.Node) -> Terms:
        """A lock's entry; defects go where `document` collects them."""
        values = document.mapping(node, _KEYS, "'terms'")
        page, approval, sha256 = (values.get(key) for key in _KEYS)
        return cls(
            document.text(page, "'page'", _PAGE) if page else "",
            document.choice(approval, APPROVALS, "'approval'") if approval else "",
            document.text(sha256, "'sha256'", _SHA256) if sha256 else None,
        )

    def as_lock(self) -> dict[str, str]:
        """The entry of a lock that `read` reads."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def __str__(self) -> str:
        text = f"sha256 {self.sha256[:16]}" if self.sha256 else "no text in the model card"
        return f"{self.page} ({self.approval}, {text})"


def announce(models: Iterable[tuple[str, Terms | None]]) -> None:
    """Say which models of a build have terms, and where they stand."""
    for model, terms in models:
        if terms:
            console.say(f"Terms hold for {model}, also behind the gap: {terms}")
