"""A carried Python's archive is followed no further than its own folder."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from airgap.errors import AirgapError, DamagedError
from runtime import interpreter
from runtime.folders import Folder

GOOD = [
    ("python", tarfile.DIRTYPE, ""),
    ("python/bin/python3.12", tarfile.REGTYPE, "#!"),
    ("python/bin/python3", tarfile.SYMTYPE, "python3.12"),
    ("python/lib/libpython.so", tarfile.SYMTYPE, "../lib/libpython3.12.so"),
]


def archive(place: Path, *members: tuple[str, bytes, str]) -> Path:
    """A `.tar.gz` of names, their kinds, and their content or where they lead."""
    path = place / "python.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, kind, rest in members:
            member = tarfile.TarInfo(name)
            member.type, member.mode = kind, 0o755
            if kind == tarfile.REGTYPE:
                member.size = len(rest)
            else:
                member.linkname = rest
            tar.addfile(member, io.BytesIO(rest.encode()))
    return path


def unpack(path: Path, into: Path) -> Path:
    with Folder.at(into) as folder:
        return interpreter.unpack(path, folder)


def test_files_folders_and_links_inside_it_are_laid_out(tmp_path: Path) -> None:
    python = unpack(archive(tmp_path, *GOOD), tmp_path / "into")
    assert python == tmp_path / "into/python/bin/python3"
    assert python.readlink() == Path("python3.12")
    assert python.read_bytes() == b"#!"
    assert python.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    "member",
    [
        ("/etc/passwd", tarfile.REGTYPE, "x"),
        ("../outside", tarfile.REGTYPE, "x"),
        ("python/../outside", tarfile.REGTYPE, "x"),
        ("python/lib/../../outside", tarfile.REGTYPE, "x"),
        ("elsewhere/file", tarfile.REGTYPE, "x"),
        ("python/bin/sh", tarfile.SYMTYPE, "/bin/sh"),
        ("python/up", tarfile.SYMTYPE, "../outside"),
        ("python/hard", tarfile.LNKTYPE, "python/bin/python3.12"),
        ("python/pipe", tarfile.FIFOTYPE, ""),
        ("python/disk", tarfile.BLKTYPE, ""),
    ],
    ids=lambda member: f"{member[0]} {member[2]}".strip(),
)
def test_nothing_leaves_it(member: tuple[str, bytes, str], tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="no file, folder or link inside it") as refused:
        unpack(archive(tmp_path, member), tmp_path / "into")
    assert refused.value.rule == "runtime.python"
    written = {path for path in tmp_path.rglob("*") if path.is_symlink() or not path.is_dir()}
    assert written == {tmp_path / "python.tar.gz"}


def test_a_link_on_the_way_is_not_followed(tmp_path: Path) -> None:
    way = [("python/way", tarfile.SYMTYPE, "bin"), ("python/way/file", tarfile.REGTYPE, "x")]
    with pytest.raises(AirgapError, match="python/way"):
        unpack(archive(tmp_path, *GOOD, *way), tmp_path / "into")
    assert not (tmp_path / "into/python/bin/file").exists()


def test_an_archive_that_is_cut_short(tmp_path: Path) -> None:
    path = archive(tmp_path, *GOOD)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(AirgapError, match="cannot unpack"):
        unpack(path, tmp_path / "into")
