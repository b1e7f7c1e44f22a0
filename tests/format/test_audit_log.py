"""The audit log: what is appended can be read back, and what was changed is found where it is."""

import base64
import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap import audit, host_key, limits
from airgap.audit import EVENTS, AuditLog
from airgap.audit_chain import CHECKPOINT_EVERY, BrokenLogError, lines_of, walk
from airgap.audit_line import FACT_CHARACTERS, FACT_ITEMS, GENESIS, AuditLine, LineError
from airgap.checkpoint import Checkpoint
from airgap.errors import AirgapError, UsageError
from airgap.host_key import HostKey

FACTS = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True),
    st.text(st.characters(), max_size=40)  # lone surrogates too: names of files can have them
    | st.integers(-(10**14), 1 << 60)
    | st.lists(st.text(max_size=20), max_size=5),
    max_size=5,
)


@pytest.fixture
def log(tmp_path):
    return AuditLog.of(tmp_path)


def raw_lines(log):
    return log.path.read_bytes().splitlines(keepends=True)


def forge(log, lines):
    """Write lines as somebody would who has no host key, numbers, chain and sums set right."""
    head, fixed = GENESIS, []
    for n, line in enumerate(lines, start=1):
        fixed.append(replace(line, n=n, prev=head))
        head = fixed[-1].sha256
    log.path.write_bytes(b"".join(line.to_bytes() for line in fixed))


def defect_of(log):
    verdict = log.verify()
    assert verdict.defect is not None, "the change was not found"
    with pytest.raises(BrokenLogError) as caught:
        verdict.require_sound("it")
    assert caught.value.exit_code == 3
    assert caught.value.rule == verdict.defect.rule
    assert f"broke at line {verdict.defect.line}" in caught.value.message
    return verdict.defect


def test_the_first_event(log):
    log.append("mount", bundle="ward-1.0.0", sequence=7, signers=["alice", "bob"])
    first, second = raw_lines(log)
    assert json.loads(first)["event"] == "checkpoint"
    value = json.loads(second)
    assert value["facts"] == {"bundle": "ward-1.0.0", "sequence": 7, "signers": ["alice", "bob"]}
    assert (value["n"], value["event"]) == (2, "mount")
    assert value["prev"] == hashlib.sha256(first).hexdigest()
    verdict = log.verify()
    assert (verdict.events, verdict.covered, verdict.defect) == (2, 0, None)
    assert verdict.key == HostKey.of(log.root).public.key_id


def test_what_lies_on_disk(log):
    old = os.umask(0o022)
    try:
        log.append("verify")
    finally:
        os.umask(old)
    folder = log.path.parent
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"log.jsonl": 0o640, "host.key": 0o600, "host.pub": 0o644}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750


def test_a_line_is_checked_with_other_tools(log):
    """`sed -n 1p log.jsonl | sha256sum` is what line 2 calls `prev`."""
    log.append("verify")
    first = subprocess.run(["sed", "-n", "1p", log.path], capture_output=True, check=True).stdout
    done = subprocess.run(["sha256sum"], input=first, capture_output=True, check=True)
    assert done.stdout.decode()[:64] == json.loads(raw_lines(log)[1])["prev"]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(EVENTS), FACTS), min_size=1, max_size=8))
def test_whatever_is_recorded_holds(events):
    with tempfile.TemporaryDirectory() as folder:
        log = AuditLog.of(Path(folder))
        for event, facts in events:
            log.append(event, **facts)
        verdict = log.verify()
        assert verdict.defect is None
        assert verdict.events == len(events) + 1
        shown = [line for line, _raw in log.lines(len(events))]
        assert [line.event for line in shown] == [event for event, _facts in events]
        for line, (_event, facts) in zip(shown, events, strict=True):
            assert line.facts == {
                key: str(value) if type(value) is int and abs(value) > limits.INTEGER else value
                for key, value in facts.items()
            }


