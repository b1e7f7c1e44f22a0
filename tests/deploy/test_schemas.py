"""What deploy/ says, against the schemas that clusters, Docker and a CI hold it to."""

from __future__ import annotations

import ast
import copy
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from importlib import resources, util
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for
from referencing import Registry, Resource
from ruamel.yaml import YAML

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
FOLDERS = sorted(str(one.parent.relative_to(DEPLOY)) for one in DEPLOY.rglob("kustomization.yaml"))
OLDEST = "1.30"
"""The first Kubernetes whose pods may sleep before they stop."""
NEWEST = kubernetes_validate.latest_version().removesuffix(".0")
PLAIN = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


class Schemas:
    """Kubernetes' of one version, as the package kubernetes-validate carries them, and KServe's.

    KServe's are those that the models of its own package are generated with. The package wants the
    libraries of a server, so they are read, not imported.
    """

    def __init__(self, version: str) -> None:
        package = Path(kubernetes_validate.__file__).parent
        self._folder = package / f"kubernetes-json-schema/v{version}.0-local-strict"
        self._shared = json.loads((self._folder / "_definitions.json").read_text())
        self._registry = Resource.from_contents(self._shared) @ Registry()
        self._of_kserve: dict[str, Any] = {}

    def defects(self, document: Any) -> list[str]:
        """What is wrong with a document."""
        validator = self._validator(document["apiVersion"], document["kind"])
        return [f"{one.json_path}: {one.message}" for one in validator.iter_errors(document)]

    @cache  # noqa: B019 - as many as there are kinds, and as long as the tests
    def _validator(self, version: str, kind: str) -> Any:
        if version.startswith("serving.kserve.io/"):
            name = version.rpartition("/")[2].capitalize() + kind
            schema = {**self._type(name), "$defs": self._of_kserve}
        else:
            group = re.sub(r"^([^./]*)(\.[^/]*)?/", r"\1-", version)
            schema = json.loads((self._folder / f"{kind.lower()}-{group}.json").read_text())
        return Draft202012Validator(schema, registry=self._registry)

    def _type(self, kind: str) -> Any:
        """The schema of a type that KServe's models name."""
        if kind in PLAIN:
            return {"type": PLAIN[kind]}
        if inner := re.fullmatch(r"list\[(.+)\]", kind):
            return {"type": "array", "items": self._type(inner[1])}
        if inner := re.fullmatch(r"dict\(str, (.+)\)", kind):
            return {"type": "object", "additionalProperties": self._type(inner[1])}
        spec = util.find_spec("kserve")
        assert spec is not None, "requirements/kserve.txt is not installed"
        (package,) = spec.submodule_search_locations or ()
        file = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind).lower() + ".py"
        module = Path(package) / "models" / file
        if not module.exists():
            end = kind.lower().removeprefix("k8sio")
            names = [one for one in self._shared["$defs"] if _plain(one).endswith(end)]
            # Some the package names and leaves out; a misspelt field shows if we use one.
            return {"$ref": f"{self._shared['$id']}#/$defs/{names[0]}"} if len(names) == 1 else {}
        if kind not in self._of_kserve:
            self._of_kserve[kind] = {}
            self._of_kserve[kind].update(self._model(module.read_text()))
        return {"$ref": f"#/$defs/{kind}"}

    def _model(self, module: str) -> Any:
        """A generated class as a schema: its tables of types and names, what may not be None."""
        tables = {
            target.id: ast.literal_eval(node.value)
            for node in ast.walk(ast.parse(module))
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name) and target.id in {"openapi_types", "attribute_map"}
        }
        names, types = tables["attribute_map"], tables["openapi_types"]
        needed = re.findall(r"Invalid value for `(\w+)`, must not be `None`", module)
        return {
            "type": "object",
            "additionalProperties": False,
            "properties": {names[one]: self._type(kind) for one, kind in types.items()},
            "required": sorted({names[one] for one in needed}),
        }


def _plain(name: str) -> str:
    return name.replace(".", "").lower()


