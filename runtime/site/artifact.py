"""The manifest of an OCI artifact that carries a bundle: bytes <-> Artifact.

Each file is a layer with its name as title; the config is the empty one that the image-spec 1.1
gives artifacts. Any registry and any OCI tool holds and copies it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from airgap import strict_json
from airgap.errors import AirgapError
from airgap.limits import MIB
from airgap.statement import Statement
from airgap.strict_json import Fields
from runtime.site.address import is_digest
from runtime.site.holding import FILES, Item, Offered

KIND: Final = "application/vnd.airgap.bundle.v1"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
LAYER: Final = "application/octet-stream"

EMPTY: Final = b"{}"
EMPTY_TYPE: Final = "application/vnd.oci.empty.v1+json"

SIZE: Final = 4 * MIB
"""Bytes of a manifest; registries take no larger ones either."""

_TITLE: Final = "org.opencontainers.image.title"
_VERSION: Final = "org.opencontainers.image.version"
_CREATED: Final = "org.opencontainers.image.created"


def digest(content: bytes) -> str:
    """As a registry names content: `sha256:…`."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def to_bytes(statement: Statement, files: Sequence[Offered]) -> bytes:
    """The manifest for a bundle and its papers: the same files give the same bytes."""
    return strict_json.readable(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": KIND,
            "config": {"mediaType": EMPTY_TYPE, "digest": digest(EMPTY), "size": len(EMPTY)},
            "layers": [_layer(file) for file in sorted(files, key=lambda file: file.name)],
            "annotations": {
                _TITLE: statement.title,
                _VERSION: statement.version,
                _CREATED: statement.created,
            },
        }
    )


def _layer(file: Offered) -> Mapping[str, Any]:
    return {
        "mediaType": LAYER,
        "digest": f"sha256:{file.sha256}",
        "size": file.size,
        "annotations": {_TITLE: file.name},
    }


@dataclass(frozen=True)
class Artifact:
    """The files that a manifest names."""

    items: Sequence[Item]

    @classmethod
    def parse(cls, content: bytes, where: str) -> Artifact:
        """Read a manifest; what it says beside its layers is not asked.

        Raises:
            AirgapError: it is no artifact that carries a bundle.
        """
        defects: list[str] = []
        try:
            top = Fields(strict_json.parse(content), "", defects)
        except strict_json.JsonError as error:
            raise _no_bundle(where, str(error)) from error
        top.text("artifactType", KIND.__eq__, f"'{KIND}'")
        items = [_item(layer) for layer in top.objects("layers", FILES)]
        if defects:
            raise _no_bundle(where, "; ".join(sorted(defects)))
        return cls(items)


def _item(layer: Fields) -> Item:
    place = layer.text("digest", is_digest, "a digest by SHA-256")
    size = layer.integer("size")
    return Item(layer.inner("annotations").text(_TITLE), size, place[7:], place)


def _no_bundle(where: str, why: str) -> AirgapError:
    return AirgapError(
        f"'{where}' is no artifact that carries a bundle: {why}",
        hint="check the tag; `airgap push` makes such artifacts",
    )