@settings(deadline=None)
@given(
    n=st.integers(1, 1 << 53),
    time=st.datetimes(datetime(1970, 1, 1), datetime(2500, 1, 1)),  # noqa: DTZ001 - hypothesis wants them so
    event=st.sampled_from([*EVENTS, "checkpoint"]),
    facts=FACTS.filter(
        lambda facts: all(type(v) is not int or abs(v) <= limits.INTEGER for v in facts.values())
    ),
    prev=st.binary(min_size=32, max_size=32).map(bytes.hex),
)
def test_a_line_round_trips(n, time, event, facts, prev):
    moment = time.replace(tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    line = AuditLine(n, moment, event, facts, prev)
    assert AuditLine.parse(line.to_bytes()) == line
    assert line.to_bytes().count(b"\n") == 1


def test_control_characters_stay_in_their_line(log):
    log.append("refusal", message='evil\n{"n":3}\x1b[2J\u202e\x18\x00')
    assert len(raw_lines(log)) == 2
    assert all(32 <= byte < 127 for byte in raw_lines(log)[1].rstrip(b"\n"))
    assert log.lines(1)[0][0].facts["message"] == 'evil\n{"n":3}\x1b[2J\u202e\x18\x00'
    assert log.verify().defect is None


def test_what_is_too_long_is_cut_and_says_so(log):
    """A refusal must not be lost because a hostile name made it long."""
    log.append("refusal", message="😀" * 100_000, names=["x" * 1000] * 1000)
    facts = log.lines(1)[0][0].facts
    assert facts["message"] == "😀" * FACT_CHARACTERS + "… (100000 characters)"
    assert len(facts["names"]) == FACT_ITEMS + 1
    assert facts["names"][-1] == "… (1000 items)"
    assert log.verify().defect is None


def test_a_flag_is_recorded_as_a_number(log):
    log.append("verify", deep=True)
    assert log.lines(1)[0][0].facts == {"deep": 1}
    assert log.verify().defect is None


@pytest.mark.parametrize("event", ["checkpoint", "recovered", "coffee", ""])
def test_events_that_callers_do_not_record(log, event):
    with pytest.raises(UsageError, match="is no event that is recorded"):
        log.append(event)
    assert not log.path.exists()


@pytest.mark.parametrize("facts", [{"Upper": 1}, {"x": 1.5}, {"x": None}, {"x": {"y": "z"}}])
def test_facts_that_would_not_be_read_back(log, facts):
    log.append("verify")
    before = log.path.read_bytes()
    with pytest.raises(UsageError, match="cannot be recorded"):
        log.append("verify", **facts)
    assert log.path.read_bytes() == before


def test_a_fact_list_that_is_too_much_altogether(log):
    log.append("verify")
    before = log.path.read_bytes()
    lists = {f"list{i}": ["\U0001f600" * 512] * 32 for i in range(4)}
    with pytest.raises(UsageError, match="cannot be recorded: its"):
        log.append("verify", **lists)
    assert log.path.read_bytes() == before


def test_checkpoints_come_at_their_numbers(log):
    for _ in range(2 * CHECKPOINT_EVERY + 1):
        log.append("verify")
    where = [line.n for line, _raw in log.lines(1000) if line.event == "checkpoint"]
    assert where == [1, CHECKPOINT_EVERY + 1, 2 * CHECKPOINT_EVERY + 1]
    verdict = log.verify()
    assert verdict.defect is None
    assert verdict.covered == 2 * CHECKPOINT_EVERY


def test_every_flipped_bit_is_found_in_its_line(log):
    for number in range(3):
        log.append("verify", bundle=f"ward-{number}", signers=["alice"])
    good = log.path.read_bytes()
    key = host_key.public_key(log.root)
    for at in range(len(good)):
        for bit in (0, 5):
            bad = bytearray(good)
            bad[at] ^= 1 << bit
            verdict = walk(lines_of(io.BytesIO(bad), len(bad)), key)
            line = good[:at].count(b"\n") + 1
            if verdict.defect is None:  # the very last newline: an unfinished write, as it looks
                assert at == len(good) - 1
                assert verdict.events == 3
                assert verdict.unfinished
            else:
                assert verdict.defect.line == line, (at, bit, verdict.defect)


@pytest.mark.parametrize("at", range(5))
def test_a_removed_line(log, at):
    for _ in range(5):
        log.append("verify")
    lines = raw_lines(log)
    log.path.write_bytes(b"".join(lines[:at] + lines[at + 1 :]))
    defect = defect_of(log)
    assert (defect.line, defect.rule) == (at + 1, "audit.number")
    assert (defect.expected, defect.found) == (f"event {at + 1}", f"event {at + 2}")


@pytest.mark.parametrize("at", range(1, 6))
def test_a_line_that_is_there_twice(log, at):
    for _ in range(5):
        log.append("verify")
    lines = raw_lines(log)
    log.path.write_bytes(b"".join(lines[:at] + lines[at - 1 :]))
    assert (defect_of(log).line, defect_of(log).rule) == (at + 1, "audit.number")


def test_two_lines_that_changed_places(log):
    for _ in range(5):
        log.append("verify")
    lines = raw_lines(log)
    lines[2], lines[3] = lines[3], lines[2]
    log.path.write_bytes(b"".join(lines))
    assert (defect_of(log).line, defect_of(log).rule) == (3, "audit.number")


def test_a_changed_line_with_its_sum_set_right(log):
    for _ in range(4):
        log.append("verify", bundle="good")
    lines = raw_lines(log)
    changed = replace(AuditLine.parse(lines[2]), facts={"bundle": "evil"})
    log.path.write_bytes(b"".join([*lines[:2], changed.to_bytes(), *lines[3:]]))
    defect = defect_of(log)
    assert (defect.line, defect.rule) == (4, "audit.chain")
    assert changed.sha256 == defect.found
    assert "the line before" in defect.expected


def test_the_whole_chain_redone_without_the_key(log):
    """Numbers, chain and sums all right: the checkpoint's signature is over something else."""
    for number in range(CHECKPOINT_EVERY + 2):
        log.append("verify", number=number)
    lines = [AuditLine.parse(raw) for raw in raw_lines(log)]
    lines[10] = replace(lines[10], facts={"number": 999})
    forge(log, lines)
    defect = defect_of(log)
    assert (defect.line, defect.rule) == (CHECKPOINT_EVERY + 1, "audit.checkpoint")
    assert "its signature is bad" in defect.found


def test_a_checkpoint_left_out_of_a_chain_redone(log):
    for number in range(CHECKPOINT_EVERY + 2):
        log.append("verify", number=number)
    lines = [AuditLine.parse(raw) for raw in raw_lines(log)]
    forge(log, [line for line in lines if line.n != CHECKPOINT_EVERY + 1])
    defect = defect_of(log)
    assert (defect.line, defect.rule) == (CHECKPOINT_EVERY + 1, "audit.checkpoint")
    assert (defect.expected, defect.found) == ("a checkpoint", "the event 'verify'")


def test_a_log_begun_without_a_checkpoint(log):
    log.append("verify")
    forge(log, [AuditLine.parse(raw_lines(log)[1])])
    assert (defect_of(log).line, defect_of(log).rule) == (1, "audit.checkpoint")


def test_a_checkpoint_of_another_host(log, tmp_path):
    other = AuditLog.of(tmp_path / "other")
    for one in (log, other):
        one.append("verify")
    log.path.write_bytes(other.path.read_bytes())
    defect = defect_of(log)
    assert (defect.line, defect.rule) == (1, "audit.checkpoint")
    assert HostKey.of(other.root).public.key_id[:16] in defect.found


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: {},
        lambda facts: {**facts, "more": 1},
        lambda facts: {**facts, "signature": "!"},
        lambda facts: {**facts, "signature": facts["signature"][:-3] + "B=="},  # a spare bit
        lambda facts: {**facts, "signature": base64.b64encode(b"x" * 64).decode()},
        lambda facts: {**facts, "key": "0" * 64},
    ],
)
def test_a_checkpoint_that_is_none(log, change):
    log.append("verify")
    lines = [AuditLine.parse(raw) for raw in raw_lines(log)]
    lines[0] = replace(lines[0], facts=change(lines[0].facts))
    forge(log, lines)
    assert (defect_of(log).line, defect_of(log).rule) == (1, "audit.checkpoint")


