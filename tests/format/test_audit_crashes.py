"""The audit log under SIGKILL, a full disk and many processes: it stays valid, and loses nothing.

Everything runs in processes of its own, so that a fork copies no test runner.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap

import pytest

from airgap.audit import AuditLog
from airgap.audit_chain import CHECKPOINT_EVERY
from airgap.audit_line import CANCEL, torn_facts
from airgap.errors import AirgapError

PRELUDE = """
import os, random, resource, signal, sys, time
from pathlib import Path
from airgap import audit
from airgap.audit import AuditLog
from airgap.errors import AirgapError
from airgap.host_key import HostKey

root = Path(sys.argv[1])
log = AuditLog.of(root)

def at_once(count, work):
    # Forks so many children, lets them go at the same moment, and waits for all.
    reading, writing = os.pipe()
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)  # returns when the parent closes the other end
            work(number)
            os._exit(0)
        children.append(child)
    os.close(writing)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0, child
"""


def run(root, body):
    """Run a program in a process of its own; returns what it printed."""
    program = PRELUDE + textwrap.dedent(body)
    done = subprocess.run(
        [sys.executable, "-c", program, str(root)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def log(tmp_path):
    return AuditLog.of(tmp_path)


def events(log):
    return [line.event for line, _raw in log.lines(100_000)]


def test_cut_at_every_byte(log):
    """Whatever part of a write a crash left, the next event cancels it and the chain holds."""
    log.append("verify")
    start = log.path.stat().st_size
    log.append("mount", bundle="ward-1.0.0")
    whole = log.path.read_bytes()
    for cut in range(start, len(whole)):
        log.path.write_bytes(whole[:cut])
        verdict = log.verify()
        assert verdict.defect is None
        assert (verdict.events, verdict.unfinished) == (2, cut - start)
        log.append("rollback")
        verdict = log.verify()
        assert verdict.defect is None
        if cut == start:
            assert events(log) == ["checkpoint", "verify", "rollback"]
            continue
        assert events(log) == ["checkpoint", "verify", "recovered", "checkpoint", "rollback"]
        assert verdict.recovered == (3,)
        assert verdict.covered == 3
        assert log.lines(3)[0][0].facts == torn_facts(whole[start:cut])
        assert log.path.read_bytes().startswith(whole[:cut] + CANCEL), "something was taken away"


def test_the_very_first_write_cut(log):
    log.append("verify")
    whole = log.path.read_bytes()
    for cut in (1, 100, whole.index(b"\n")):
        log.path.write_bytes(whole[:cut])
        log.append("mount")
        assert log.verify().defect is None
        assert events(log) == ["recovered", "checkpoint", "mount"]


def test_a_recovery_cut_in_its_turn(log):
    log.append("verify")
    before = log.path.read_bytes()
    log.path.write_bytes(before + b'{"event":"mou')
    log.append("rollback")
    whole = log.path.read_bytes()
    torn = before + b'{"event":"mou'
    borders = [at + more for at, byte in enumerate(whole) if byte == 10 for more in (0, 1)]
    for cut in sorted({*range(len(torn), len(whole), 5), *borders[4:]}):
        log.path.write_bytes(whole[:cut])
        assert log.verify().defect is None, cut
        log.append("mount")
        verdict = log.verify()
        assert verdict.defect is None, (cut, verdict.defect)
        assert events(log)[-1] == "mount"
        assert events(log).count("recovered") in {1, 2}


@pytest.mark.parametrize("events_before", range(CHECKPOINT_EVERY - 5, CHECKPOINT_EVERY + 2))
def test_a_recovery_where_a_checkpoint_is_due(log, events_before):
    """The numbers at which checkpoints stand hold, whatever comes just before them."""
    for _ in range(events_before):
        log.append("verify")
    with log.path.open("ab") as stream:
        stream.write(b'{"event":"mou')
    log.append("rollback")
    log.append("mount")
    assert log.verify().defect is None
    assert events(log).count("recovered") == 1


def test_a_cancelled_write_that_was_changed(log):
    log.append("verify")
    before = log.path.stat().st_size
    with log.path.open("ab") as stream:
        stream.write(b'{"event":"mount"')
    log.append("rollback")
    good = log.path.read_bytes()
    for bad in (
        good[:before] + b"[" + good[before + 1 :],
        good[:before] + good[before + 5 :],
        good.replace(CANCEL, b""),
        good.replace(CANCEL, CANCEL * 2),
        good[:before] + good[good.index(CANCEL) + 1 :],
    ):
        log.path.write_bytes(bad)
        defect = log.verify().defect
        assert defect is not None
        assert (defect.line, defect.rule) == (3, "audit.line")


def test_a_tail_that_no_crash_of_ours_leaves(log):
    log.append("verify")
    with log.path.open("ab") as stream:
        stream.write(b"x" * 200_000)
    before = log.path.read_bytes()
    with pytest.raises(AirgapError, match="without the end of a line"):
        log.append("verify")
    assert log.path.read_bytes() == before


@pytest.mark.parametrize("room", [0, 1, 100, 200])
def test_a_full_disk(log, room):
    """The file may not grow any further: like a full disk, the write ends in the middle."""
    log.append("verify")
    before = log.path.read_bytes()
    said = run(
        log.root,
        f"""
        limit = log.path.stat().st_size + {room}
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            log.append("mount")
        except AirgapError as error:
            print(error.message)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        """,
    )
    assert (f"the disk took {room} of" if room else "cannot write the audit log") in said
    assert len(log.path.read_bytes()) == len(before) + room
    verdict = log.verify()
    assert (verdict.defect, verdict.events, verdict.unfinished) == (None, 2, room)
    log.append("rollback")
    assert log.verify().defect is None
    assert "mount" not in events(log)
    assert ("recovered" in events(log)) is bool(room)


def test_a_disk_that_is_full_at_first_use(log):
    said = run(
        log.root,
        """
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        try:
            log.append("mount")
        except AirgapError as error:
            print(error.message)
        """,
    )
    assert "cannot write the host key" in said
    assert [path.name for path in log.path.parent.iterdir()] == ["log.jsonl"]
    assert log.path.stat().st_size == 0
    log.append("verify")
    assert log.verify().defect is None


def test_the_first_use_of_eight_processes(log):
    """One key, one log, eight events."""
    said = run(
        log.root,
        """
        def work(number):
            key = HostKey.of(root).public.key_id
            log.append("verify", number=number, key=key)

        at_once(8, work)
        """,
    )
    assert said == ""
    recorded = [line.facts for line, _raw in log.lines(8)]
    assert sorted(facts["number"] for facts in recorded) == list(range(8))
    verdict = log.verify()
    assert (verdict.defect, verdict.events) == (None, 9)
    assert {facts["key"] for facts in recorded} == {verdict.key}
    assert sorted(path.name for path in log.path.parent.iterdir()) == [
        "host.key",
        "host.pub",
        "log.jsonl",
    ]


def test_two_processes_write_two_hundred_events_each(log):
    run(
        log.root,
        """
        def work(number):
            for step in range(200):
                log.append("verify", who=number, step=step)

        at_once(2, work)
        """,
    )
    assert log.verify().defect is None
    recorded = [line.facts for line, _raw in log.lines(1000) if line.event == "verify"]
    for who in range(2):
        steps = [facts["step"] for facts in recorded if facts["who"] == who]
        assert steps == list(range(200))


@pytest.mark.heavy
@pytest.mark.parametrize("slowly", [False, True])
def test_a_hundred_kills(log, slowly):
    """Killed at any moment, the log holds, and has every event that was acknowledged.

    `slowly`: the kernel takes a small write whole, so a crash in the middle of a line is rare;
    here a line is written in pieces, and the kill comes between them.
    """
    run(
        log.root,
        f"""
        def in_pieces(descriptor, data, write=os.write):
            for at in range(0, len(data), 37):
                write(descriptor, data[at : at + 37])
                time.sleep(0.0003)
            return len(data)

        acknowledged = 0
        for kill in range(100):
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                if {slowly}:
                    audit.os = type("os", (), {{**vars(os), "write": staticmethod(in_pieces)}})
                while True:
                    acknowledged += 1
                    log.append("verify", number=acknowledged)
                    os.write(writing, b"%10d" % acknowledged)
            os.close(writing)
            for _ in range(random.randint(1, 3)):  # however slow this machine is
                acknowledged = int(os.read(reading, 10))
            time.sleep(random.uniform(0, 0.003))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            while said := os.read(reading, 10):
                acknowledged = int(said)
            os.close(reading)
            verdict = log.verify()
            assert verdict.defect is None, verdict
            lines = [one for one, _raw in log.lines(10_000) if one and one.event == "verify"]
            last = lines[-1].facts["number"]
            assert acknowledged <= last <= acknowledged + 1, (acknowledged, last)
            acknowledged = last
        """,
    )
    log.append("mount")
    verdict = log.verify()
    assert verdict.defect is None
    numbers = [line.facts["number"] for line, _ in log.lines(100_000) if line.event == "verify"]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 100
    if slowly:
        assert verdict.recovered, "no kill came in the middle of a line"


def test_an_event_is_durable_before_append_returns(log):
    """The file is fsynced after the last write to it, and the folder of a new log too."""
    trace = run(
        log.root,
        """
        import json
        calls = []

        def told(name, real):
            def call(*arguments):
                calls.append([name, os.readlink(f"/proc/self/fd/{arguments[0]}")])
                return real(*arguments)
            return call

        os.write, os.fsync = told("write", os.write), told("fsync", os.fsync)
        log.append("verify")
        os.write, os.fsync = os.write, os.fsync
        sys.stdout.write(json.dumps(calls))
        """,
    )
    path = str(log.path)
    about = [name for name, file in json.loads(trace) if file == path]
    assert about == ["write", "fsync"]
    assert json.loads(trace)[-1] == ["fsync", os.path.dirname(path)]  # noqa: PTH120 - a string


def test_who_reads_does_not_see_half_a_line(log):
    """A reader asks for the size between two writes; what grows meanwhile is not judged."""
    log.append("verify")
    said = run(
        log.root,
        """
        import fcntl
        descriptor = os.open(log.path, os.O_RDWR | os.O_APPEND)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        os.write(descriptor, b'{"half')
        child = os.fork()
        if child == 0:
            verdict = log.verify()
            print(verdict.events, verdict.unfinished, verdict.defect, flush=True)
            os._exit(0)
        time.sleep(0.2)
        os.ftruncate(descriptor, size)
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing is not enough: the child has it too
        assert os.waitpid(child, 0)[1] == 0
        """,
    )
    assert said.split() == ["2", "0", "None"]


def test_the_limits_of_this_process_are_untouched():
    """The full disk above was that of another process."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN
