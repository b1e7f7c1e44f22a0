"""The pipeline of deploy/ci: its shell steps, in their order, on a profile whose files are here."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from airgap import places
from bundler.profile import SHIPPED
from bundler.wheelhouse.own import FILE, own_wheel

WORKFLOW = Path(__file__).parent.parent.parent / "deploy/ci/github-actions.yml"


@pytest.fixture(scope="module")
def workflow() -> Any:
    return yaml.safe_load(WORKFLOW.read_text())


def expanded(text: str, values: Mapping[str, str]) -> str:
    """A value of the workflow, its expressions replaced. Raises KeyError for an unknown one."""
    return re.sub(r"\$\{\{ (.+?) \}\}", lambda found: values[found[1]], text)


@pytest.mark.heavy
def test_the_steps_build_and_verify_a_bundle(
    workflow: Any, demo_files: Any, fresh_place: Any, tmp_path: Path
) -> None:
    assert demo_files
    clone = tmp_path / "clone"
    (clone / "profiles").mkdir(parents=True)
    for end in ("yaml", "lock.yaml"):
        (clone / f"profiles/ward.{end}").write_text((SHIPPED / f"demo.{end}").read_text())
    (clone / "wheels").mkdir()
    ours = own_wheel()
    (clone / "wheels" / FILE).write_bytes(ours.content)
    office = fresh_place()
    office.keygen("ci")
    (clone / "keys").mkdir()
    for one in office.keys.glob("ci.*.pub"):
        (clone / "keys" / one.name).write_bytes(one.read_bytes())
    values = {
        "github.workspace": str(clone),
        "secrets.AIRGAP_CI_ED25519_KEY": (office.keys / "ci.ed25519.key").read_text(),
        "secrets.AIRGAP_CI_P384_KEY": (office.keys / "ci.ecdsa-p384.key").read_text(),
        "secrets.AIRGAP_CI_PASSPHRASE": office.passphrase.read_text().strip(),
    }
    said = {}
    for step in workflow["jobs"]["bundle"]["steps"]:
        if "run" in step:
            said[step["name"]] = run(step, clone, values, workflow["env"])
    assert "Would install airgap-bundler-" in said["Install"]
    assert re.fullmatch(r"key=airgap-[\w.-]+\n", (clone / "output").read_text())
    assert "verified" in said["Verify"]
    assert not (clone / ".airgap/keys").exists()  # before anything is uploaded
    assert {one.name for one in (clone / "out").iterdir()} == {"demo-1.0.0"}


def run(step: Any, clone: Path, values: Mapping[str, str], of_all: Mapping[str, str]) -> str:
    """What a step prints; a failure of it fails the test."""
    given = {**of_all, **step.get("env", {})}
    environment = {
        **os.environ,
        **{name: expanded(text, values) for name, text in given.items()},
        "AIRGAP_CACHE": str(places.download_cache()),  # as actions/cache would have filled it
        "GITHUB_OUTPUT": str(clone / "output"),
        # The test's environment has everything, and no index: what the step names is looked at.
        "PIP_DRY_RUN": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_FORCE_REINSTALL": "1",
        "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{step['name']}: {done.stderr}"
    return done.stdout


def test_the_cache_is_kept_under_the_key_of_the_lock(workflow: Any) -> None:
    steps = workflow["jobs"]["bundle"]["steps"]
    (key,) = (one for one in steps if one.get("id") == "key")
    (cache,) = (one for one in steps if one.get("uses", "").startswith("actions/cache@"))
    assert 'airgap cache key "$PROFILE"' in key["run"]
    assert cache["with"]["key"] == "${{ steps.key.outputs.key }}"
    assert cache["with"]["path"] == "${{ env.AIRGAP_CACHE }}"


def test_a_step_that_fails_fails_here_too(workflow: Any, tmp_path: Path) -> None:
    (build,) = (one for one in workflow["jobs"]["bundle"]["steps"] if one.get("name") == "Build")
    with pytest.raises(AssertionError, match=r"Build: error: .*profiles/ward\.yaml"):
        run(build, tmp_path, {"github.workspace": str(tmp_path)}, workflow["env"])