def test_a_checkpoint_moved_in_time(log):
    log.append("verify")
    lines = [AuditLine.parse(raw) for raw in raw_lines(log)]
    lines[0] = replace(lines[0], time="2020-01-01T00:00:00Z")
    forge(log, lines)
    assert defect_of(log).rule == "audit.checkpoint"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\n", "no event: Expecting value"),
        (b"[]\n", "expected an object"),
        (b"{}\n", "'event' is missing"),
        (b"\xff\n", "it is not UTF-8"),
        (b"\x00" * 50 + b"\n", "no event"),
        (b"{} \x18{}\n", "'event' is missing"),
        (b"x" * (1 << 19), "more than 262144 bytes without an end"),
    ],
)
def test_a_line_that_is_no_event(log, content, why):
    log.append("verify")
    with log.path.open("ab") as stream:
        stream.write(content + b"more\n")
    defect = defect_of(log)
    assert (defect.line, defect.rule) == (3, "audit.line")
    assert why in defect.found


def test_other_forms_of_the_same_json(log):
    log.append("verify")
    raw = raw_lines(log)[1]
    for other in (b" " + raw, raw.replace(b":", b": "), raw[:-1] + b"\r\n", b"\x18" + raw):
        with pytest.raises(LineError):
            AuditLine.parse(other)


