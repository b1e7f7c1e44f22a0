"""Where a container image goes: into an engine of this host, or into a file.

An engine is its program that takes an image from standard input. It is run by its path, without a
shell, and decides itself which daemon it speaks to. We open no daemon's socket: whoever may write
to one is root on this host.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from airgap.errors import AirgapError, UsageError
from airgap.files import written_whole

_SHOWN: Final = 2_000
"""Characters of a program's complaint that an error shows, from its end."""

_ELSEWHERE: Final = "or airgap load --to ./FILE.tar, and load that elsewhere"


@dataclass(frozen=True)
class Engine:
    """A container engine, and the command that loads an image into it.

    Attributes:
        name: as `--to` has it.
        program, arguments: what is run.
    """

    name: str
    program: str
    arguments: tuple[str, ...]

    def load(self, pieces: Iterator[bytes]) -> str:
        """Hand an archive over, and return what the program printed.

        Where a piece cannot be taken, the program is killed before it sees an end, so that an
        archive that broke off never passes for a whole one.

        Args:
            pieces: of the archive, in order; the error of one of them goes on to the caller.

        Raises:
            AirgapError: the program is not installed, or failed.
        """
        path = shutil.which(self.program)
        if path is None:
            raise AirgapError(
                f"'{self.program}' is not on this user's PATH",
                hint=f"install {self.name}; {_ELSEWHERE}",
            )
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            try:
                process = subprocess.Popen(  # noqa: S603 - a path, and arguments of our own
                    [path, *self.arguments],
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=out,
                    stderr=err,
                )
            except OSError as error:
                raise AirgapError(f"cannot run '{path}': {error.strerror}") from error
            with process:
                _feed(process, pieces)
            said = _tail(out)
            if process.returncode:
                command = " ".join((self.program, *self.arguments))
                raise AirgapError(
                    f"`{command}` failed with exit code {process.returncode}: "
                    f"{_tail(err) or said or 'it said nothing'}",
                    hint=f"is {self.name} running, and may this user use it?",
                )
            return said


@dataclass(frozen=True)
class Archive:
    """A file in the place of an engine.

    Attributes:
        path: of the file, which is not there yet.
    """

    path: Path

    @classmethod
    def new(cls, named: str) -> Archive:
        """A file that is yet to be made. Raises UsageError where it is there already."""
        if Path(named).exists():
            raise UsageError(f"--to '{named}' is there already", hint="choose another FILE")
        return cls(Path(named))

    @property
    def name(self) -> str:
        """As `--to` has it."""
        return str(self.path)

    def load(self, pieces: Iterator[bytes]) -> str:
        """Write the archive, which is there whole or not at all; there is nothing to say of it."""
        with written_whole(self.path) as stream:
            for piece in pieces:
                stream.write(piece)
        return ""


ENGINES: Final = (
    Engine("docker", "docker", ("load",)),
    Engine("podman", "podman", ("load",)),
    Engine("containerd", "ctr", ("images", "import", "-")),
)


def choose(named: str | None) -> Engine | Archive:
    """Where an image goes: the engine or file of that name; else the engine that this host has.

    Raises:
        UsageError: there is none of that name, the file is there already, or none was named and
            this host has several engines.
        AirgapError: none was named, and this host has none.
    """
    if named is not None and ("/" in named or named.endswith(".tar")):
        return Archive.new(named)
    names = ", ".join(one.name for one in ENGINES)
    if named is not None:
        for one in ENGINES:
            if one.name == named:
                return one
        raise UsageError(
            f"--to '{named}': expected {names}, or a file (./FILE.tar)",
            hint="airgap load --help",
        )
    found = [one for one in ENGINES if shutil.which(one.program)]
    if not found:
        raise AirgapError(
            f"no container engine is on this user's PATH: expected one of {names}",
            hint=f"install one; {_ELSEWHERE}",
        )
    if len(found) > 1:
        raise UsageError(
            f"this host has {' and '.join(one.name for one in found)}",
            hint=f"airgap load --to {found[0].name}",
        )
    return found[0]


def _feed(process: subprocess.Popen[bytes], pieces: Iterator[bytes]) -> None:
    assert process.stdin is not None  # noqa: S101 - it was asked for
    try:
        for piece in pieces:
            left = memoryview(piece)
            while left:
                left = left[process.stdin.write(left) :]
        process.stdin.close()
    except BrokenPipeError:  # it has ended, and its exit code says why
        pass
    except BaseException:
        process.kill()
        raise
    finally:
        process.wait()


def _tail(stream: IO[bytes]) -> str:
    """The end of what a program wrote."""
    size = stream.seek(0, 2)
    stream.seek(max(0, size - _SHOWN))
    return stream.read().decode(errors="replace").strip()
