"""What deploy/ says, against the code that it starts and against itself."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from airgap import cli

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
FOLDERS = sorted(str(one.parent.relative_to(DEPLOY)) for one in DEPLOY.rglob("kustomization.yaml"))
FOLDERS.remove("kubernetes/base")  # no overlay, so it is not applied
OVERLAYS = [one for one in FOLDERS if "/overlays/" in one]
SERVER = {"app.kubernetes.io/name": "airgap", "app.kubernetes.io/component": "server"}
IMAGES = {"airgap:cpu", "airgap:gpu"}
BAKED = "/srv/airgap"
"""Where an image carries models of its own: AIRGAP_ROOT of the Dockerfiles."""

FOLDER = pytest.mark.parametrize("folder", FOLDERS)
Built = Callable[[str], list[Any]]


def pods_of(documents: list[Any]) -> Iterator[Any]:
    """The specs of all pods that documents ask for; a runtime of KServe is as good as one."""
    for one in documents:
        if one["kind"] in {"Deployment", "Job"}:
            yield one["spec"]["template"]["spec"]
        elif one["kind"] in {"Pod", "ServingRuntime"}:
            yield one["spec"]


def containers_of(documents: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Every container, with its pod's spec."""
    for pod in pods_of(documents):
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            yield pod, container


def the_server(documents: list[Any]) -> tuple[Any, Any]:
    """The container that serves, with its pod's spec."""
    (found,) = (one for one in containers_of(documents) if one[1].get("args", [""])[0] == "serve")
    return found


def parsed(arguments: list[str]) -> dict[str, Any]:
    """A command line as the real command reads it, without running it. Raises what it would."""
    cli._load_verbs()
    command: Any = typer.main.get_command(cli.app)
    rest = list(arguments)
    context = None
    while hasattr(command, "commands"):
        context = command.context_class(command, info_name=command.name, parent=context)
        command = command.get_command(context, rest.pop(0))
        assert command is not None, arguments
    made: dict[str, Any] = command.make_context(command.name, rest, parent=context).params
    return made


def compose() -> Any:
    return yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())


# --- command lines, variables, paths ------------------------------------------------------------


def test_every_command_line_is_one_of_the_real_command(built: Built) -> None:
    found = [
        one["args"]
        for folder in FOLDERS
        for _, one in containers_of(built(folder))
        if "args" in one
    ]
    found += [
        one["command"]
        for one in compose()["services"].values()
        if "entrypoint" not in one and "command" in one
    ]
    assert {arguments[0] for arguments in found} == {"serve", "mount", "gc", "trust"}
    for arguments in found:
        parsed(arguments)
    with pytest.raises(Exception, match="No such option: --prot"):
        parsed(["serve", "--prot=8000"])


def read_by_the_code(names: set[str]) -> set[str]:
    """Those names that stand in the code of an isolated host as a text of their own."""
    sides = ("airgap", "runtime")
    code = "".join(one.read_text() for side in sides for one in (ROOT / side).rglob("*.py"))
    return {name for name in names if f'"{name}"' in code}


def test_every_variable_is_read_by_the_code(built: Built) -> None:
    named = {
        variable["name"]
        for folder in FOLDERS
        for _, container in containers_of(built(folder))
        for variable in container.get("env", ())
        if f"$({variable['name']})" not in container["args"]
    }
    named |= {*compose()["services"]["cpu"]["environment"]}
    assert named == {"AIRGAP_ROOT", "AIRGAP_SPOOL", "API_KEYS"}
    assert read_by_the_code(named) == named


def test_every_variable_of_the_object_store_is_read_by_the_code() -> None:
    named = {*compose()["services"]["s3"]["environment"]}
    assert {"MODEL_BUCKET", "S3_ENDPOINT", "USE_S3_MODELS"} <= named
    assert read_by_the_code(named) == named


