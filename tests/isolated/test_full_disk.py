"""No space, no right to write: the mount ends with what to do, and what was mounted stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from runtime import store


class Usage(NamedTuple):
    """As shutil.disk_usage has it, in bytes."""

    total: int
    used: int
    free: int


def test_space_is_counted_before_anything_is_written(
    mounted, write, contents, monkeypatch, snapshot
):
    newer = write("newer", contents={**contents, "samples/new.bin": bytes(9_000_000)}, sequence=8)
    before = snapshot(mounted.root)
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _at: Usage(0, 0, 70_000_000))
    said = mounted.airgap("mount", newer, "--json")
    assert said.code == 1
    assert said.document["message"] == (
        f"not enough space in '{mounted.root}': the bundle needs 76.1 MB, and 70.0 MB are free"
    )
    assert said.document["hint"] == "free some space, or choose a larger place with --root"
    assert snapshot(mounted.root) == before


def test_what_is_in_the_store_needs_no_space(mounted, bundle, monkeypatch):
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _at: Usage(0, 0, store.SPARE))
    assert mounted.airgap("mount", bundle).code == 0


def in_small_space(mounted, bundle, megabytes, patch=""):
    """Mount onto a file system of so many megabytes, to which the root is copied first.

    A mount namespace of its own holds it; the copy is compared with the original at the end.
    """
    script = f"""
set -e
laid_out() {{
    cd /mnt/root
    find . -not -name lock -not -path './audit*' -not -name . -printf '%P %l %m\\n' | sort
}}
mount -t tmpfs -o size={megabytes}m tmpfs /mnt
cp -a '{mounted.root}' /mnt/root
before=$(laid_out)
code=0
'{sys.executable}' - mount '{bundle}' --json --root /mnt/root <<'END' || code=$?
import sys
from airgap import cli
from runtime import store
store.SPARE = -(1 << 40)  # as if another program took the space after it was counted
{patch}
sys.exit(cli.run(sys.argv[1:]))
END
after=$(laid_out)
test "$before" = "$after" || {{ echo CHANGED >&2; cd /mnt/root; find . >&2; }}
'{sys.executable}' -m airgap list --root /mnt/root >&2
exit $code
"""
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare failed" in done.stderr or "must be superuser" in done.stderr:
        pytest.skip("needs a mount namespace: run as root")
    return done


def test_a_disk_that_fills_up_while_blobs_are_written(mounted, write, contents):
    new = os.urandom(12_000_000)
    newer = write("newer", contents={**contents, "samples/new.bin": new}, sequence=8)
    done = in_small_space(mounted, newer, 12)
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    assert said["message"] == (
        "cannot write to '/mnt/root/staging': No space left on device; what is mounted is as it was"
    )
    assert said["hint"] == "free some space, or choose a larger place with --root"
    assert "CHANGED" not in done.stderr
    assert "next: free some space" in done.stderr


def test_a_disk_that_fills_up_while_the_generation_is_built(mounted, write, contents):
    """The blobs fit; what is missing is room for the tree's own files."""
    newer = write("newer", version="1.1.0", sequence=8)
    fill = """
from runtime.store import Store
take = Store.take
def take_then_fill(self, staging):
    take(self, staging)
    with open("/mnt/fill", "wb", buffering=0) as stream:
        try:
            while stream.write(bytes(4096)):
                pass
        except OSError:
            pass
Store.take = take_then_fill
"""
    done = in_small_space(mounted, newer, 12, fill)
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    assert "No space left on device" in said["message"]
    assert said["message"].startswith("cannot ")
    assert "/mnt/root/mounts/ward/generations" in said["message"]
    assert said["hint"] == "free some space, or choose a larger place with --root"
    assert "CHANGED" not in done.stderr


def test_a_limit_on_the_size_of_files(mounted, write, contents, snapshot):
    new = os.urandom(9_000_000)
    newer = write("newer", contents={**contents, "samples/new.bin": new}, sequence=8)
    before = snapshot(mounted.root)
    done = subprocess.run(
        [
            *("bash", "-c", 'ulimit -f 8000; exec "$@"', "-"),
            *(sys.executable, "-m", "airgap", "mount", str(newer)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"cannot write to '{mounted.root / 'staging'}': File too large" in done.stderr
    assert "  next: " in done.stderr
    assert snapshot(mounted.root) == before


def test_a_flush_that_fails_is_no_success(mounted, write, contents, monkeypatch, snapshot):
    """Some disks tell of a full or failing medium at fsync alone."""
    newer = write("newer", contents={**contents, "samples/new.bin": b"new"}, sequence=8)
    before = snapshot(mounted.root)
    fsync = os.fsync

    def fail(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").readlink().parent == mounted.root / "staging":
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        said = mounted.airgap("mount", newer)
    assert said.code == 1
    assert "Input/output error; what is mounted is as it was" in said.err
    assert snapshot(mounted.root) == before


def test_a_root_that_is_a_file_is_told(host, bundle, tmp_path):
    (tmp_path / "file").write_text("")
    said = host.airgap("mount", bundle, "--root", tmp_path / "file")
    assert said.code in {1, 3}
    assert str(tmp_path / "file") in said.err
    assert "Traceback" not in said.err
    assert (tmp_path / "file").read_text() == ""
