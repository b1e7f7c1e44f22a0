"""SIGKILL at random steps of every command that changes a host: what is found is always whole."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import textwrap
from collections import Counter

import pytest

from runtime import generation, lineage

pytestmark = pytest.mark.heavy

KILLS = 200

COMMANDS = textwrap.dedent("""
    import json, os, signal, sys
    from collections import Counter
    from airgap import cli
    from runtime import gc, mend, mount, rollback, unmount
    from runtime.verbs import mounted

    deadly, taken, tell = None, Counter(), os.write

    def counted(kind, call):
        def step(*given, **more):
            taken[kind] += 1
            if [kind, taken[kind]] == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*given, **more)
        return step

    os.fsync = lambda _descriptor: None  # a kill takes nothing from the kernel, and it is slow
    for name in ("mkdir", "rmdir", "rename", "replace", "link", "symlink", "unlink", "fchmod",
                 "write", "fsync"):
        setattr(os, name, counted(name, getattr(os, name)))

    cli.run(["list"])  # loads the verbs, once for all
    for line in sys.stdin:
        deadly, *arguments = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()  # all is imported: what is killed is the command, not Python's start
        if not child:
            taken.clear()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            code = cli.run(arguments)
            tell(writing, json.dumps(taken).encode())
            os._exit(code)
        os.close(writing)
        told = os.read(reading, 1000)
        os.close(reading)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([status, json.loads(told or "{}")]), flush=True)
""")
"""Runs command after command, each until a step, and tells how it ended and which it took.

A step is a call that changes something on the disk, the n-th of its kind. The kill comes before
it, wherever that is in the command's work, and on a slow machine at the same place.
"""


class Commands:
    """A process that runs commands and kills them."""

    def __init__(self, process):
        self._process = process

    def run(self, arguments, until=None):
        """How a command ended that is killed before a step (None: never), and how many it took."""
        self._process.stdin.write(json.dumps([until, *map(str, arguments)]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@pytest.fixture
def commands(host):
    """Under this test's root, which is `host`'s."""
    with subprocess.Popen(
        [sys.executable, "-c", COMMANDS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        yield Commands(process)
        process.stdin.close()


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


def half_done(host):
    """What a command has under a private name, or staged, for as long as it is at work.

    Receipts are left out: nobody keeps their writers apart, so nobody may sweep behind one.
    """
    staged, receipts = host.root / "staging", host.root / "receipts"
    return sorted(
        path
        for path in host.root.rglob("*")
        if path.parent == staged or (path.name.startswith(".") and path.parent != receipts)
    )


def served(host):
    """The version and the generation that are served under the name that is changed most."""
    if "ward" not in generation.mounted(host.root):
        return None
    with generation.current(host.root, "ward") as one:
        return one.statement.version, one.number


def test_two_hundred_kills(host, commands, bundles, unsound):
    chance = random.Random(8)  # noqa: S311 - no secret
    changes = [
        *[("mount", bundle, "--allow-older", "for the test") for bundle in bundles],
        *[("rollback", "ward")] * 2,
        ("gc", "--yes", "--keep", "0"),
        ("gc", "--yes"),
        ("unmount", "ward", "--yes"),
        ("repair", "--mounted", bundles[0]),
    ]
    steps = {change: Counter() for change in changes}
    for change in [*changes, *changes]:  # how many each has of a kind, where it has most to do
        steps[change] |= Counter(commands.run(change)[1])
    assert commands.run(changes[0])[0] == 0
    highest, killed, interrupted, done, switched = 0, 0, 0, 0, 0
    while killed < KILLS:
        change, left, before = chance.choice(changes), half_done(host), served(host)
        kind = chance.choice(sorted(steps[change]))  # by kind: few are renames, and many writes
        code, _ = commands.run(change, (kind, chance.randint(1, steps[change][kind])))
        killed += code == -signal.SIGKILL
        interrupted += code == -signal.SIGKILL and half_done(host) != left
        done += code == 0
        after = served(host)
        switched += after != before
        assert after == before or change[0] in {"mount", "rollback", "unmount"}
        assert after or not before or change[0] == "unmount"
        assert code in {0, 2, -signal.SIGKILL}  # 2: there is nothing to unmount or to go back to
        assert broken(host, unsound) == []
        now = json.loads(host.record.read_bytes())["bundles"]["ward"]["sequence"]
        assert now >= highest  # nothing that was accepted is forgotten
        highest = now
    # Killed in the midst of it, and not before or after; and enough was done for it to matter.
    assert interrupted > KILLS // 4
    assert done > KILLS // 40
    assert switched > KILLS // 20
    for bundle in bundles:
        assert host.airgap("mount", bundle, "--allow-older", "for the test").code == 0
    assert host.airgap("gc", "--yes", "--keep", "0").code == 0
    assert unsound(host.root) == []
    assert half_done(host) == []
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