@pytest.fixture(scope="module")
def schemas() -> Callable[[str], Schemas]:
    return cache(Schemas)


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_document_is_what_the_schema_says(
    folder: str, version: str, built: Callable[[str], list[Any]], schemas: Any
) -> None:
    for document in built(folder):
        assert schemas(version).defects(document) == [], document


def fields_of(value: Any) -> Iterator[dict[str, Any]]:
    """Every object below a value whose names are fields; those of labels and the like are ours."""
    ours = {"labels", "annotations", "matchLabels", "data", "requests", "limits"}
    if isinstance(value, dict):
        yield value
        for name, one in value.items():
            if name not in ours and not (name == "selector" and "app.kubernetes.io/name" in one):
                yield from fields_of(one)
    elif isinstance(value, list):
        for one in value:
            yield from fields_of(one)


def test_a_field_that_does_not_exist_breaks_the_build(
    built: Callable[[str], list[Any]], schemas: Any
) -> None:
    """In a document of each kind, in each of its objects."""
    by_kind = {one["kind"]: one for folder in FOLDERS for one in built(folder)}
    assert {"Deployment", "InferenceService", "Job", "NetworkPolicy", "ServingRuntime"} <= {
        *by_kind
    }
    for kind, document in by_kind.items():
        for number, found in enumerate(fields_of(document)):
            wrong = copy.deepcopy(document)
            list(fields_of(wrong))[number]["mountpath"] = "x"
            assert schemas(NEWEST).defects(wrong), f"{kind}: nobody checks {found}"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("kubernetes/overlays/cpu Deployment spec.replicas", "one"),
        ("kubernetes/mount Job spec.template.spec.initContainers.0.args", "mount"),
        ("kserve InferenceService spec.predictor.minReplicas", "one"),
        ("kserve ServingRuntime spec.containers.0.ports.0.containerPort", "http"),
    ],
)
def test_a_value_of_another_type_breaks_the_build(
    place: str, value: str, built: Callable[[str], list[Any]], schemas: Any
) -> None:
    folder, kind, path = place.split()
    (document,) = (one for one in copy.deepcopy(built(folder)) if one["kind"] == kind)
    *way, last = path.split(".")
    target = document
    for step in way:
        target = target[int(step)] if step.isdigit() else target[step]
    assert last in target
    target[last] = value
    assert schemas(NEWEST).defects(document)


def test_kustomize_refuses_a_misspelt_overlay(
    script: Callable[[str], Path], tmp_path: Path
) -> None:
    """Its own files are in no schema: the program that reads them judges."""
    (tmp_path / "kustomization.yaml").write_text("resourses: [x.yaml]\n")
    done = subprocess.run(
        [script("kubectl"), "kustomize", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert 'unknown field "resourses"' in done.stderr


# --- Docker Compose and GitHub Actions, by what check-jsonschema carries --------------------------

FILES = {"compose/compose.yaml": "compose-spec", "ci/github-actions.yml": "github-workflows"}


def defects_of_file(text: str, schema: str) -> list[str]:
    """What is wrong with a file. Read as YAML 1.2, in which `on` is a word."""
    vendored = resources.files("check_jsonschema.builtin_schemas") / f"vendor/{schema}.json"
    schema_of_file = json.loads(vendored.read_text())
    validator = validator_for(schema_of_file)(schema_of_file)
    document = YAML(typ="safe", pure=True).load(text)
    return [f"{one.json_path}: {one.message}" for one in validator.iter_errors(document)]


@pytest.mark.parametrize("file", FILES)
def test_a_file_is_what_its_schema_says(file: str) -> None:
    assert defects_of_file((DEPLOY / file).read_text(), FILES[file]) == []


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("compose/compose.yaml", "read_only: true\n  cap_drop", "readonly: true\n  cap_drop"),
        ("compose/compose.yaml", "stop_grace_period", "stop_graceperiod"),
        ("ci/github-actions.yml", "timeout-minutes", "timeout-minuets"),
        ("ci/github-actions.yml", "run: airgap fetch", "runs: airgap fetch"),
    ],
)
def test_a_wrong_field_of_a_file_breaks_the_build(file: str, old: str, new: str) -> None:
    text = (DEPLOY / file).read_text()
    assert old in text
    assert defects_of_file(text.replace(old, new, 1), FILES[file])
