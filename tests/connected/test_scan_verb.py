"""`airgap scan PATH…`: what it does not read, it does not call clean."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from airgap.errors import AirgapError, UsageError
from bundler.cli import register
from bundler.scan.verdict import UnsafeError

EVIL = pickle.dumps(print, 2)


def scan(*paths: Path) -> str:
    app = typer.Typer()
    register(app)
    answer = CliRunner().invoke(app, ["scan", *map(str, paths)])
    if answer.exception:
        raise answer.exception
    return answer.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "readme.txt").write_text("text")
    return tmp_path / "folder"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere" / "deep" / "w.bin").write_bytes(EVIL)
    return tmp_path / "elsewhere"


def test_a_link_to_a_folder_is_followed(folder: Path, elsewhere: Path) -> None:
    (folder / "link").symlink_to(elsewhere)
    with pytest.raises(UnsafeError, match="1 dangers in 2 files") as caught:
        scan(folder)
    assert caught.value.exit_code == 3


def test_links_that_lead_in_circles_end(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "up").symlink_to(folder)
    (folder / "self").symlink_to("self")
    with pytest.raises(AirgapError, match=r"self', a link to 'self': Too many levels") as caught:
        scan(folder)
    assert caught.value.exit_code == 1
    (folder / "self").unlink()
    assert scan(folder) == "1 files judged: clean\n"


def test_a_folder_is_read_once_and_by_its_own_name(folder: Path) -> None:
    (folder / "a").symlink_to("deep/model")
    (folder / "deep" / "model").mkdir(parents=True)
    (folder / "deep" / "model" / "c.yaml").write_text("x: //host/share")
    said = scan(folder, folder / "deep" / "model")
    assert f"caution  {folder}/deep/model/c.yaml" in said
    assert said.endswith("2 files judged: cautions\n")


def test_a_broken_link_is_told(folder: Path) -> None:
    (folder / "link").symlink_to("../gone")
    with pytest.raises(AirgapError) as caught:
        scan(folder)
    assert caught.value.exit_code == 1
    assert f"'{folder / 'link'}', a link to '../gone': No such file" in caught.value.message
    with pytest.raises(AirgapError, match="a link to"):
        scan(folder / "link")


def test_a_pipe_is_told(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(AirgapError, match=r"pipe': neither a file nor a folder") as caught:
        scan(folder)
    assert caught.value.exit_code == 1


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no '.*nowhere'"):
        scan(tmp_path / "nowhere")


AS_NOBODY = """
import os
from pathlib import Path
from airgap.errors import AirgapError
from bundler.verbs.scan import _files
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    _files([Path()])
except AirgapError as error:
    print(error.exit_code, error.message)
"""


@pytest.mark.parametrize("mode", [0o000, 0o300, 0o600])
def test_a_folder_that_may_not_be_read_is_told(mode: int, folder: Path) -> None:
    """From inside it, because another user may not walk to the suite's folders."""
    (folder / "closed").mkdir()
    (folder / "closed" / "w.bin").write_bytes(EVIL)
    (folder / "closed").chmod(mode)
    folder.chmod(0o755)
    command = [sys.executable, "-c", AS_NOBODY]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    finally:
        (folder / "closed").chmod(0o700)
    assert done.stdout.startswith("1 nothing was judged, because this cannot be read:")
    assert "'closed" in done.stdout
    assert "Permission denied" in done.stdout
