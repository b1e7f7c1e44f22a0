"""No packet leaves: counted by the kernel, on the only way out that the server's host has."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.heavy

# In a network namespace of its own: loopback, and one interface with a default route, which
# takes every packet and counts it. IPv6 is off on it, for the kernel makes announcements there.
HOST = """
set -e
ip link set lo up
ip link add way-out type veth peer name far-end
for end in way-out far-end; do
    echo 1 > /proc/sys/net/ipv6/conf/$end/disable_ipv6
done
ip link set far-end up
ip address add 192.0.2.1/24 dev way-out
ip link set way-out up
ip route add default via 192.0.2.2 dev way-out
ip neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev way-out
exec "$@"
"""

COUNTS = """
import json, re, socket, subprocess, sys, time, urllib.request
from pathlib import Path

root, recording, log = sys.argv[1:]

def packets():
    lines = Path("/proc/self/net/dev").read_text().splitlines()
    (line,) = (line for line in lines if line.strip().startswith("way-out:"))
    return int(line.partition(":")[2].split()[9])


before = packets()
server = subprocess.Popen(
    [sys.executable, "-m", "airgap", "serve", "--root", root, "--port", "8000"],
    stdout=subprocess.DEVNULL, stderr=open(log, "wb"),
)
while '"event": "ready"' not in Path(log).read_text():
    assert server.poll() is None, Path(log).read_text()
    time.sleep(0.1)
answered = [
    subprocess.run(
        ["curl", "-sS", "http://127.0.0.1:8000/v1/audio/transcriptions",
         "-F", f"file=@{recording}", "-F", "model=whisper-1", "-F", f"response_format={form}"],
        check=True, capture_output=True, text=True,
    ).stdout
    for form in ("json", "verbose_json", "vtt")
]
urllib.request.urlopen("http://127.0.0.1:8000/docs").close()
server.terminate()
code = server.wait(30)
served = packets() - before

# The count can fail: one packet of the test's own is seen.
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    control.sendto(b"x", ("203.0.113.1", 53))
print(json.dumps({"answers": answered, "code": code, "served": served,
                  "control": packets() - before - served}))
"""


def test_no_packet_leaves_the_host(
    site: Any, jfk: Path, foreign: Callable[[str], str], tmp_path: Path
) -> None:
    foreign("ip")  # HOST and COUNTS call these two by name
    foreign("curl")
    enter = [foreign("unshare"), "--user", "--map-root-user", "--net", "--mount"]
    if subprocess.run([*enter, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this kernel gives no user namespace")
    program = [sys.executable, "-c", COUNTS, site.place.root, jfk, tmp_path / "log"]
    done = subprocess.run(
        [*enter, "sh", "-c", HOST, "sh", *map(str, program)],
        cwd=site.place.folder,
        env=site.place.environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    counted = json.loads(done.stdout)
    assert all("country" in answer for answer in counted["answers"])
    assert (counted["served"], counted["control"], counted["code"]) == (0, 1, 0)
    assert "Running in OFFLINE mode: no network: seccomp filter" in (tmp_path / "log").read_text()
