"""Which files a bundle lies in: one `.tar.zst`, or volumes `.tar.zst.001`, `.002`, … of it.

Volumes are the same bytes cut into files of one size, so `cat` joins them. A person names one of
them, or the folder that they lie in; further folders hold the rest of a set that is spread over
several sticks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from airgap import limits
from airgap.errors import AirgapError, DamagedError, UsageError

WHOLE: Final = ".tar.zst"

ABSENT: Final = "check the path, and that the medium is mounted: findmnt"
"""What to do about a file that is not there; most lie on a stick."""

UNWRITABLE: Final = "copy the bundle's folder to where it can be written, and run this there"
"""What to do about a medium that is write-protected."""

_VOLUME: Final = re.compile(r"(?P<name>.+\.tar\.zst)\.(?P<number>[0-9]{3})", re.DOTALL)


@dataclass(frozen=True)
class Files:
    """The files of one bundle, as they were found; some of its volumes may be missing.

    Attributes:
        name: the bundle's file name, joined: `NAME-VERSION.tar.zst`.
        folder: where it was looked for first.
        volumes: where each volume lies, by its number from 1; empty for a bundle in one file.
    """

    name: str
    folder: Path
    volumes: Mapping[int, Path]

    @property
    def is_split(self) -> bool:
        """Whether it lies in volumes."""
        return bool(self.volumes)

    @property
    def first(self) -> Path:
        """The file with the head. Raises DamagedError where that volume is missing."""
        if not self.is_split:
            return self.folder / self.name
        if 1 not in self.volumes:
            raise missing(self.name, self.gaps, str(self.folder))
        return self.volumes[1]

    @property
    def gaps(self) -> list[int]:
        """Numbers of the volumes that are missing before the last one that is there."""
        last = max(self.volumes, default=0)
        return [number for number in range(1, last) if number not in self.volumes]

    @property
    def alone(self) -> Files:
        """The file with the head and no other: a set's other volumes may be elsewhere."""
        return replace(self, volumes={1: self.first}) if self.is_split else self

    def path_of(self, number: int) -> Path:
        """Where a volume lies or, where it is missing, would lie."""
        return self.volumes.get(number, self.folder / volume_name(self.name, number))

    def in_order(self) -> tuple[Path, ...]:
        """Every file, in order. Raises DamagedError where there are gaps, naming what fills them.

        Whether volumes are missing after the last one that is there, only the bundle's own table
        can tell.
        """
        if not self.is_split:
            return (self.folder / self.name,)
        if self.gaps:
            raise missing(self.name, self.gaps, str(self.folder))
        return tuple(self.volumes[number] for number in sorted(self.volumes))


def volume_name(name: str, number: int) -> str:
    """`NAME-VERSION.tar.zst.001`: the name of a volume, numbered from 1."""
    return f"{name}.{number:03}"


def is_volume(name: str, bundle: str) -> bool:
    """Whether a file's name is that of a volume of a bundle."""
    found = _VOLUME.fullmatch(name)
    return found is not None and found["name"] == bundle and int(found["number"]) > 0


def locate(path: Path, also: Sequence[Path] = ()) -> Files:
    """The files of the bundle that a command line names.

    Args:
        path: a bundle, one of its volumes, or the folder that it lies in.
        also: further folders with volumes of it.

    Raises:
        AirgapError: there is no such folder, or no bundle in it.
        UsageError: there are several bundles to choose from, or one volume lies in two places.
    """
    folders = (path if path.is_dir() else path.parent, *also)
    found = _VOLUME.fullmatch(path.name)
    if not path.is_dir() and not found:
        if also:
            raise UsageError(
                f"'{path}' is a bundle in one file, and has no volumes elsewhere",
                hint="name its first volume, NAME-VERSION.tar.zst.001, or leave --also out",
            )
        return Files(path.name, path.parent, {})
    name = found["name"] if found and not path.is_dir() else _only_name(folders)
    volumes: dict[int, Path] = {}
    for folder in folders:
        for number, place in _volumes_in(folder, name):
            if number in volumes and not place.samefile(volumes[number]):
                raise UsageError(
                    f"volume {number} is there twice: '{volumes[number]}' and '{place}'",
                    hint="name only one of the two folders, or take one of the two files away",
                )
            volumes[number] = place
    if found and not path.is_dir() and int(found["number"]) not in volumes:
        raise AirgapError(f"cannot open '{path}': No such file or directory", hint=ABSENT)
    return Files(name, folders[0], volumes)


def is_of_bundle(name: str, bundle: str) -> bool:
    """Whether a file is the bundle, or one of its volumes however many digits it has."""
    rest = name.removeprefix(bundle)
    return rest != name and (not rest or (rest[0] == "." and rest[1:].isdecimal()))


def missing(name: str, numbers: Sequence[int], where: str) -> DamagedError:
    """The refusal of a set that lacks volumes of these numbers.

    A head that nobody has signed can claim any size, so the numbers may be a range without end:
    only those that are named are looked at.
    """
    listed = ", ".join(f"'{volume_name(name, number)}'" for number in numbers[: limits.NAMED])
    if len(numbers) > limits.NAMED:
        listed += f" and {len(numbers) - limits.NAMED} more"
    return DamagedError(
        f"missing in '{where}': {listed}",
        rule="volumes.missing",
        hint=f"copy {listed} there, or give the folder that has the rest: --also FOLDER",
    )


def _only_name(folders: Sequence[Path]) -> str:
    """The one bundle in these folders, by its joined name."""
    names = sorted({joined(entry.name) for folder in folders for entry in _entries(folder)})
    names = [name for name in names if name.endswith(WHOLE)]
    if not names:
        raise AirgapError(
            f"no bundle in '{folders[0]}'",
            hint="name the .tar.zst, one of its volumes, or the folder that they lie in",
        )
    name, *others = names
    if not others and (folders[0] / name).is_file():  # and in volumes as well?
        others = [path.name for folder in folders for _number, path in _volumes_in(folder, name)]
    if others:
        raise UsageError(
            f"'{folders[0]}' holds more than one bundle: {_listed([name, *sorted(others)])}",
            hint="name the .tar.zst, or the first volume of the one that you mean",
        )
    return name


def joined(name: str) -> str:
    """The name of the bundle that a file of this name is, or is a volume of."""
    found = _VOLUME.fullmatch(name)
    return found["name"] if found else name


def _entries(folder: Path) -> Iterator[Path]:
    """What lies in a folder, without what is hidden: those are files that are being written."""
    try:
        yield from (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise AirgapError(f"cannot read the folder '{folder}': {error.strerror}") from error


def _volumes_in(folder: Path, name: str) -> Iterator[tuple[int, Path]]:
    for entry in _entries(folder):
        if is_volume(entry.name, name):
            yield int(entry.name[-3:]), entry


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(f"'{name}'" for name in names[: limits.NAMED])
    more = len(names) - limits.NAMED
    return f"{listed} and {more} more" if more > 0 else listed
