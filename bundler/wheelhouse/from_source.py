"""A source that builds: the wheel of a release that its publisher offers as source alone.

An sdist is a program that runs while it is built. It runs only where the profile names the project
(`no_binary`), in a process that can do nothing but write a wheel, see `build_child`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from airgap import confined
from airgap.console import console, quietly
from airgap.errors import AirgapError
from airgap.sink import OwnSideError, Sink
from bundler.locked_model import LockedFile
from bundler.sources import Access, Source
from bundler.wheelhouse.pure import take_wheel
from bundler.wheelhouse.recipe import Recipe

LONGEST: Final = 300
"""Seconds for one build, whatever it does."""

SHOWN: Final = 4096
"""Bytes of what a build said last that an error shows."""


@dataclass(frozen=True)
class FromSource:
    """A release that is built here.

    Attributes:
        release: `NAME==VERSION`.
        recipe: from what, and by what.
        sources: where the sdist and the backend's wheels can come from, in the order to try.
    """

    release: str
    recipe: Recipe
    sources: tuple[Source, ...]

    @property
    def name(self) -> str:
        """For a person."""
        return f"source '{self.recipe.sdist.path}'"

    def hosts(self, access: Access) -> tuple[str, ...]:
        """Those of the sources."""
        return tuple(host for one in self.sources for host in one.hosts(access))

    def copy(self, path: str, commit: str | None, access: Access, sink: Sink) -> None:  # noqa: ARG002 - a release has one state
        """Build the wheel, and pour it. Raises AirgapError: it does not build, or to another."""
        if sink.position:
            sink.restart()
        file, content = self.build(access)
        if file != path:
            raise AirgapError(f"'{self.recipe.sdist.path}' builds to '{file}', not to '{path}'")
        sink.write(content)

    def build(self, access: Access) -> tuple[str, bytes]:
        """The wheel's name and its bytes.

        Raises:
            AirgapError: a part cannot be had, it cannot be confined here, or it does not build.
            UnsafeError: what came out is not one pure wheel of that release.
        """
        sdist = self._cached(self.recipe.sdist, access)
        tools = [self._cached(one, access) for one in self.recipe.tools]
        console.say(f"Building {self.release} from source, confined")
        with tempfile.TemporaryDirectory(prefix="airgap-build.") as name:
            made = Path(name).resolve() / "made"
            made.mkdir()
            _run(made, self.recipe, sdist, tools)
            return take_wheel(made, self.release)

    def as_lock(self) -> dict[str, Any]:
        """The recipe, that the release's entry holds."""
        return {"built": self.recipe.as_lock()}

    def _cached(self, file: LockedFile, access: Access) -> Path:
        """A file of the recipe, from the first source whose bytes match."""
        if file.sha256 is None or file.size is None:
            raise AssertionError("a recipe is read with every size and digest")
        if access.cache.holds(file.sha256, file.size):
            access.cache.touch(file.sha256)
            return access.cache.path(file.sha256)
        reasons = []
        for source in self.sources:
            fill = partial(source.copy, file.path, None, access)
            try:
                return access.cache.keep(file.sha256, file.size, file.size, quietly, fill)
            except OwnSideError:
                raise
            except AirgapError as error:
                reasons.append(f"{source.name}: {error.message}")
        raise AirgapError(f"'{self.release}' cannot be built: {'; '.join(reasons)}")


def _run(made: Path, recipe: Recipe, sdist: Path, tools: Sequence[Path]) -> None:
    """Build in a process of its own, which has no children; what it says goes to a file."""
    home = made.parent / "home"
    home.mkdir()
    words = [str(made), recipe.backend, *(str(one.resolve()) for one in (sdist, *tools))]
    environment = {
        "HOME": str(home),
        "TMPDIR": str(home),
        "PATH": os.defpath,
        "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",  # the order of a set may become the order of lines
        "SOURCE_DATE_EPOCH": "315532800",  # 1980, the earliest that a zip can hold
    }
    with (home / "said").open("w+b") as said:
        try:
            done = subprocess.run(  # noqa: S603 - our own program; the words are of a checked lock
                [sys.executable, "-P", "-s", "-m", "bundler.wheelhouse.build_child", *words],
                cwd=home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                check=False,
                timeout=LONGEST,
            )
        except subprocess.TimeoutExpired as error:
            raise AirgapError(
                f"'{recipe.sdist.path}' did not build in {LONGEST} seconds"
            ) from error
        said.seek(max(0, said.seek(0, os.SEEK_END) - SHOWN))
        story = said.read(SHOWN).decode(errors="replace").strip()
    if done.returncode == confined.UNCONFINED:
        raise AirgapError(
            f"'{recipe.sdist.path}' cannot be confined here, so it is not built: {story}",
            hint="use a machine with Linux 5.13 or newer, with Landlock",
        )
    if done.returncode:
        raise AirgapError(
            f"'{recipe.sdist.path}' does not build in a process that reaches no network, no other "
            f"program and no other file: {_last_lines(story, done.returncode)}",
            hint="ask its publisher for a wheel",
        )


def _last_lines(story: str, code: int) -> str:
    if code < 0:
        return f"it was killed by signal {-code}"
    return " / ".join(story.splitlines()[-3:]) or f"it ended with {code}"