@FOLDER
def test_volumes_lie_where_the_code_looks_and_hide_no_baked_models(
    folder: str, built: Built
) -> None:
    for pod, container in containers_of(built(folder)):
        volumes = {one["name"] for one in pod["volumes"]}
        mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
        assert {*mounts} <= volumes
        for path in mounts.values():
            assert not path.startswith(BAKED)
            assert not BAKED.startswith(path)
        root = [one["value"] for one in container.get("env", ()) if one["name"] == "AIRGAP_ROOT"]
        assert root == ([mounts["root"]] if "root" in mounts else [])


@pytest.mark.parametrize("folder", [*OVERLAYS, "kserve"])
def test_a_server_reads_its_root_and_writes_to_tmp_alone(folder: str, built: Built) -> None:
    _, server = the_server(built(folder))
    writable = [one["mountPath"] for one in server["volumeMounts"] if not one.get("readOnly")]
    (spool,) = (one["value"] for one in server["env"] if one["name"] == "AIRGAP_SPOOL")
    assert writable == [str(Path(spool).parent)]


@pytest.mark.parametrize("folder", [*OVERLAYS, "kserve"])
def test_ports_and_probes_agree(folder: str, built: Built) -> None:
    documents = built(folder)
    pod, server = the_server(documents)
    options = parsed(server["args"])
    (port,) = server["ports"]
    assert port["containerPort"] == options["port"]
    assert ip_address(options["host"]).is_unspecified
    names = {port["name"], port["containerPort"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        # A probe that is a command would be another process of this user, which the guard refuses
        # where it can look into it.
        assert server[probe]["httpGet"]["port"] in names
    assert server["startupProbe"]["httpGet"] == server["readinessProbe"]["httpGet"]
    for one in (*documents, *built("kubernetes/site")):
        if one["kind"] == "Service":
            assert [each["targetPort"] for each in one["spec"]["ports"]] == [port["name"]]
    if folder != "kserve":
        stop = pod["terminationGracePeriodSeconds"]
        sleep = server["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert stop >= sleep + options["drain_seconds"] + 5


def test_every_server_is_started_alike(built: Built) -> None:
    """What differs is said in an overlay: with what it computes."""
    servers = [the_server(built(folder))[1]["args"] for folder in (*OVERLAYS, "kserve")]
    services = compose()["services"]
    servers += [services[name]["command"] for name in ("cpu", "gpu", "s3")]
    computing = ("--device=", "--workers=", "--threads=")
    alike = {tuple(one for one in each if not one.startswith(computing)) for each in servers}
    assert len(alike) == 1
    assert {each[-1] for each in servers} >= {"--device=cuda", "--threads=2"}


def test_a_server_without_a_gpu_computes_with_the_cores_that_it_asks_for(built: Built) -> None:
    _, server = the_server(built("kubernetes/overlays/cpu"))
    options = parsed(server["args"])
    cores = int(server["resources"]["requests"]["cpu"])
    assert options["workers"] * options["threads"] == cores


# --- confinement ----------------------------------------------------------------------------------


@FOLDER
def test_every_container_has_no_rights(folder: str, built: Built) -> None:
    for pod, container in containers_of(built(folder)):
        context = {**pod.get("securityContext", {}), **container["securityContext"]}
        assert context["runAsNonRoot"] is True
        assert (context["runAsUser"], context["runAsGroup"]) == (10001, 10001)
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["image"] in IMAGES
        if folder != "kserve":  # there the InferenceService says it
            assert pod["automountServiceAccountToken"] is False
            assert pod["enableServiceLinks"] is False
            assert {*container["resources"]["limits"]} >= {"memory"}
            # Else files of the store become writable for the group, each time a pod starts.
            assert context["fsGroupChangePolicy"] == "OnRootMismatch"


def test_nobody_is_reached_and_servers_are_asked_by_those_who_are_labelled(built: Built) -> None:
    policies = [
        one["spec"] for folder in FOLDERS for one in built(folder) if one["kind"] == "NetworkPolicy"
    ]
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in policies
    for policy in policies:
        assert "egress" not in policy
        for rule in policy.get("ingress", ()):
            (caller,) = rule["from"]
            assert caller == {"namespaceSelector": {"matchLabels": {"airgap-caller": "true"}}}
            assert [one["port"] for one in rule["ports"]] in (["http"], [8000])


@FOLDER
def test_selectors_choose_the_server_and_no_job(folder: str, built: Built) -> None:
    for one in built(folder):
        if one["kind"] == "Deployment":
            assert one["spec"]["selector"]["matchLabels"] == SERVER
            assert one["spec"]["template"]["metadata"]["labels"] == SERVER
        elif one["kind"] == "Job":
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert labels["app.kubernetes.io/component"] != "server"
        elif one["kind"] == "Service":
            assert one["spec"]["selector"] == SERVER
        elif one["kind"] == "PodDisruptionBudget":
            assert one["spec"]["selector"]["matchLabels"] == SERVER


def test_every_service_of_compose_is_confined() -> None:
    services = compose()["services"]
    assert {*services} == {"airgap", "cpu", "gpu", "s3", "objects"}
    for service in services.values():
        assert service["user"] == "10001:10001"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["profiles"], "nothing starts that nobody asked for"
        for volume in service["volumes"]:
            # Else Docker makes a missing one, owned by root.
            assert volume["bind"] == {"create_host_path": False}
            assert not volume["target"].startswith(BAKED)
    for name in ("cpu", "gpu", "s3"):
        assert services[name]["ports"] == ["${LISTEN:-127.0.0.1:8000}:8000"]
        assert {volume["target"] for volume in services[name]["volumes"]} == {
            services[name]["environment"]["AIRGAP_ROOT"],
            "/etc/airgap/trust",
        }
    assert services["airgap"]["network_mode"] == "none"


def test_no_secret_stands_in_a_file() -> None:
    given = re.compile(r"(?i)minioadmin|(password|passphrase|api_keys|access_key(_id)?)=[\w-]")
    for file in DEPLOY.rglob("*.y*ml"):
        assert given.search(file.read_text()) is None, file


# --- what somebody makes by hand ------------------------------------------------------------------


def test_what_is_referred_to_is_made_here_or_on_the_page(built: Built) -> None:
    everything = [one for folder in FOLDERS for one in built(folder)]
    made = {(one["kind"], one["metadata"]["name"]) for one in everything}
    page = (ROOT / "docs/deploying.md").read_text()
    for line in re.findall(r"^\$? *kubectl .*create (\w+ .*)$", page, re.MULTILINE):
        kind, *rest = shlex.split(line.replace("\\", ""))
        made.add(({"configmap": "ConfigMap", "secret": "Secret"}[kind], rest[kind == "secret"]))
    asked = set()
    for pod, container in containers_of(everything):
        for volume in pod["volumes"]:
            if "persistentVolumeClaim" in volume:
                asked.add(("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]))
            elif "configMap" in volume:
                asked.add(("ConfigMap", volume["configMap"]["name"]))
        for variable in container.get("env", ()):
            source = variable.get("valueFrom", {})
            if "secretKeyRef" in source:
                asked.add(("Secret", source["secretKeyRef"]["name"]))
            elif "configMapKeyRef" in source:
                asked.add(("ConfigMap", source["configMapKeyRef"]["name"]))
    assert asked - made == set()


def test_the_page_names_every_folder_that_is_applied(built: Built) -> None:
    page = (ROOT / "docs/deploying.md").read_text()
    assert [one for one in FOLDERS if f"deploy/{one}" not in page] == []
    for folder in re.findall(r"deploy/((?:kubernetes|kserve)[\w/-]*)", page):
        assert built(folder.rstrip("/")) or folder == "kubernetes"
