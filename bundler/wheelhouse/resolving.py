"""Which releases a target needs, by uv: for another Python and another machine than this one, too.

pip asks the builder's own interpreter about environment markers whatever `--platform` says
(https://github.com/pypa/pip/issues/11664), so it would pin an arm64 host what an x86-64 one needs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from packaging.tags import Tag

from airgap.digest import is_sha256
from airgap.errors import AirgapError, UsageError
from airgap.yaml_document import Form
from bundler.wheelhouse.names import SDIST, SOURCE, WHEEL, WheelName
from bundler.wheelhouse.targets import PYTHONS, Target

LONGEST: Final = 900
"""Seconds for one target; a slow line and three hundred projects need a tenth."""

SHOWN: Final = 12
"""Lines of the resolver's story that an error shows."""

INSTALLER: Final = "pip"
"""It travels too, and is run out of its wheel: a host may have none, or one that is older."""

_PROJECT: Final = "airgap-bundler"
_LOCK: Final = "pylock.toml"

_ANY_BUILDER: Final = Target(PYTHONS[0], "manylinux_2_28_x86_64")
"""What a build backend is resolved for; its wheels must fit any machine."""


@dataclass(frozen=True)
class Found:
    """A wheel that a target needs, or the sdist that one is to be built of.

    Attributes:
        file: its name.
        url: where the index has it.
        sha256: as the index gives it.
        size: in bytes, where the index tells it.
    """

    file: str
    url: str
    sha256: str
    size: int | None

    @property
    def is_source(self) -> bool:
        """Whether it is an sdist."""
        return self.file.endswith(SDIST)


@dataclass(frozen=True)
class Wish:
    """What is to be resolved, for whichever target.

    Attributes:
        wheel: of this project.
        extras: of this project.
        index: the address of the index; it may hold a password.
        indexes: projects that are taken from an index of their own: name and address.
        no_binary: projects that are taken as source.
        known: what releases of those require, as far as they were built; the resolver builds none.
    """

    wheel: Path
    extras: Sequence[str]
    index: str
    indexes: Sequence[tuple[str, str]] = ()
    no_binary: Sequence[str] = ()
    known: Mapping[str, Sequence[str]] = field(default_factory=dict)


