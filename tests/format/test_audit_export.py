"""Against an export that was taken away, a log that was cut or rewritten is found."""

import subprocess
from dataclasses import replace

import pytest

from airgap.audit import AuditLog
from airgap.audit_chain import CHECKPOINT_EVERY, BrokenLogError
from airgap.audit_line import GENESIS, AuditLine
from airgap.checkpoint import PREDICATE_TYPE, Checkpoint
from airgap.envelope import Envelope
from airgap.errors import AirgapError, UntrustedError, UsageError
from airgap.host_key import HostKey


@pytest.fixture
def log(tmp_path):
    log = AuditLog.of(tmp_path / "host")
    for number in range(5):
        log.append("verify", number=number)
    return log


@pytest.fixture
def exported(log, tmp_path):
    path = tmp_path / "stick.audit"
    log.export(path)
    return path


def rewrite(log, lines):
    """A chain redone by somebody who even has the host's key."""
    key, head, fixed = HostKey.of(log.root), GENESIS, []
    for n, line in enumerate(lines, start=1):
        facts = Checkpoint(n - 1, head, line.time).facts(key)
        again = replace(line, n=n, prev=head)
        fixed.append(replace(again, facts=facts) if line.event == "checkpoint" else again)
        head = fixed[-1].sha256
    log.path.write_bytes(b"".join(line.to_bytes() for line in fixed))


def parsed(log):
    return [AuditLine.parse(raw) for raw in log.path.read_bytes().splitlines(keepends=True)]


def defect_against(log, exported):
    assert log.verify().defect is None, "found without the export"
    return log.verify_against(exported).defect


def test_what_an_export_is(log, exported):
    """The log's own bytes, and one line with the envelope."""
    *lines, last = exported.read_bytes().splitlines(keepends=True)
    assert log.path.read_bytes().startswith(b"".join(lines))
    envelope = Envelope.from_json(last.removesuffix(b"\n"))
    assert PREDICATE_TYPE.encode() in envelope.statement
    taken = Checkpoint.check(envelope, HostKey.of(log.root).public)
    assert taken.n == len(lines) == 6
    assert taken.head == AuditLine.parse(lines[-1]).sha256


def test_the_export_itself_is_in_the_log(log, exported):
    """Its signature is the one that the log has: all that was exported is signed there too."""
    verdict = log.verify()
    assert (verdict.events, verdict.covered) == (7, 6)
    assert log.lines(1)[0][0].event == "checkpoint"


def test_openssl_checks_an_export(log, exported, tmp_path):
    envelope = Envelope.from_json(exported.read_bytes().splitlines()[-1])
    (tmp_path / "pae").write_bytes(envelope.message)
    (tmp_path / "sig").write_bytes(envelope.signatures[0].value)
    public = log.path.parent / "host.pub"
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin"]
    command += ["-in", tmp_path / "pae", "-sigfile", tmp_path / "sig"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_log_that_went_on(log, exported):
    for _ in range(2 * CHECKPOINT_EVERY):
        log.append("mount")
    verdict = log.verify_against(exported)
    assert verdict.defect is None
    assert verdict.events > 2 * CHECKPOINT_EVERY


def test_a_log_that_stands_as_it_was(log, exported):
    assert log.verify_against(exported).defect is None


@pytest.mark.parametrize("kept", range(1, 6))
def test_a_log_that_was_cut(log, exported, kept):
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join(lines[:kept]))
    defect = defect_against(log, exported)
    assert (defect.line, defect.rule) == (kept + 1, "audit.truncated")
    assert defect.expected.startswith(f"event {kept + 1} of 6, as exported on 20")
    with pytest.raises(BrokenLogError, match="found the end of the log"):
        log.verify_against(exported).require_sound("it")


def test_a_log_that_was_cut_in_a_line(log, exported):
    content = log.path.read_bytes()
    log.path.write_bytes(content[: content.index(b'"number":3')])
    assert (defect_against(log, exported).line, defect_against(log, exported).rule) == (
        5,
        "audit.truncated",
    )


