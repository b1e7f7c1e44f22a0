"""A pull or a push that dies, a disk that fills: no usable bundle, and the next one goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MIB = 1 << 20


def killed_once_it_waits(command: list[str], marks: Path) -> None:
    """Run a command until the server that it asks makes it wait, and kill it there."""
    with subprocess.Popen(command, env=os.environ, stderr=subprocess.PIPE, text=True) as process:
        while not (marks / "waiting").exists():
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        (marks / "killed").touch()


def test_killed_in_the_middle(host: Any, shipment: Path, s3_site: Any, tmp_path: Path) -> None:
    assert host.airgap("push", shipment, "s3://whisper-models/models").code == 0
    key = "models/ward-1.0.0/ward-1.0.0.tar.zst"
    out, source = tmp_path / "in", "s3://whisper-models/models/ward-1.0.0"
    came = out / ".ward-1.0.0.pulling/ward-1.0.0.tar.zst"
    command = [sys.executable, "-m", "airgap", "pull", source, "--out", str(out)]
    gets = iter(range(10))

    def stall(method: str, path: str) -> None:
        """Of the bundle the first request is for the head; the second one waits for its end."""
        if method == "GET" and key in path and next(gets) == 1:
            (tmp_path / "waiting").touch()
            while not (tmp_path / "killed").exists():
                time.sleep(0.01)

    s3_site.line.refuse = stall
    came.parent.mkdir(parents=True)
    came.write_bytes((shipment / "ward-1.0.0.tar.zst").read_bytes()[: 2 * MIB])
    killed_once_it_waits(command, tmp_path)
    assert [path.name for path in out.iterdir()] == [".ward-1.0.0.pulling"]
    assert host.airgap("mount", out).code == 1  # nothing there is a bundle
    s3_site.line.seen.clear()
    pulled = host.airgap("pull", source, "--out", out)
    assert pulled.code == 0, pulled.err
    assert [one[2] for one in s3_site.line.asked("GET", key)] == [None, f"bytes={2 * MIB}-"]


def test_a_push_that_was_killed_keeps_the_volumes_that_are_there(
    host: Any, bundle: Path, line: Any, tmp_path: Path
) -> None:
    split = host.airgap("split", bundle, "--size", "2MB", "--out", tmp_path / "volumes")
    assert split.code == 0, split.err
    (folder,) = (tmp_path / "volumes").iterdir()
    where = f"oci://{line.host}/speech/ward"
    files = len(list(folder.iterdir()))

    def stall(method: str, _path: str) -> None:
        """The last file but one waits for its end."""
        if method == "PATCH" and len(line.asked("PATCH")) == files - 1:
            (tmp_path / "waiting").touch()
            while not (tmp_path / "killed").exists():
                time.sleep(0.01)

    line.refuse = stall
    command = [sys.executable, "-m", "airgap", "push", str(folder), where]
    killed_once_it_waits(command, tmp_path)
    assert host.airgap("pull", where, "--out", tmp_path / "in").code == 1  # there is no tag yet
    line.seen.clear()
    pushed = host.airgap("push", folder, where, "--json")
    assert pushed.code == 0, pushed.err
    missing = sorted(folder.glob("*.00?"))[:2]  # the volume with the head goes last
    assert pushed.document["pushed"][0]["sent"] == sum(path.stat().st_size for path in missing)
    pulled = host.airgap("pull", where, "--out", tmp_path / "in")
    assert pulled.code == 0, pulled.err


FILLS = """
import shutil, sys
from airgap import cli
usage = shutil.disk_usage("/")
shutil.disk_usage = lambda _path: usage._replace(free=1 << 40)  # somebody else takes it later
sys.exit(cli.run(sys.argv[1:]))
"""


def test_a_disk_that_fills_up(
    host: Any, shipment: Path, s3_site: Any, foreign: Callable[[str], str]
) -> None:
    assert host.airgap("push", shipment, "s3://whisper-models/models").code == 0
    private = [foreign("unshare"), "-m" if os.geteuid() == 0 else "-rm"]
    script = """
    set -e
    mount -t tmpfs -o size=3m tmpfs /mnt
    code=0
    "$0" -c "$1" pull s3://whisper-models/models/ward-1.0.0 --out /mnt/in || code=$?
    ls -A /mnt/in
    exit $code
    """
    done = subprocess.run(
        [*private, "sh", "-c", script, sys.executable, FILLS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "cannot write what was fetched: No space left on device" in done.stderr
    assert "it goes on from here" in done.stderr
    assert done.stdout == ".ward-1.0.0.pulling\n"
