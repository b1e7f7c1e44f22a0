"""`model_inventory.json`: what is mounted, for people and for programs that look there.

It is made from the manifest that was signed when the bundle is mounted. `models` lists what is
there; the flags say what the bundle can do.
"""

from __future__ import annotations

from airgap import strict_json
from airgap.manifest import Manifest

SCHEMA = "airgap/model-inventory/v1"


def of(manifest: Manifest, approval_code: str) -> bytes:
    """The file's content, for a manifest whose files have all been linked."""
    return strict_json.readable(
        {
            "schema": SCHEMA,
            "bundle": manifest.name,
            "version": manifest.version,
            "approval_code": approval_code,
            **dict(sorted(manifest.features.items())),
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