def test_nothing_is_chained_to_a_damaged_line(log):
    log.append("verify")
    log.path.write_bytes(log.path.read_bytes().replace(b'"verify"', b'"mount_"'))
    before = log.path.read_bytes()
    with pytest.raises(BrokenLogError, match="its last line is damaged") as caught:
        log.append("mount")
    assert caught.value.rule == "audit.end"
    assert "the next event begins a new log" in caught.value.hint
    assert log.path.read_bytes() == before
    log.path.rename(log.path.with_name("evidence"))
    log.append("mount")
    assert log.verify().defect is None


def test_a_missing_log_is_said(log):
    HostKey.of(log.root)
    for use in (log.verify, lambda: log.lines(5)):
        with pytest.raises(AirgapError, match="nothing was recorded here, or it was removed"):
            use()


def test_without_a_public_key_nothing_is_judged(log):
    log.append("verify")
    (log.path.parent / "host.pub").unlink()
    with pytest.raises(AirgapError, match="this host has no key yet, or lost it"):
        log.verify()


@pytest.mark.parametrize("planted", ["log.jsonl", "host.key", "host.pub"])
def test_planted_links_are_not_followed(log, planted, tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    log.path.parent.mkdir()
    (log.path.parent / planted).symlink_to(target)
    with pytest.raises(AirgapError, match="symbolic link"):
        log.append("verify")
    assert target.read_bytes() == b"precious"
    assert not log.path.exists() or log.path.stat().st_size == 0 or planted == "log.jsonl"


def test_a_planted_pipe_is_no_log(log):
    log.path.parent.mkdir()
    os.mkfifo(log.path)
    with pytest.raises(AirgapError, match="it is no regular file"):
        log.append("verify")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_log_that_cannot_be_written(log):
    log.append("verify")
    log.path.chmod(0o440)
    with pytest.raises(AirgapError, match="cannot write the audit log"):
        log.append("verify")


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(AirgapError, match="cannot write the audit log"):
        AuditLog.of(tmp_path / "file").append("verify")


def test_the_log_never_reads_itself_whole(log, monkeypatch):
    """Appending reads back no further than the last line needs."""
    for _ in range(3):
        log.append("verify", text="x" * 500)
    read = []
    monkeypatch.setattr(audit.os, "pread", _counting(read, os.pread))
    with log.path.open("ab") as stream:
        stream.write(raw_lines(log)[-1] * 4000)  # 3 MB, which nobody judges here
    log.append("verify")
    assert sum(read) <= 2 * 256 * 1024


def _counting(read, pread):
    def counting(*arguments):
        found = pread(*arguments)
        read.append(len(found))
        return found

    return counting


def test_signing_of_bundles_is_not_within_reach():
    """Whoever can verify and mount must not be able to sign a bundle."""
    code = (
        "import sys, airgap.audit, airgap.receipt, airgap.verbs.audit;"
        "sys.exit('airgap.signing' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_checkpoint_round_trips():
    checkpoint = Checkpoint(64, "a" * 64, "2026-01-02T03:04:05Z")
    assert Checkpoint.parse(checkpoint.statement()) == checkpoint
