"""A mount that dies at any moment: what was mounted stays, the next one works and tidies up."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.heavy


def versions(host):
    return {one["name"]: one["version"] for one in host.airgap("list", "--json").document["mounts"]}


def test_death_at_every_change_to_the_disk(mounted, write, contents, unsound, dying_at):
    changed = {**contents, "README.txt": b"next\n", "samples/new.bin": b"new" * 2_000_000}
    newer = write("newer", contents=changed, version="1.1.0", sequence=8)
    deaths, switched = 0, False
    for call in range(1, 200, 3):
        done = dying_at(call, "mount", newer)
        if done.returncode == 0:
            break
        assert done.returncode == 9, done.stderr
        deaths += 1
        found = versions(mounted)["ward"]
        assert found == "1.1.0" or not switched  # there is no way back
        switched = found == "1.1.0"
        assert unsound(mounted.root, staged=True) == []
    assert deaths > 12
    assert switched or found == "1.0.0"
    assert unsound(mounted.root) == []
    assert versions(mounted) == {"ward": "1.1.0"}
    assert list((mounted.root / "state").glob(".*")) == [] or switched


def test_first_mount_that_dies_leaves_nothing_mounted(host, bundle, unsound, dying_at):
    for call in (1, 3, 9, 15, 20):
        assert dying_at(call, "mount", bundle).returncode == 9
        assert host.airgap("list").out == ""
        assert unsound(host.root, staged=True) == []
    assert host.airgap("mount", bundle).code == 0
    assert unsound(host.root) == []


def test_sigkill_while_blobs_are_written(mounted, write, contents, unsound):
    """Twelve kills, spread over the bytes that were staged; the bundle has 120 MB."""
    chance = random.Random(9)  # noqa: S311 - no secret
    new = {f"samples/{number}.bin": chance.randbytes(30_000_000) for number in range(4)}
    newer = write("newer", contents={**contents, **new}, version="1.1.0", sequence=8)
    before = {blob.name for blob in mounted.blobs()}
    staging = mounted.root / "staging"
    killed = 0
    for moment in range(12):
        wanted = 120_000_000 * moment // 12
        mount = subprocess.Popen(
            [sys.executable, "-m", "airgap", "mount", str(newer)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        swept = False
        while mount.poll() is None:
            staged = 0
            with contextlib.suppress(FileNotFoundError), os.scandir(staging) as entries:
                staged = sum(entry.stat().st_size for entry in entries)
            swept = swept or staged < wanted or moment == 0  # what an earlier kill left is gone
            if swept and staged >= wanted:
                mount.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
        killed += mount.wait() == -signal.SIGKILL
        if mount.returncode == 0:
            break
        assert unsound(mounted.root, staged=True) == []
        assert versions(mounted) == {"ward": "1.0.0"}
        assert {blob.name for blob in mounted.blobs()} == before
    assert killed >= 8
    assert mounted.airgap("mount", newer).code == 0
    assert unsound(mounted.root) == []
    assert versions(mounted) == {"ward": "1.1.0"}
    digests = {hashlib.sha256(content).hexdigest() for content in new.values()}
    assert digests <= {blob.name for blob in mounted.blobs()}


def test_ctrl_c_is_told_and_leaves_nothing(mounted, write, contents, unsound, snapshot):
    new = {"samples/new.bin": os.urandom(9_000_000)}
    newer = write("newer", contents={**contents, **new}, version="1.1.0", sequence=8)
    before = snapshot(mounted.root)
    reading, writing = os.pipe()
    mount = subprocess.Popen(
        [sys.executable, "-m", "airgap", "mount", "-"],
        stdin=reading,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(reading)
    with newer.open("rb") as stream:
        os.write(writing, stream.read(66_000))
        for _piece in range(200):  # a pipe holds 64 KiB: the rest has been taken by the mount
            os.write(writing, stream.read(60_000))
    mount.send_signal(signal.SIGINT)
    os.close(writing)
    _out, err = mount.communicate()
    assert mount.returncode == 130
    assert err == "warning: interrupted; nothing half-written is left\n"
    assert snapshot(mounted.root) == before
    assert unsound(mounted.root) == []


def test_a_second_mount_waits_for_the_first_and_says_so(mounted, bundle):
    import fcntl  # noqa: PLC0415 - it plays the first mount

    with (mounted.root / "lock").open("r+b") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        second = subprocess.Popen(
            [sys.executable, "-m", "airgap", "mount", str(bundle)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        told = second.stderr.readline()
        assert told == f"another command is changing '{mounted.root}'; waiting for it\n"
        assert second.poll() is None
    second.communicate()
    assert second.returncode == 0