def test_a_log_cut_and_written_on(log, exported):
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join(lines[:3]))
    for _ in range(10):
        log.append("verify")
    defect = defect_against(log, exported)
    assert (defect.line, defect.rule) == (4, "audit.rewritten")


def test_a_log_rewritten_with_the_hosts_own_key(log, exported):
    """Who has the key can sign another past; not one that an export goes on to."""
    lines = parsed(log)
    lines[3] = replace(lines[3], facts={"number": 99})
    rewrite(log, lines)
    defect = defect_against(log, exported)
    assert (defect.line, defect.rule) == (4, "audit.rewritten")


@pytest.mark.parametrize("emptied", [True, False])
def test_a_log_that_is_gone(log, exported, emptied):
    if emptied:
        log.path.write_bytes(b"")
    else:
        log.path.unlink()
    defect = log.verify_against(exported).defect
    assert (defect.line, defect.rule) == (1, "audit.truncated")


def test_a_log_begun_anew(log, exported):
    log.path.unlink()
    for number in range(8):
        log.append("mount", number=number)
    assert defect_against(log, exported).rule == "audit.rewritten"


def test_a_broken_log_breaks_by_itself(log, exported):
    log.path.write_bytes(log.path.read_bytes().replace(b'"number":2', b'"number":7'))
    defect = log.verify_against(exported).defect
    assert (defect.line, defect.rule) == (4, "audit.line")


def test_every_changed_byte_of_an_export(log, exported):
    good = exported.read_bytes()
    for at in range(0, len(good), 3):
        bad = bytearray(good)
        bad[at] ^= 1
        exported.write_bytes(bad)
        with pytest.raises(UntrustedError):
            log.verify_against(exported)


@pytest.mark.parametrize("cut", [0, 1, 100, -1, -2, -700])
def test_an_export_that_was_cut(log, exported, cut):
    exported.write_bytes(exported.read_bytes()[:cut])
    with pytest.raises(UntrustedError, match="is no exported audit log, or was cut") as caught:
        log.verify_against(exported)
    assert caught.value.rule == "export.form"


def test_lines_taken_out_of_an_export(log, exported):
    lines = exported.read_bytes().splitlines(keepends=True)
    exported.write_bytes(b"".join(lines[:-2] + lines[-1:]))
    with pytest.raises(UntrustedError, match="5 events, where 6 others were signed") as caught:
        log.verify_against(exported)
    assert caught.value.rule == "export.lines"


def test_an_export_of_another_host(log, tmp_path):
    other = AuditLog.of(tmp_path / "other")
    other.append("verify")
    other.export(tmp_path / "other.audit")
    with pytest.raises(UntrustedError, match="expected a signature of this host's key") as caught:
        log.verify_against(tmp_path / "other.audit")
    assert caught.value.rule == "checkpoint.key"


def test_an_export_that_is_not_there(log, tmp_path):
    with pytest.raises(AirgapError, match="cannot read"):
        log.verify_against(tmp_path / "missing")


def test_an_older_export_is_never_overwritten(log, exported):
    content, before = exported.read_bytes(), log.path.read_bytes()
    with pytest.raises(UsageError, match="is there already"):
        log.export(exported)
    assert (exported.read_bytes(), log.path.read_bytes()) == (content, before)


def test_a_broken_log_is_not_signed(log, tmp_path):
    """Else the signature would cover the change."""
    log.path.write_bytes(log.path.read_bytes().replace(b'"number":2', b'"number":7'))
    before = log.path.read_bytes()
    with pytest.raises(BrokenLogError, match="broke at line 4"):
        log.export(tmp_path / "new.audit")
    assert log.path.read_bytes() == before
    assert not (tmp_path / "new.audit").exists()


def test_a_log_without_an_event(tmp_path):
    log = AuditLog.of(tmp_path)
    assert log.export(tmp_path / "empty.audit").n == 0
    assert log.verify_against(tmp_path / "empty.audit").defect is None
    log.append("verify")
    assert log.verify_against(tmp_path / "empty.audit").defect is None


def test_a_target_that_cannot_be_written(log, tmp_path):
    with pytest.raises(AirgapError, match="cannot write"):
        log.export(tmp_path / "missing" / "new.audit")
    assert log.verify().defect is None
