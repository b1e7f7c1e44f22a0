"""What is under deploy/, as the real tools read it, and its pods, run by a real runtime."""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
USER = 10001
SECCOMP = "/usr/share/containers/seccomp.json"
_ARCHITECTURES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
}

_PRIVILEGED = ("mount", "mount_setattr", "move_mount", "open_tree", "pivot_root", "setns", "umount",
               "umount2", "unshare")  # fmt: skip
_ELSEWHERE = {"clone", "clone3", *_PRIVILEGED}
_NO_NEW_NAMESPACE = {"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": 0x7E02_0000, "valueTwo": 0}


@pytest.fixture(scope="session")
def script() -> Callable[[str], Path]:
    """Finds a program that a package of the extra `dev` brings."""
    return lambda name: Path(sysconfig.get_path("scripts")) / name


@pytest.fixture(scope="session")
def built(script: Callable[[str], Path]) -> Callable[[str], list[Any]]:
    """What `kubectl kustomize deploy/FOLDER` makes: the documents that a cluster is sent."""
    made: dict[str, list[Any]] = {}

    def build(folder: str) -> list[Any]:
        if folder not in made:
            command = [script("kubectl"), "kustomize", DEPLOY / folder]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert done.stderr == ""  # it warns of what the next version will refuse
            made[folder] = list(yaml.safe_load_all(done.stdout))
        return made[folder]

    return build


# --- pods ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pod:
    """A pod as a kubelet would start it, by crun: user, read-only root, mounts, seccomp.

    The root file system is this machine's, below an overlay that goes with the container; over it
    lie this interpreter and this source. The network is a new one with loopback alone, which all
    containers of the pod share.

    Attributes:
        spec: of the pod.
        folder: for what it needs while it lives.
        network: keeps its network.
        claims: folders by the claim's name.
        config: files by the name of a ConfigMap, and their names in it.
        secrets: values by the name of a Secret, and their names in it.
        without: system calls that its kernel does not have.
    """

    spec: Any
    folder: Path
    network: subprocess.Popen[bytes]
    claims: Mapping[str, Path]
    config: Mapping[str, Mapping[str, bytes]]
    secrets: Mapping[str, Mapping[str, str]]
    without: Collection[str] = ()

    def command(self, container: Any) -> list[str]:
        """What starts a container, in a mount namespace that ends with it."""
        bundle = self.folder / container["name"]
        bundle.mkdir()
        (bundle / "config.json").write_text(json.dumps(self._oci(container)))
        program = f"""
            set -e
            mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null || mount -t tmpfs none /sys/fs/cgroup
            mount -t tmpfs tmpfs {bundle}/scratch
            cd {bundle}/scratch
            mkdir upper work rootfs
            mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work rootfs
            chmod o+x rootfs/root rootfs/home  # the interpreter may lie below
            cd ..
            exec crun --root scratch/state --cgroup-manager=disabled run --bundle . airgap
        """
        (bundle / "scratch").mkdir()
        return ["unshare", "--mount", "sh", "-c", program]

    def run(self, container: Any) -> subprocess.CompletedProcess[str]:
        """Run a container to its end."""
        return subprocess.run(
            self.command(container), capture_output=True, text=True, timeout=300, check=False
        )

    def curl(self, path: str, *options: str) -> str:
        """The status of a request to the pod's port, as its probes ask it."""
        inside = ["nsenter", f"--net=/proc/{self.network.pid}/ns/net"]
        ask = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *options]
        url = f"http://127.0.0.1:8000{path}"
        done = subprocess.run([*inside, *ask, url], capture_output=True, text=True, check=False)
        return done.stdout

    def _oci(self, container: Any) -> Any:
        """The container's configuration, as the runtime specification has it."""
        of_pod = self.spec.get("securityContext", {})
        context = {**of_pod, **container["securityContext"]}
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        variables = {one["name"]: self._value(one) for one in container["env"]}
        arguments = container["args"]
        for name, value in variables.items():
            arguments = [one.replace(f"$({name})", value) for one in arguments]
        variables |= {"PATH": "/usr/bin:/bin", "PYTHONPATH": "/opt/airgap"}  # an image's own
        return {
            "ociVersion": "1.0.2",
            "process": {
                "user": {
                    "uid": context["runAsUser"],
                    "gid": context["runAsGroup"],
                    "additionalGids": [of_pod["fsGroup"]] if "fsGroup" in of_pod else [],
                },
                "args": ["/opt/venv/bin/python", "-m", "airgap", *arguments],
                "env": [f"{name}={value}" for name, value in variables.items()],
                "cwd": "/",
                "capabilities": {},
                "noNewPrivileges": not context["allowPrivilegeEscalation"],
            },
            "root": {"path": "scratch/rootfs", "readonly": context["readOnlyRootFilesystem"]},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {
                    "destination": "/dev",
                    "type": "tmpfs",
                    "source": "tmpfs",
                    "options": ["mode=755"],
                },
                _bind(Path(sys.prefix), "/opt/venv", read_only=True),
                _bind(ROOT, "/opt/airgap", read_only=True),
                *(self._mount(one) for one in container["volumeMounts"]),
            ],
            "linux": {
                "namespaces": [
                    *({"type": name} for name in ("pid", "mount", "ipc", "uts")),
                    {"type": "network", "path": f"/proc/{self.network.pid}/ns/net"},
                ],
                "seccomp": _runtime_default(self.without),
                "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list"],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"],
            },
        }

    def _value(self, variable: Any) -> str:
        if "value" in variable:
            return str(variable["value"])
        ((kind, one),) = variable["valueFrom"].items()
        if kind == "secretKeyRef":
            return self.secrets[one["name"]][one["key"]]
        return self.config[one["name"]][one["key"]].decode()

    def _mount(self, mount: Any) -> Any:
        (volume,) = (one for one in self.spec["volumes"] if one["name"] == mount["name"])
        source = self._source(volume) / mount.get("subPath", "")
        return _bind(source, mount["mountPath"], read_only=mount.get("readOnly", False))

    def _source(self, volume: Any) -> Path:
        if "persistentVolumeClaim" in volume:
            return self.claims[volume["persistentVolumeClaim"]["claimName"]]
        folder = self.folder / "volumes" / volume["name"]
        if folder.exists():
            return folder
        folder.mkdir(parents=True)
        if "configMap" in volume:
            _write_config(folder, self.config[volume["configMap"]["name"]])
        else:
            assert "emptyDir" in volume
            folder.chmod(0o2777)
        return folder


