"""SIGKILL at random moments of every command that changes a host: what is found is always whole."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import textwrap

import pytest

from runtime import generation, lineage

pytestmark = pytest.mark.heavy

KILLS = 200
LONGEST = 0.05
"""Seconds after the first sign of life until the signal; a command takes about as long."""

READY = textwrap.dedent("""
    import sys
    from airgap import cli
    from runtime import gc, mend, mount, rollback, unmount
    from runtime.verbs import mounted
    print("ready", flush=True)
    sys.exit(cli.run(sys.argv[1:]))
""")
"""The command, which tells when its imports are done: they take ten times as long as its work."""


@pytest.fixture
def bundles(write, contents):
    """Three versions of one bundle, and another bundle, small enough for 200 rounds."""
    small = {path: content[:3000] for path, content in contents.items()}
    made = [
        write(
            f"v{number}",
            contents={**small, "samples/own.bin": bytes([number]) * 3000},
            version=f"1.{number}.0",
            sequence=number,
        )
        for number in (1, 2, 3)
    ]
    return [*made, write("other", contents=small, title="clinic")]


def killed(seconds, *arguments):
    """Run a command and kill it so long after its imports; whether the kill came in time."""
    process = subprocess.Popen(
        [sys.executable, "-c", READY, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    return process.wait() == -signal.SIGKILL


def broken(host, unsound):
    """What may never be seen, whatever was killed."""
    wrong = unsound(host.root, staged=True)
    accepted = json.loads(host.record.read_bytes())["bundles"]
    for name in generation.mounted(host.root):
        served, numbers = lineage.survey(host.root, name)
        if served not in numbers:
            wrong.append(f"{name}: current leads to {served}, of {numbers}")
        for number in numbers:
            with generation.numbered(host.root, name, number) as one:
                wrong += [
                    f"{name} {number}: {file.path} is missing"
                    for file in one.manifest.files
                    if not (one.folder.path / file.path).is_file()
                ]
    highest = accepted.get("ward", {"sequence": 0})["sequence"]
    if highest not in range(4):
        wrong.append(f"sequence {highest} was never mounted")
    return wrong


def test_two_hundred_kills(host, bundles, unsound):
    chance = random.Random(8)  # noqa: S311 - no secret
    assert host.airgap("mount", bundles[0]).code == 0
    commands = [
        *[("mount", bundle, "--allow-older", "for the test") for bundle in bundles],
        *[("rollback", "ward")] * 2,
        ("gc", "--yes", "--keep", "0"),
        ("gc", "--yes"),
        ("unmount", "ward", "--yes"),
        ("repair", "--mounted", bundles[0]),
    ]
    highest, in_time = 0, 0
    for _round in range(KILLS):
        in_time += killed(chance.uniform(0, LONGEST), *chance.choice(commands))
        assert broken(host, unsound) == []
        now = json.loads(host.record.read_bytes())["bundles"]["ward"]["sequence"]
        assert now >= highest  # nothing that was accepted is forgotten
        highest = now
    assert in_time > KILLS // 3
    for bundle in bundles:
        assert host.airgap("mount", bundle, "--allow-older", "for the test").code == 0
    assert host.airgap("gc", "--yes", "--keep", "0").code == 0
    assert unsound(host.root) == []
    assert host.airgap("gc").out == "nothing to remove\n"
    assert [one["version"] for one in host.airgap("list", "--json").document["mounts"]] == [
        "1.0.0",
        "1.3.0",
    ]


def test_commands_at_once_wait_for_each_other(host, bundles, unsound):
    """Mounts, rollbacks and collections from many processes: each works on a whole root."""
    assert host.airgap("mount", bundles[0]).code == 0
    assert host.airgap("mount", bundles[1]).code == 0
    commands = [
        ("mount", bundles[2]),
        ("mount", bundles[3]),
        ("rollback", "ward", "--to", "1"),
        ("gc", "--yes"),
        ("mount", bundles[2]),
        ("gc", "--yes"),
        ("verify", "--mounted"),
    ]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "airgap", *map(str, command)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    for command, process in zip(commands, running, strict=True):
        _out, err = process.communicate()
        gone = command[0] == "rollback" and process.returncode == 2  # collected, or current
        assert process.returncode == 0 or gone, err
    assert unsound(host.root) == []
    assert generation.mounted(host.root) == ["clinic", "ward"]
