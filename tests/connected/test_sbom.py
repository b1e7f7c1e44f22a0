"""sbom.cdx.json: CycloneDX 1.6 to the standard's own library, whatever a bundle holds."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from airgap.manifest import ROLES, Artifact, File, Manifest
from bundler.sbom import sbom

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def of(role: str = "asr", **traits: Any) -> Manifest:
    artifact = replace(
        Artifact("m", role, "e", "hf/m", "Org/Name", COMMIT, "mit", gated=True), **traits
    )
    files = tuple(
        File(path, 5, "ab" * 32, None, 0, owner)
        for path, owner in (("hf/m/a", "m"), ("hf/m/é b", "m"), ("README.txt", None))
    )
    return Manifest(
        name="n",
        version="1.0.0",
        sequence=1,
        created="2026-01-02T03:04:05Z",
        expires=None,
        base=None,
        profile="n",
        profile_sha256="00" * 32,
        lock_sha256="11" * 32,
        built_with={},
        platform="any",
        features={},
        artifacts=(artifact,),
        files=files,
        derived=(),
        built=(),
        scan=None,
        dry_load=None,
    )


def valid(content: bytes) -> Any:
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(content.decode())
    assert error is None, error
    return json.loads(content)


@pytest.mark.parametrize("role", ROLES)
def test_every_role_is_valid(role: str) -> None:
    (component,) = valid(sbom(of(role)))["components"]
    is_model = role in {
        "asr",
        "vad",
        "segmentation",
        "speaker-embedding",
        "plda",
        "diarization",
        "emotion",
    }
    others = {"wheels": "library", "python": "platform", "image": "container"}
    assert component["type"] == (
        "machine-learning-model"
        if is_model
        else others.get(component["properties"][0]["value"], "data")
    )
    assert ("modelCard" in component) is is_model


def test_a_model_says_where_it_is_from_and_what_it_consists_of() -> None:
    document = valid(sbom(of()))
    (component,) = document["components"]
    assert component["purl"] == f"pkg:huggingface/Org/Name@{COMMIT}"
    assert component["licenses"] == [{"license": {"id": "MIT"}}]
    assert component["modelCard"]["modelParameters"]["task"] == "automatic-speech-recognition"
    assert [(one["name"], one["hashes"]) for one in component["components"]] == [
        (path, [{"alg": "SHA-256", "content": "ab" * 32}]) for path in ("hf/m/a", "hf/m/é b")
    ]
    assert document["metadata"]["timestamp"] == "2026-01-02T03:04:05Z"
    assert document["metadata"]["component"]["name"] == "n"


@pytest.mark.parametrize(
    "licence", ["unknown", "nvidia-open-model-license", "public domain", "<x>"]
)
def test_a_licence_that_spdx_does_not_know_stands_by_its_name(licence: str) -> None:
    (component,) = valid(sbom(of(licence=licence)))["components"]
    assert component["licenses"] == [{"license": {"name": licence}}]


def test_what_is_not_on_the_hub_has_no_package_url() -> None:
    (component,) = valid(sbom(of(repository=None, commit=None)))["components"]
    assert "purl" not in component
    assert "version" not in component


def test_the_same_manifest_gives_the_same_bytes_and_another_one_another_number() -> None:
    first, second = sbom(of()), sbom(of())
    assert first == second
    other = sbom(of(licence="apache-2.0"))
    assert json.loads(first)["serialNumber"] != json.loads(other)["serialNumber"]


def test_the_validator_refuses_another_shape() -> None:
    broken = json.loads(sbom(of()))
    broken["components"][0]["type"] = "model"
    with pytest.raises(AssertionError):
        valid(json.dumps(broken).encode())
