"""`model_inventory.json`: what is mounted, for people and for programs that look there.

It is made from the manifest that was signed when the bundle is mounted. `models` lists the models,
`others` what else is there; the flags say what the bundle can do. `diarization_enabled` is
measured: it is true where every model that a back end needs is there, whatever the manifest
promises.
"""

from __future__ import annotations

from typing import Final

from airgap import strict_json
from airgap.manifest import Artifact, Manifest
from runtime.engine.speakers import choosing

SCHEMA = "airgap/model-inventory/v1"

_OTHERS: Final = frozenset({"sample", "wheels", "python", "image"})
"""Roles of what is no model: a recording, and programs."""


def is_model(one: Artifact) -> bool:
    """Whether an artifact is a model."""
    return one.role not in _OTHERS


def of(manifest: Manifest, approval_code: str) -> bytes:
    """The file's content, for a manifest whose files have all been linked."""
    features = {**manifest.features, choosing.PROMISE: bool(choosing.carried(manifest.artifacts))}
    return strict_json.readable(
        {
            "schema": SCHEMA,
            "bundle": manifest.name,
            "version": manifest.version,
            "approval_code": approval_code,
            **dict(sorted(features.items())),
            "models": [_entry(manifest, one) for one in manifest.artifacts if is_model(one)],
            "others": [_entry(manifest, one) for one in manifest.artifacts if not is_model(one)],
        }
    )


def _entry(manifest: Manifest, one: Artifact) -> dict[str, object]:
    return {
        "id": one.id,
        "role": one.role,
        "engine": one.engine,
        "repository": one.repository,
        "commit": one.commit,
        "licence": one.licence,
        "path": one.path,
        "size_bytes": sum(file.size for file in manifest.files_of(one)),
    }
