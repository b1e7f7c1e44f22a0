"""The manifests' pods at work: containers of a real runtime, on a real bundle, until ready."""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).parent.parent.parent
KEY = "a-key-that-is-long-enough"


@pytest.fixture
def objects(
    demo_site: Any,
    fresh_place: Callable[[], Any],
    script: Callable[[str], Path],
    claim: Callable[[str], Path],
) -> Mapping[str, Mapping[str, Any]]:
    """What a site makes by hand, by the commands of docs/deploying.md; a bundle on its volume."""
    maker = fresh_place()
    public = sorted(demo_site.place.keys.glob("alice.*.pub"))
    signer = ("--signer", "alice", "--fingerprint", demo_site.fingerprint)
    for command in (("trust", "init"), ("trust", "add", *public, *signer)):
        done = maker.airgap(*command, AIRGAP_TRUST=str(maker.folder / "trust"))
        assert done.code == 0, done.err
    (maker.folder / "keys.txt").write_text(f"{KEY},another-key-that-is-long\n")
    bundles = claim("bundles")
    (bundles / demo_site.bundle.name).hardlink_to(demo_site.bundle)
    made: dict[str, dict[str, Any]] = {"ConfigMap": {}, "Secret": {}}
    page = (ROOT / "docs/deploying.md").read_text()
    for line in re.findall(r"^kubectl (-n airgap create .+)$", page, re.MULTILINE):
        command = [script("kubectl"), *shlex.split(line), "--dry-run=client", "--output=json"]
        printed = subprocess.run(command, cwd=maker.folder, capture_output=True, check=True).stdout
        one = json.loads(printed)
        made[one["kind"]][one["metadata"]["name"]] = one["data"]
    return {
        "claims": {"airgap-bundles": bundles, "airgap-root": claim("root")},
        "config": {
            name: {file: text.encode() for file, text in files.items()}
            for name, files in made["ConfigMap"].items()
        },
        "secrets": {
            name: {key: base64.b64decode(text).decode() for key, text in keys.items()}
            for name, keys in made["Secret"].items()
        },
    }


def with_settings(objects: Any, documents: list[Any]) -> Any:
    """The objects, and the ConfigMaps that kustomize made."""
    made = {
        one["metadata"]["name"]: {name: text.encode() for name, text in one["data"].items()}
        for one in documents
        if one["kind"] == "ConfigMap"
    }
    return {**objects, "config": {**objects["config"], **made}}


def template(documents: list[Any], kind: str) -> Any:
    """The `spec` of the pods that the one document of a kind asks for."""
    (found,) = (one for one in documents if one["kind"] == kind)
    return found["spec"]["template"]["spec"]


@contextmanager
def serving(pod: Any, container: Any) -> Iterator[Path]:
    """A container that serves, from when its readiness probe succeeds; its log."""
    log = pod.folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(pod.command(container), stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 120
        while pod.curl(container["readinessProbe"]["httpGet"]["path"]) != "200":
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield log
    finally:
        process.terminate()
        code = process.wait(60)
    assert code == 0, log.read_text()


def run_to_their_end(pod: Any, containers: Any) -> None:
    """Run containers one after the other, as a kubelet does with those of `initContainers`."""
    for container in containers:
        done = pod.run(container)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def mounted(
    built: Callable[[str], list[Any]], pod: Callable[..., Any], objects: Any
) -> Mapping[str, Any]:
    """The objects, after the jobs `start` and `mount` have run."""
    for folder in ("start", "mount"):
        documents = built(f"kubernetes/{folder}")
        spec = template(documents, "Job")
        job = pod(spec, **with_settings(objects, documents))
        run_to_their_end(job, (*spec.get("initContainers", ()), *spec["containers"]))
    return objects


def test_a_root_that_no_server_writes_is_served(
    built: Callable[[str], list[Any]], pod: Callable[..., Any], mounted: Any
) -> None:
    root = mounted["claims"]["airgap-root"]
    before = sorted((one, one.lstat().st_mtime_ns) for one in root.rglob("*"))
    spec = template(built("kubernetes/overlays/cpu"), "Deployment")
    server = pod(spec, **mounted)
    doctor = {**spec["containers"][0], "name": "doctor", "args": ["doctor", "--device=cpu"]}
    found = server.run(doctor)
    assert found.returncode == 0, found.stdout
    with serving(server, spec["containers"][0]) as log:
        assert server.curl(spec["containers"][0]["livenessProbe"]["httpGet"]["path"]) == "200"
        assert server.curl("/v1/models") == "401"
        assert server.curl("/v1/models", "-H", f"Authorization: Bearer {KEY}") == "200"
        offline = next(line for line in log.read_text().splitlines() if "OFFLINE" in line)
    # What containerd's profile leaves: no namespaces, and the filter holds alone.
    assert "seccomp filter, no new privileges, no capabilities" in offline
    assert "namespace" not in offline
    assert "none worked" in offline
    assert sorted((one, one.lstat().st_mtime_ns) for one in root.rglob("*")) == before


def test_kserve_serves_the_same_root_on_a_kernel_without_landlock(
    built: Callable[[str], list[Any]], pod: Callable[..., Any], mounted: Any
) -> None:
    (runtime,) = (one for one in built("kserve") if one["kind"] == "ServingRuntime")
    (container,) = runtime["spec"]["containers"]
    landlock = ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")
    with serving(pod(runtime["spec"], **mounted, without=landlock), container) as log:
        offline = next(line for line in log.read_text().splitlines() if "OFFLINE" in line)
    assert "Landlock" not in offline
    assert "none worked" in offline


def test_a_pod_mounts_for_itself_and_serves(
    built: Callable[[str], list[Any]], pod: Callable[..., Any], objects: Any
) -> None:
    documents = built("kubernetes/overlays/init")
    spec = template(documents, "Deployment")
    one = pod(spec, **with_settings(objects, documents))
    run_to_their_end(one, spec["initContainers"])
    with serving(one, spec["containers"][0]):
        pass
    assert list(objects["claims"]["airgap-root"].iterdir()) == []


def test_an_altered_bundle_ends_the_job_and_leaves_nothing(
    built: Callable[[str], list[Any]], pod: Callable[..., Any], objects: Any
) -> None:
    (bundle,) = objects["claims"]["airgap-bundles"].iterdir()
    altered = bytearray(bundle.read_bytes())
    altered[-1000] ^= 1
    bundle.unlink()
    bundle.write_bytes(altered)
    start = template(built("kubernetes/start"), "Job")
    run_to_their_end(pod(start, **objects), start["containers"])
    documents = built("kubernetes/mount")
    (job,) = (one for one in documents if one["kind"] == "Job")
    spec = template(documents, "Job")
    done = pod(spec, **with_settings(objects, documents)).run(spec["initContainers"][0])
    assert done.returncode == 3
    assert "is not what was signed: frame" in done.stderr
    (rule,) = job["spec"]["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["containerName"] == spec["initContainers"][0]["name"]
    assert done.returncode in rule["onExitCodes"]["values"]
    root = objects["claims"]["airgap-root"]
    assert not list(root.glob("mounts/*"))
    assert [one for one in (root / "store").rglob("*") if one.is_file()] == []


def test_a_root_that_was_never_started_is_refused(
    built: Callable[[str], list[Any]], pod: Callable[..., Any], objects: Any
) -> None:
    documents = built("kubernetes/mount")
    spec = template(documents, "Job")
    done = pod(spec, **with_settings(objects, documents)).run(spec["initContainers"][0])
    assert done.returncode == 3
    assert "the record of accepted bundles" in done.stderr
    assert "airgap trust reset-sequence" in done.stderr


# --- Docker Compose: the same runtime, the same system calls --------------------------------------


def as_pod(name: str, *command: str) -> tuple[Any, Any]:
    """A service of compose.yaml as a pod has it: its spec, and the one container."""
    services = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text())["services"]
    service = services[name]
    user, _, group = service["user"].partition(":")
    volumes = [
        {"name": one["source"], "persistentVolumeClaim": {"claimName": one["source"]}}
        for one in service["volumes"]
    ]
    mounts = [
        {"name": one["source"], "mountPath": one["target"], "readOnly": one.get("read_only", False)}
        for one in service["volumes"]
    ]
    (tmp,) = (one.partition(":")[0] for one in service["tmpfs"])
    container = {
        "name": name,
        "args": [*command] or service["command"],
        "env": [{"name": one, "value": value} for one, value in service["environment"].items()],
        "volumeMounts": [*mounts, {"name": "tmp", "mountPath": tmp}],
        "readinessProbe": {"httpGet": {"path": "/ready"}},
        "securityContext": {
            "runAsUser": int(user),
            "runAsGroup": int(group),
            "allowPrivilegeEscalation": service["security_opt"] != ["no-new-privileges:true"],
            "readOnlyRootFilesystem": service["read_only"],
            "capabilities": {"drop": service["cap_drop"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    return {"volumes": [*volumes, {"name": "tmp", "emptyDir": {}}]}, container


def test_compose_trusts_mounts_and_serves(
    demo_site: Any, pod: Callable[..., Any], objects: Any, claim: Callable[[str], Path]
) -> None:
    """The commands of docs/deploying.md, in their order."""
    bundles = objects["claims"]["airgap-bundles"]
    for public in demo_site.place.keys.glob("alice.*.pub"):
        (bundles / public.name).write_bytes(public.read_bytes())
    claims = {"./bundles": bundles, "./root": claim("new-root"), "./trust": claim("trust")}
    keys = ("/bundles/alice.ed25519.pub", "/bundles/alice.ecdsa-p384.pub")
    for command in (
        ("trust", "init"),
        ("trust", "add", *keys, "--signer", "alice", "--fingerprint", demo_site.fingerprint),
        ("mount", f"/bundles/{demo_site.bundle.name}"),
        ("apikey", "add", "ward-7"),
    ):
        spec, container = as_pod("airgap", *command)
        done = pod(spec, claims=claims, config={}, secrets={}).run(container)
        assert done.returncode == 0, done.stderr
    spec, container = as_pod("cpu")
    server = pod(spec, claims=claims, config={}, secrets={})
    with serving(server, container):
        assert server.curl("/v1/models") == "401"
        key = f"Authorization: Bearer {done.stdout.strip()}"
        assert server.curl("/v1/models", "-H", key) == "200"
