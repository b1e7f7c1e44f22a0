"""What a command line names -> recordings, each with the place of its texts."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airgap import limits
from airgap.console import one_line
from airgap.errors import UsageError
from airgap.files import read_bounded

RECORDINGS: Final = frozenset(
    {
        *(".3gp", ".aac", ".aif", ".aiff", ".amr", ".ape", ".au", ".avi", ".caf", ".flac", ".flv"),
        *(".gsm", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg"),
        *(".oga", ".ogg", ".opus", ".tta", ".voc", ".w64", ".wav", ".webm", ".wma", ".wv"),
    }
)
"""By these endings a folder's recordings are known; a file that is named is taken whatever it is
called."""

_MAGIC: Final = frozenset("*?[")
_LIST_FILE: Final = 64 * limits.MIB


@dataclass(frozen=True)
class Item:
    """A recording of a run.

    Attributes:
        recording: its path, as it was named or found.
        folder: where its texts go.
        stem: what they are called, without the ending of their format.
        named: whether the command line names the file itself.
    """

    recording: Path
    folder: Path
    stem: str
    named: bool

    @property
    def place(self) -> Path:
        """The folder by its one name, however it was reached."""
        return _whole(self.folder)

    def relative(self) -> str:
        r"""The recording, as seen from its texts: the two may move together.

        Bytes of a folder's name that are no UTF-8 are escaped, as in `\xff`.
        """
        path = os.path.relpath(_whole(self.recording.parent) / self.recording.name, self.place)
        return os.fsencode(path).decode(errors="backslashreplace")


def listed(source: str) -> list[Path]:
    """The paths in a file, one a line; `-` is standard input. Raises UsageError."""
    shown = "standard input" if source == "-" else f"'{source}'"
    if source == "-":
        content = sys.stdin.buffer.read(_LIST_FILE + 1)
        if len(content) > _LIST_FILE:
            raise UsageError(f"{shown} is too large for a list: over {_LIST_FILE} bytes")
    else:
        content = read_bounded(Path(source), _LIST_FILE, "a list of recordings")
    if b"\0" in content:
        raise UsageError(
            f"{shown} is no list of recordings: it holds NUL bytes",
            hint="one path a line: find with -print, not -print0",
        )
    return [Path(os.fsdecode(line)) for line in content.splitlines() if line.strip()]


def gather(named: Iterable[Path], out: Path | None) -> list[Item]:
    """Every recording that is meant, once, in the order in which it was named.

    A folder's are found by their endings, its own folders included, and keep their places below
    `out`; what is hidden is left out, and no link to a folder is followed.

    Args:
        named: files, folders, and patterns that no shell has filled in.
        out: the folder for texts; None for beside each recording.

    Raises:
        UsageError: a folder holds no recording, or a pattern fits none.
    """
    items: dict[Path, Item] = {}
    for one in named:
        for item in _meant(one, out):
            items.setdefault(_whole(item.recording), item)
    return list(items.values())


def refuse_collisions(items: Sequence[Item], endings: Sequence[str]) -> None:
    """No text may take another's place. Raises UsageError for the first two that would.

    Args:
        items: the recordings.
        endings: of the files that each will get.
    """
    owners: dict[Path, Path] = {}
    for item in items:
        for ending in endings:
            target = item.place / f"{item.stem}{ending}"
            if (owner := owners.setdefault(target, item.recording)) != item.recording:
                raise UsageError(
                    one_line(
                        f"'{owner}' and '{item.recording}' would both be written to '{target}'"
                    ),
                    hint="rename one, or run once for each with its own --out; a folder's own "
                    "folders are kept apart below --out",
                )


def _meant(one: Path, out: Path | None) -> Iterator[Item]:
    if _is_folder(one):
        found = sorted(_inside(one))
        if not found:
            raise UsageError(
                f"no recording in the folder '{one}', by the endings that are known",
                hint="name the files themselves, whatever they are called",
            )
        for path in found:
            inner = path.parent.relative_to(one) if path != one else Path()
            folder = path.parent if out is None else out / inner
            yield Item(path, folder, path.stem, named=False)
    elif not os.path.lexists(one) and _is_pattern(one):
        fitting = glob.iglob(str(one), recursive=True)  # noqa: PTH207 - pathlib takes none from /
        files = [path for path in map(Path, sorted(fitting)) if path.is_file()]
        if not files:
            raise UsageError(
                f"no file fits the pattern '{one}'",
                hint="`**` stands for folders, as in 'a/**/*.wav'",
            )
        for path in files:
            yield Item(path, out or path.parent, path.stem, named=False)
    else:
        yield Item(one, out or one.parent, one.stem, named=True)


def _inside(folder: Path) -> Iterator[Path]:
    """The recordings below a folder, and its folders that cannot be looked into.

    The latter cannot be read as recordings either: so they are told of, and nothing is left out
    without a word.
    """
    closed: list[Path] = []
    for place, folders, files in os.walk(
        folder, onerror=lambda error: closed.append(Path(error.filename))
    ):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in RECORDINGS:
                yield Path(place, name)
    yield from closed


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False  # what is wrong with it is said where it is opened


def _whole(path: Path) -> Path:
    """The path without links and dots; a link that leads to itself stays one."""
    return Path(os.path.realpath(path))


def _is_pattern(path: Path) -> bool:
    return not _MAGIC.isdisjoint(str(path))
