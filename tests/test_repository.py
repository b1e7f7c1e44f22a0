"""The repository's own promises: locks, the wheel, what an install without an extra says."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from airgap import __version__
from bundler.wheelhouse.own import own_wheel

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ("build", "base", "ship", "dev")
EXTRAS_OF_LOCK = {"base": (), "ship": ("bundler", "cpu"), "dev": ("bundler", "cpu", "dev")}


def locked(name: str) -> list[Requirement]:
    """The pins of requirements/NAME.txt."""
    lines = (ROOT / f"requirements/{name}.txt").read_text().splitlines()
    return [Requirement(line.removesuffix("\\")) for line in lines if re.match(r"[a-z0-9]", line)]


def declared(extras: tuple[str, ...]) -> list[Requirement]:
    """What pyproject.toml asks for, our own extras resolved."""
    optional = PROJECT["project"]["optional-dependencies"]
    lines = [
        *PROJECT["project"]["dependencies"],
        *(one for name in extras for one in optional[name]),
    ]
    asked = [Requirement(line) for line in lines]
    return [one for one in asked if one.name != "airgap-bundler"]


# --- locks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_every_byte(name: str) -> None:
    text = (ROOT / f"requirements/{name}.txt").read_text()
    for entry in re.split(r"\n(?=[a-z0-9])", text)[1:]:
        assert re.match(r"[\w.-]+==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry
    assert "://" not in text  # neither an index nor a direct link


@pytest.mark.parametrize("name", EXTRAS_OF_LOCK)
def test_a_lock_satisfies_the_project(name: str) -> None:
    pins = locked(name)
    for wanted in declared(EXTRAS_OF_LOCK[name]):
        found = [
            pin for pin in pins if canonicalize_name(pin.name) == canonicalize_name(wanted.name)
        ]
        assert found, f"{wanted} is not in requirements/{name}.txt: make lock"
        versions = [next(iter(pin.specifier)).version for pin in found]
        assert all(version in wanted.specifier for version in versions), f"{wanted}: make lock"


def test_the_build_is_locked_as_well() -> None:
    (wanted,) = map(Requirement, PROJECT["build-system"]["requires"])
    (pin,) = locked("build")
    assert pin.name == wanted.name
    assert next(iter(pin.specifier)).version in wanted.specifier


@pytest.mark.parametrize(("smaller", "larger"), [("base", "ship"), ("ship", "dev")])
def test_what_ships_is_what_was_tested(smaller: str, larger: str) -> None:
    tested = {(pin.name, str(pin.specifier)) for pin in locked(larger)}
    assert {(pin.name, str(pin.specifier)) for pin in locked(smaller)} <= tested


@pytest.mark.parametrize("name", LOCKS)
def test_neither_torch_nor_cuda_is_installed_to_try_it(name: str) -> None:
    assert [pin.name for pin in locked(name) if re.match(r"torch|nvidia|triton", pin.name)] == []


# --- the tree -----------------------------------------------------------------------------------


def test_every_package_is_in_the_wheel() -> None:
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for top in ("airgap", "bundler", "runtime")
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert found | {"profiles"} == set(PROJECT["tool"]["setuptools"]["packages"])


def test_ci_runs_what_the_readme_says() -> None:
    run = ROOT / ".ci/run"
    assert os.access(run, os.X_OK)
    said = set(re.findall(r"^make [a-z]+", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {"make demo", "make test"} <= said
    ran = set(re.findall(r"^make [a-z]+", run.read_text(), re.MULTILINE))
    assert ran == {"make check", "make test"}


def test_the_version_is_in_the_changelog() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert __version__ in headings or len(headings) == 1


# --- the command answers at once ----------------------------------------------------------------

HEAVY = {
    "av",
    "bs4",
    "cryptography",
    "ctranslate2",
    "faster_whisper",
    "httpx",
    "huggingface_hub",
    "numpy",
    "onnxruntime",
    "pypi_simple",
    "requests",
    "rich",
    "tokenizers",
    "torch",
    "yaml",
    "zstandard",
}


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["verify", "--help"], ["transcribe", "--help"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys; from airgap.cli import run; "
        f"code = run({arguments}); print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout
    assert {name.partition(".")[0] for name in done.stderr.split()} & HEAVY == set()


# --- the wheel, installed without an extra ------------------------------------------------------

SOURCES = ("LICENSE", "README.md", "pyproject.toml", "airgap", "bundler", "profiles", "runtime")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made from the sdist, as it would be published."""
    tree = tmp_path_factory.mktemp("tree")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / name, tree / name)
    (tree / "tests").mkdir()
    (tree / "tests/test_nothing.py").touch()
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", tree / "dist", tree]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (tree / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def base_install(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment that holds the wheel and the locked base, and nothing else.

    The base comes out of the environment that runs the suite: no index is asked.
    """
    environment = tmp_path_factory.mktemp("base") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    for pin in locked("base"):
        if pin.marker is None or pin.marker.evaluate():
            _copy_distribution(pin, packages)
    pip = [sys.executable, "-m", "pip", "--python", environment / "bin/python"]
    install = ["install", "--quiet", "--no-index", "--no-deps", "--no-warn-script-location", wheel]
    subprocess.run([*pip, *install], check=True)
    return environment / "bin/airgap"


def _copy_distribution(pin: Requirement, packages: Path) -> None:
    """Copy the files of an installed distribution, scripts and bytecode apart."""
    installed = metadata.distribution(pin.name)
    assert installed.version in pin.specifier, f"{pin} is not what is installed: make test"
    for file in installed.files or []:
        if ".." not in file.parts and file.suffix != ".pyc":
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(installed.locate_file(file), target)


@pytest.mark.heavy
def test_the_wheel_carries_profiles_and_types_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {f"profiles/{path.name}" for path in (ROOT / "profiles").glob("*.yaml")} <= names
    assert {"bundler/review/review.html", "bundler/review/review.css"} <= names
    assert {"airgap/py.typed", "bundler/py.typed", "runtime/py.typed"} <= names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    tops = {name.partition("/")[0] for name in names}
    ours = {"airgap", "bundler", "profiles", "runtime"}
    assert tops == {*ours, f"airgap_bundler-{__version__}.dist-info"}


@pytest.mark.heavy
def test_the_wheel_that_travels_is_the_published_one(wheel: Path) -> None:
    ours = own_wheel()
    with zipfile.ZipFile(wheel) as built, zipfile.ZipFile(io.BytesIO(ours.content)) as made:
        own_papers = {
            f"airgap_bundler-{__version__}.dist-info/{one}" for one in ("WHEEL", "RECORD")
        }
        contents, expected = (
            {name: one.read(name) for name in one.namelist() if name not in own_papers}
            for one in (made, built)
        )
    metadata = f"airgap_bundler-{__version__}.dist-info/METADATA"
    assert contents.pop(metadata).startswith(b"Metadata-Version")  # of the last installation
    expected.pop(metadata)
    assert contents == expected


@pytest.mark.heavy
def test_an_altered_installation_does_not_travel(base_install: Path) -> None:
    python = base_install.with_name("python")
    (module,) = base_install.parent.parent.glob("lib/python*/site-packages/runtime/standing.py")
    program = "from bundler.wheelhouse.own import own_wheel; print(own_wheel().sha256)"
    first = subprocess.run(
        [python, "-I", "-c", program], capture_output=True, text=True, check=False
    )
    assert first.returncode == 0, first.stderr
    original = module.read_bytes()
    try:
        module.write_bytes(original + b"# altered")
        done = subprocess.run(
            [python, "-I", "-c", program], capture_output=True, text=True, check=False
        )
    finally:
        module.write_bytes(original)
    assert "1 installed files are not what was installed: runtime/standing.py" in done.stderr


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--version"], 0, f"airgap {__version__}"),
        (["--help"], 0, "verify"),
        (["plan", "demo"], 0, "tiny.en"),
        (["trust", "list"], 3, "airgap trust init"),
        (["list"], 0, "nothing is mounted"),
        (["doctor"], 1, "pip install 'airgap-bundler[cpu]'"),
        (["build", "demo"], 2, "pip install 'airgap-bundler[bundler]'"),
        (["fetch", "demo"], 2, "pip install 'airgap-bundler[bundler]'"),
        (["transcribe", "speech.wav"], 2, "airgap mount BUNDLE"),  # it may bring the engine
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_base_works_without_an_extra(
    base_install: Path, tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    (tmp_path / "speech.wav").touch()
    before = sorted(tmp_path.rglob("*"))
    done = subprocess.run(
        [base_install, *arguments],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AIRGAP_ROOT": str(tmp_path / "r")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
