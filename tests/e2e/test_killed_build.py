"""A build that dies or finds no space: the folder is whole or not there, and the next one works."""

from __future__ import annotations

import hashlib
import re
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.heavy


def bundle_in(out):
    return out / "demo-1.0.0" / "demo-1.0.0.tar.zst"


@pytest.fixture
def builder(demo_site, tmp_path):
    """The demo's builder, building into a folder of this test."""

    def command(*more):
        place = demo_site.place
        options = ["--key", "alice", "--passphrase-file", str(place.passphrase)]
        return [sys.executable, "-m", "airgap", "build", "demo", *options, *more]

    return command


def test_sigkill_leaves_a_whole_bundle_or_none(builder, demo_site, demo_files, tmp_path):
    out = tmp_path / "out"
    growing = out / ".demo-1.0.0.building" / "demo-1.0.0.tar.zst"
    killed = 0
    for wanted in (0, 1, 20_000_000, 45_000_000, 68_000_000, 70_600_000):
        build = subprocess.Popen(
            builder("--out", str(out)),
            env=demo_site.place.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        restarted = not growing.exists()
        while build.poll() is None:
            size = growing.stat().st_size if growing.exists() else -1
            restarted = restarted or size <= 0 or size < wanted
            if restarted and size >= wanted:
                build.send_signal(signal.SIGKILL)
                break
            time.sleep(0.001)
        killed += build.wait() == -signal.SIGKILL
        if build.returncode == 0:
            break
        assert not (out / "demo-1.0.0").exists()
    assert killed >= 4
    if not bundle_in(out).exists():
        done = subprocess.run(
            builder("--out", str(out)), env=demo_site.place.environment(), check=False
        )
        assert done.returncode == 0
    assert [path.name for path in out.iterdir()] == ["demo-1.0.0"]
    assert bundle_in(out).read_bytes()[65536:] == demo_site.bundle.read_bytes()[65536:]
    for path in demo_files.values():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


def test_a_file_size_limit_ends_the_build_and_leaves_nothing(builder, demo_site, tmp_path):
    out = tmp_path / "out"
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 20000; exec "$@"', "-", *builder("--out", str(out))],
        env=demo_site.place.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(out.iterdir()) == []


def test_a_disk_too_small_is_refused_before_anything_is_written(builder, demo_site, tmp_path):
    script = """
    mount -t tmpfs -o size=40m tmpfs /mnt || exit 77
    "$@" --out /mnt
    code=$?
    ls -A /mnt
    exit $code
    """
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script, "-", *builder()],
        env=demo_site.place.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip("needs a mount namespace: run as root")
    assert done.returncode == 1
    assert re.search(r"not enough space in '/mnt': the bundle may need 78\.\d MB", done.stderr)
    assert "next: free some space, or build with --out elsewhere" in done.stderr
    assert done.stdout == ""
