"""Manifest -> `sbom.cdx.json`: a CycloneDX 1.6 bill of materials for models (ML-BOM).

The same manifest gives the same bytes: the serial number comes from the content, the
timestamp is the manifest's. Source: https://cyclonedx.org/docs/1.6/json/.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any, Final
from urllib.parse import quote

from airgap import __version__, strict_json
from airgap.manifest import Artifact, Manifest
from bundler.licences import spdx_id
from bundler.wheelhouse.names import release_of
from bundler.wheelhouse.programs import BUILT_RULE

_NAMESPACE: Final = uuid.UUID("6f1c2c0e-6d6e-5c47-9a3b-5d3a4c1f7e21")
"""Of our serial numbers (RFC 9562, version 5): any constant of one's own."""

_TASKS: Final = {
    "asr": "automatic-speech-recognition",
    "vad": "voice-activity-detection",
    "segmentation": "speaker-segmentation",
    "speaker-embedding": "speaker-embedding",
    "plda": "speaker-verification",
    "diarization": "speaker-diarization",
    "emotion": "audio-classification",
}
"""What a model of each role does, in the words of the hub where it has one."""

_TYPES: Final = {"wheels": "library", "python": "platform"}


def sbom(manifest: Manifest) -> bytes:
    """`sbom.cdx.json` of a bundle: its artifacts with their files; its papers may be missing."""
    title = f"{manifest.name}-{manifest.version}"
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": manifest.created,
            "tools": {
                "components": [
                    {
                        "type": "application",
                        "name": "airgap-bundler",
                        "version": __version__,
                    }
                ]
            },
            "component": {
                "type": "data",
                "bom-ref": title,
                "name": manifest.name,
                "version": manifest.version,
            },
        },
        "components": [_component(one, manifest) for one in manifest.artifacts],
        "dependencies": [
            {"ref": title, "dependsOn": [_ref(one) for one in manifest.artifacts]},
            *({"ref": _ref(one)} for one in manifest.artifacts),
        ],
    }
    digest = hashlib.sha256(strict_json.compact(document)).hexdigest()
    serial = f"urn:uuid:{uuid.uuid5(_NAMESPACE, digest)}"
    return strict_json.readable({"serialNumber": serial, **document})


def _component(artifact: Artifact, manifest: Manifest) -> dict[str, Any]:
    task = _TASKS.get(artifact.role)
    component: dict[str, Any] = {
        "type": "machine-learning-model" if task else _TYPES.get(artifact.role, "data"),
        "bom-ref": _ref(artifact),
        "name": artifact.id,
        "licenses": [{"license": _licence(artifact.licence)}],
        "properties": [
            {"name": "airgap:role", "value": artifact.role},
            {"name": "airgap:gated", "value": "true" if artifact.gated else "false"},
        ],
        "components": [
            {
                "type": "file",
                "bom-ref": f"file:{file.path}",
                "name": file.path,
                "hashes": [{"alg": "SHA-256", "content": file.sha256}],
            }
            for file in manifest.files_of(artifact)
        ],
    }
    if artifact.repository and artifact.commit:
        component["purl"] = _purl(artifact.repository, artifact.commit)
        component["version"] = artifact.commit
    if release := release_of(artifact, manifest.files_of(artifact)):
        component["name"], component["version"] = release.name, release.version
        component["purl"] = f"pkg:pypi/{release.name}@{quote(release.version, safe='')}"
    if pedigree := _pedigree(artifact, manifest):
        component["pedigree"] = pedigree
    if task:
        component["modelCard"] = {"modelParameters": {"task": task}}
    return component


def _pedigree(artifact: Artifact, manifest: Manifest) -> dict[str, Any] | None:
    """From which source a wheel was built, and by what; None where it was published as it is."""
    paths = {file.path for file in manifest.files_of(artifact)}
    for derived in manifest.derived:
        if derived.rule == BUILT_RULE and derived.path in paths:
            source, *tools = derived.sources
            ancestor = {"type": "library", "name": artifact.id, "purl": source}
            return {"ancestors": [ancestor], "notes": f"Built here, with {', '.join(tools)}"}
    return None


def _ref(artifact: Artifact) -> str:
    return f"artifact:{artifact.id}"


def _purl(repository: str, commit: str) -> str:
    """The package URL of a hub's model: https://github.com/package-url/purl-spec."""
    return f"pkg:huggingface/{quote(repository, safe='/')}@{quote(commit.lower(), safe='')}"


def _licence(licence: str) -> dict[str, str]:
    known = spdx_id(licence)
    return {"id": known} if known else {"name": licence}
