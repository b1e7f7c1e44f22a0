"""The isolated side where there is no network at all, and a foreign witness where there is one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.heavy


def test_the_whole_isolated_side_in_an_empty_network(demo_site, jfk, empty_network, tmp_path):
    """As real commands, in one namespace with no interface up, no HOME and no download cache."""
    stick = tmp_path / "stick"
    shutil.copytree(demo_site.bundle.parent, stick)
    for path in demo_site.place.keys.glob("*.pub"):
        shutil.copyfile(path, stick / path.name)
    home = tmp_path / "home"
    home.mkdir()
    airgap = f"{sys.executable} -m airgap"
    script = f"""
    set -e -x
    test "$(ls /sys/class/net 2>/dev/null | grep -v '^lo$' | wc -l)" = 0 || ip -o link
    ! (exec 3<>/dev/tcp/192.0.2.1/443) 2>/dev/null
    {airgap} trust init
    {airgap} trust add alice.*.pub --signer alice --fingerprint '{demo_site.fingerprint}'
    {airgap} verify demo-1.0.0.tar.zst --deep
    {airgap} mount demo-1.0.0.tar.zst
    {airgap} list --json > list.json
    {airgap} transcribe '{jfk}' > transcript.txt
    """
    done = subprocess.run(
        [*empty_network, "bash", "-c", script],
        cwd=stick,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "HOME": str(home),
            "AIRGAP_ROOT": str(tmp_path / "root"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "demo-1.0.0: verified and mounted" in done.stdout
    assert "Running in OFFLINE mode" in done.stderr
    assert "Model loaded successfully: tiny.en from demo-1.0.0" in done.stderr
    assert "ask what you can do for your country" in (stick / "transcript.txt").read_text()
    (mount,) = json.loads((stick / "list.json").read_text())["mounts"]
    assert mount["name"] == "demo"
    assert list(home.rglob("*")) == []


INTERNET = re.compile(r"\b(connect|sendto|sendmsg|sendmmsg)\(.*AF_INET")
ANY_SOCKET = re.compile(r"\bsocket\((AF_INET|AF_INET6|AF_NETLINK|AF_PACKET|AF_VSOCK)")


def test_strace_sees_no_way_to_a_network_after_it_was_left(demo_host, jfk, strace, tmp_path):
    """What the guard tries before it says OFFLINE are its own escapes; afterwards is silence."""
    log = tmp_path / "strace.log"
    done = subprocess.run(
        [
            *(strace, "-f", "-o", str(log), "-e", "signal=none"),
            *("-e", "trace=%network,io_uring_setup,write"),
            *(sys.executable, "-m", "airgap", "transcribe", str(jfk)),
        ],
        env=demo_host.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ask what you can do for your country" in done.stdout.replace("\n", " ")
    lines = log.read_text(errors="replace").splitlines()
    (left,) = (number for number, line in enumerate(lines) if '"Running in OFFLINE mode' in line)
    before, after = lines[:left], lines[left + 1 :]
    assert any(INTERNET.search(line) for line in before)  # the witness does see attempts
    assert any("Model loaded successfully" in line for line in after)
    assert [line for line in after if INTERNET.search(line) or ANY_SOCKET.search(line)] == []
    assert [line for line in after if "io_uring_setup" in line] == []
    reached = [line for line in before if INTERNET.search(line) and line.endswith("= 0")]
    assert all('sin_addr=inet_addr("127.0.0.1")' in line for line in reached)


@pytest.mark.parametrize("verb", ["verify", "mount", "list"])
def test_strace_sees_no_socket_in_the_other_verbs(make_host, demo_site, strace, tmp_path, verb):
    host, log = make_host(), tmp_path / "strace.log"
    given = [] if verb == "list" else [str(demo_site.bundle)]
    done = subprocess.run(
        [
            *(strace, "-f", "-o", str(log), "-e", "trace=%network", "-e", "signal=none"),
            *(sys.executable, "-m", "airgap", verb, *given),
        ],
        env=host.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in log.read_text().splitlines() if "socket(" in line] == []
