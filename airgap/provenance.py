"""Where a transcript comes from: bundle, models, libraries and options, in one object.

It stands in the server's JSON answers and headers, in the record of a run, and in an attestation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from airgap import jcs
from airgap.digest import grouped, is_sha256
from airgap.manifest import ROLES, Artifact
from airgap.strict_json import Fields, is_name

Option = str | int | bool
"""What an option can be. Never a text that somebody wrote: of that, its SHA-256."""

_MODELS: Final = 32
"""Models that one answer can come from: a transcriber, a back end's, and emotion models."""


@dataclass(frozen=True)
class UsedModel:
    """A model that took part.

    Attributes:
        id, role: in the bundle.
        repository, commit: where it is published, and which state of it; None where it is not.
    """

    id: str
    role: str
    repository: str | None
    commit: str | None

    @classmethod
    def of(cls, artifact: Artifact) -> UsedModel:
        """That of a manifest."""
        return cls(artifact.id, artifact.role, artifact.repository, artifact.commit)

    def to_json(self) -> dict[str, str | None]:
        """The object."""
        return {
            "id": self.id,
            "role": self.role,
            "repository": self.repository,
            "commit": self.commit,
        }

    @classmethod
    def read(cls, fields: Fields) -> UsedModel:
        """Take the object apart; defects go where `fields` collects them."""
        model = cls(
            fields.text("id", is_name, "a name"),
            fields.text("role", ROLES.__contains__, " or ".join(ROLES)),
            fields.optional_text("repository"),
            fields.optional_text("commit"),
        )
        fields.close()
        return model


@dataclass(frozen=True)
class Work:
    """Models and what they are asked: of the same work the same text need not be made again.

    Neither a newer bundle with these models nor another machine is a reason to.

    Attributes:
        models: those that take part.
        options: what is asked for.
        statement: of the bundle, where a model has no commit: its name may stand for other bytes
            in the next one. None where each has.
    """

    models: tuple[UsedModel, ...]
    options: Mapping[str, Option]
    statement: str | None

    @classmethod
    def of(
        cls, statement: str, models: tuple[UsedModel, ...], options: Mapping[str, Option]
    ) -> Work:
        """The work of a bundle with this statement."""
        published = all(model.commit for model in models)
        return cls(models, dict(options), None if published else statement)


@dataclass(frozen=True)
class Provenance:
    """Everything that decides what a recording becomes.

    `Provenance.read(Fields(one.to_json(), …)) == one`, where nothing is a defect.

    Attributes:
        name, version: of the bundle.
        statement: SHA-256 of its statement, hex; in groups, the approval code.
        models: those that took part; the first is the transcriber.
        engine: versions of this program and of the libraries that computed, by their names, and
            `device` and `compute_type`: on what.
        options: what was asked for.
    """

    name: str
    version: str
    statement: str
    models: tuple[UsedModel, ...]
    engine: Mapping[str, str]
    options: Mapping[str, Option]

    @property
    def title(self) -> str:
        """`NAME-VERSION` of the bundle."""
        return f"{self.name}-{self.version}"

    @property
    def approval_code(self) -> str:
        """As on the officer's paper."""
        return grouped(self.statement)

    @property
    def id(self) -> str:
        """SHA-256 of all of it, hex."""
        return jcs.digest(self.to_json())

    @property
    def work(self) -> Work:
        """What was done."""
        return Work.of(self.statement, self.models, self.options)

    def to_json(self) -> dict[str, Any]:
        """The object."""
        return {
            "bundle": {
                "name": self.name,
                "version": self.version,
                "statement": self.statement,
            },
            "models": [model.to_json() for model in self.models],
            "engine": dict(self.engine),
            "options": dict(self.options),
        }

    def beside(self, audio: str) -> dict[str, Any]:
        """The member `airgap` of a transcript in JSON.

        Args:
            audio: SHA-256 of the recording, hex.
        """
        return {**self.to_json(), "audio": {"sha256": audio}}

    def headers(self, audio: str) -> dict[str, str]:
        """The same in headers of HTTP.

        Args:
            audio: SHA-256 of the recording, hex.
        """
        return {
            "X-Airgap-Bundle": self.title,
            "X-Airgap-Statement": self.statement,
            "X-Airgap-Model": ", ".join(f"{one.id}@{one.commit or '-'}" for one in self.models),
            "X-Airgap-Engine": ", ".join(f"{name}/{one}" for name, one in self.engine.items()),
            "X-Airgap-Options": json.dumps(dict(self.options), separators=(",", ":")),
            "X-Airgap-Audio": f"sha256={audio}",
        }

    @classmethod
    def read(cls, fields: Fields) -> Provenance:
        """Take the object apart; defects go where `fields` collects them."""
        bundle, engine, options = (fields.inner(key) for key in ("bundle", "engine", "options"))
        found = cls(
            bundle.text("name", is_name, "a name"),
            bundle.text("version", is_name, "a version"),
            bundle.text("statement", is_sha256, "64 hex digits"),
            tuple(UsedModel.read(one) for one in fields.objects("models", _MODELS)),
            MappingProxyType({name: engine.text(name) for name in engine.keys()}),  # noqa: SIM118 - not a dict
            MappingProxyType({name: _option(options, name) for name in options.keys()}),  # noqa: SIM118 - not a dict
        )
        bundle.close()
        fields.close()
        return found


def _option(options: Fields, name: str) -> Option:
    value = options.raw(name)
    if isinstance(value, str | int):  # a bool is one
        return value
    options.reject(name, "a text, an integer, true or false", value)
    return ""