def _bind(source: Path, destination: str, *, read_only: bool) -> Any:
    options = ["rbind", "ro"] if read_only else ["rbind"]
    return {"destination": destination, "type": "bind", "source": str(source), "options": options}


def _write_config(folder: Path, files: Mapping[str, bytes]) -> None:
    """As the kubelet does: links to a folder that it exchanges as a whole."""
    (folder / "..2026_01_01").mkdir()
    (folder / "..data").symlink_to("..2026_01_01")
    for name, content in files.items():
        (folder / "..data" / name).write_bytes(content)
        (folder / name).symlink_to(f"..data/{name}")


def _runtime_default(without: Collection[str]) -> Any:
    """The profile that container engines apply where nobody asks for another, without capabilities.

    The list of github.com/containers/common, in the form of the runtime specification, less what
    containerd and Docker keep for CAP_SYS_ADMIN: no namespaces can be had.
    """
    here, architecture = _ARCHITECTURES[platform.machine()]
    profile = json.loads(Path(SECCOMP).read_text())
    rules = [
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [_NO_NEW_NAMESPACE]},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS},
        {"names": list(_PRIVILEGED), "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM},
    ]
    for one in profile["syscalls"]:
        includes = one.get("includes", {})
        if includes.get("caps") or here not in includes.get("arches", [here]):
            continue
        names = [name for name in one["names"] if name not in {*_ELSEWHERE, *without}]
        rule = {"names": names, "action": one["action"], "args": one.get("args") or []}
        rules.append(rule | ({"errnoRet": one["errnoRet"]} if "errnoRet" in one else {}))
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": [architecture],
        "syscalls": [rule for rule in rules if rule["names"]],
    }


@pytest.fixture
def pod(
    foreign: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Pod]]:
    """Makes pods of a template's `spec`; a skip for whoever is not root."""
    for tool in ("crun", "curl", "ip", "nsenter", "unshare", SECCOMP):
        foreign(tool)
    if os.geteuid() != 0:
        if os.environ.get("CI"):
            pytest.fail("root alone starts containers here")
        pytest.skip("root alone starts containers here")
    networks: list[subprocess.Popen[bytes]] = []

    def make(spec: Any, **objects: Any) -> Pod:
        loopback = "ip link set lo up && exec sleep infinity"
        networks.append(subprocess.Popen(["unshare", "--net", "sh", "-c", loopback]))
        ours, new = (Path(f"/proc/{one}/ns/net") for one in ("self", networks[-1].pid))
        while new.readlink() == ours.readlink():
            time.sleep(0.01)
        return Pod(spec, tmp_path_factory.mktemp("pod"), networks[-1], **objects)

    yield make
    for holder in networks:
        holder.terminate()
        holder.wait()


@pytest.fixture
def claim(tmp_path: Path) -> Callable[[str], Path]:
    """Makes empty volumes, as a cluster hands them to the group of a pod's `fsGroup`."""

    def make(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        shutil.chown(folder, group=USER)
        folder.chmod(0o2775)
        return folder

    return make
