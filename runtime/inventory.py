"""`model_inventory.json`: what is mounted, for people and for programs that look there.

It is made from the manifest that was signed when the bundle is mounted. `models` lists what is
there; the flags say what the bundle can do. `diarization_enabled` is measured: it is true where
every model that a back end needs is there, whatever the manifest promises.
"""

from __future__ import annotations

from airgap import strict_json
from airgap.manifest import Manifest
from runtime.engine.speakers import choosing

SCHEMA = "airgap/model-inventory/v1"


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
            "models": [
                {
                    "id": one.id,
                    "role": one.role,
                    "engine": one.engine,
                    "repository": one.repository,
                    "commit": one.commit,
                    "licence": one.licence,
                    "path": one.path,
                    "size_bytes": sum(file.size for file in manifest.files_of(one)),
                }
                for one in manifest.artifacts
            ],
        }
    )