def resolve(wish: Wish, targets: Sequence[Target]) -> Iterator[tuple[Target, tuple[Found, ...]]]:
    """What each target installs beside this project's own wheel, sorted by name.

    All are wheels but those that are wished for as source; of these no line runs.

    Raises:
        AirgapError: there is no such set of wheels; the resolver's reasons.
        UsageError: the resolver is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="airgap-resolve.") as name:
        folder = Path(name)
        (folder / "pyproject.toml").write_text(_project(wish), encoding="utf-8")
        for target in targets:
            _run(wish.index, wish.no_binary, target, folder)
            yield target, _read((folder / _LOCK).read_bytes(), target)


def resolve_tools(requires: Sequence[str], index: str) -> tuple[Found, ...]:
    """The wheels of a build backend, for any builder.

    Args:
        requires: what an sdist declares.
        index: the address of the index.

    Raises:
        AirgapError: there is no such set of wheels, or one is for one machine alone.
    """
    if not requires:  # a backend that is part of the sdist
        return ()
    with tempfile.TemporaryDirectory(prefix="airgap-resolve.") as name:
        folder = Path(name)
        (folder / "pyproject.toml").write_text("\n".join(_head(requires)), encoding="utf-8")
        _run(index, (), _ANY_BUILDER, folder)
        found = _read((folder / _LOCK).read_bytes(), _ANY_BUILDER)
    if native := [one.file for one in found if not one.file.endswith("-none-any.whl")]:
        raise AirgapError(
            f"a build backend must be pure, to be the same on every builder: {', '.join(native)}",
            hint="ask the publisher of the sdist for a wheel",
        )
    return found


def _project(wish: Wish) -> str:
    """A project that depends on ours: uv reads which project is from which index there."""
    names = {address: f"index-{n}" for n, (_, address) in enumerate(wish.indexes)}
    ours = f"{_PROJECT}[{','.join(wish.extras)}] @ {wish.wheel.resolve().as_uri()}"
    lines = _head([ours, INSTALLER, *(project for project, _ in wish.indexes)])
    if wish.indexes:
        lines.append("[tool.uv.sources]")
    lines += [
        f"{json.dumps(project)} = {{ index = {json.dumps(names[address])} }}"
        for project, address in wish.indexes
    ]
    for address, index in names.items():
        lines += ["[[tool.uv.index]]", f"name = {json.dumps(index)}"]
        lines += [f"url = {json.dumps(address)}", "explicit = true"]
    for project in wish.no_binary:
        lines += _told(project, (), None)
    for release, requires in wish.known.items():
        project, _, version = release.partition("==")
        lines += _told(project, requires, version)
    return "\n".join(lines) + "\n"


def _head(depends: Sequence[str]) -> list[str]:
    return [
        "[project]",
        'name = "isolated-host"',
        'version = "0"',
        'requires-python = ">=3.11"',
        f"dependencies = {json.dumps(depends)}",  # a list of strings is the same in TOML
    ]


def _told(project: str, requires: Sequence[str], version: str | None) -> list[str]:
    """What an sdist requires, so that uv does not run it to learn that."""
    lines = ["[[tool.uv.dependency-metadata]]", f"name = {json.dumps(project)}"]
    if version:
        lines.append(f"version = {json.dumps(version)}")
    return [*lines, f"requires-dist = {json.dumps(list(requires))}"]


def _run(index: str, no_binary: Sequence[str], target: Target, folder: Path) -> None:
    """Let uv write pylock.toml (PEP 751) for one target."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header"]
    # The interpreter that it has, lest it looks for one of the target's version and starts each.
    command += ["--python", sys.executable, "--python-version", target.python]
    command += ["--only-binary", ":all:"]
    for project in no_binary:
        command += ["--no-binary", project]
    command += ["--python-platform", target.resolver_platform]
    command += ["--format", _LOCK, "--output-file", _LOCK, "pyproject.toml"]
    # What this user set for uv is not what the profile says. The address may hold a password,
    # and arguments can be seen in `ps`.
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("UV_")}
    chosen = {"UV_DEFAULT_INDEX": index, "UV_CACHE_DIR": str(folder / "cache")}
    (folder / _LOCK).unlink(missing_ok=True)  # an old one would be preferred
    try:
        done = subprocess.run(  # noqa: S603 - the resolver; the words are of a checked profile
            command,
            cwd=folder,
            env={**inherited, **chosen, "UV_NO_PROGRESS": "1", "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=LONGEST,
        )
    except subprocess.TimeoutExpired as error:
        raise AirgapError(
            f"the wheels for {target.name} were not resolved within {LONGEST} seconds"
        ) from error
    if "No module named uv" in done.stderr:
        raise UsageError(
            "wheels are resolved by uv, which is not installed",
            hint="pip install 'airgap-bundler[bundler]'",
        )
    if done.returncode:
        raise _unresolved(target, done.stderr)


def _unresolved(target: Target, story: str) -> AirgapError:
    lines = [line.rstrip() for line in story.splitlines() if line.strip()]
    told = "\n".join(f"  {line}" for line in lines[-SHOWN:])
    return AirgapError(
        f"there are no wheels of everything for {target.name}:\n{told}",
        hint="another Python, a newer platform or fewer extras in the profile; what is published "
        "only as source is taken where the profile's runtime names it: no_binary: [PROJECT]",
    )


def _read(content: bytes, target: Target) -> tuple[Found, ...]:
    """One archive of each package of a pylock.toml, but of our own."""
    try:
        packages = tomllib.loads(content.decode())["packages"]
        ranks = target.ranks()
        found = [_found(one, ranks) for one in packages if one["name"] != _PROJECT]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise AirgapError(f"the resolver's answer for {target.name} is not understood") from error
    return tuple(sorted(found, key=lambda one: one.file))


def _found(package: dict[str, Any], ranks: Mapping[Tag, int]) -> Found:
    """The wheel of a package that fits best, where several do; or its sdist, where it has none."""
    if "wheels" not in package:
        return _archive(package["sdist"], SOURCE)
    wheels = [_archive(one, WHEEL) for one in package["wheels"]]
    return min(wheels, key=lambda one: (WheelName.parse(one.file).rank(ranks), one.file))


def _archive(entry: dict[str, Any], form: Form) -> Found:
    address = str(entry["url"])
    file = unquote(urlsplit(address).path.rpartition("/")[2])
    sha256 = str(entry["hashes"]["sha256"])
    if not form.fits(file) or not is_sha256(sha256):
        raise ValueError(file)
    size = entry.get("size")
    return Found(file, address, sha256, size if isinstance(size, int) else None)
