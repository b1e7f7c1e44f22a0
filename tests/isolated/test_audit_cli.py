"""`airgap audit`: what an operator sees of the log, and how a changed log ends the command."""

import json
import subprocess

import pytest

from airgap.audit import AuditLog


@pytest.fixture
def root(host, tmp_path, monkeypatch):
    """A root where nothing was recorded yet; the host's own log has begun with its trust."""
    root = tmp_path / "fresh"
    monkeypatch.setenv("AIRGAP_ROOT", str(root))
    return root


@pytest.fixture
def log(root):
    """A log of three events."""
    log = AuditLog.of(root)
    log.append("trust-add", signer="alice", algorithms=["ed25519", "ecdsa-p384"])
    log.append("mount", bundle="ward-1.0.0", sequence=7)
    log.append("refusal", rule="signature.bad", bundle="evil\x1b[2J\nok")
    return log


def test_show(host, log):
    said = host.airgap("audit", "show")
    assert said.code == 0, said.err
    rows = said.out.splitlines()
    assert rows[0].split() == ["n", "time", "event", "facts"]
    assert [row.split()[2] for row in rows[1:]] == ["checkpoint", "trust-add", "mount", "refusal"]
    assert "algorithms=ed25519+ecdsa-p384, signer=alice" in rows[2]
    assert "bundle=ward-1.0.0, sequence=7" in rows[3]


def test_a_hostile_name_does_not_reach_the_terminal(host, log):
    said = host.airgap("audit", "show", "--last", "1")
    assert len(said.out.splitlines()) == 2
    assert r"evil\x1b[2J\nok" in said.out
    assert "\x1b" not in said.out


def test_show_json(host, log):
    shown = host.airgap("audit", "show", "--last", "2", "--json").document
    assert shown["schema"] == "airgap/audit-show/v1"
    assert [one["n"] for one in shown["events"]] == [3, 4]
    assert shown["events"][0]["facts"] == {"bundle": "ward-1.0.0", "sequence": 7}


def test_show_shows_a_damaged_line_as_one(host, log):
    log.path.write_bytes(log.path.read_bytes().replace(b'"mount"', b'"moXnt"'))
    said = host.airgap("audit", "show")
    assert said.code == 0
    assert "bytes that cannot be read" in said.out
    assert "airgap audit verify" in said.err


def test_verify(host, log):
    said = host.airgap("audit", "verify")
    assert said.code == 0, said.err
    assert f"{log.path}: 4 events, unbroken" in said.out
    assert "events after 0 could have been rewritten" in said.err
    document = host.airgap("audit", "verify", "--json").document
    assert (document["events"], document["signed_events"]) == (4, 0)
    assert document["recovered"] == []


def test_verify_tells_of_a_crash(host, log):
    with log.path.open("ab") as stream:
        stream.write(b'{"event":')
    assert "9 bytes that a crash left" in host.airgap("audit", "verify").out
    log.append("serve")
    said = host.airgap("audit", "verify")
    assert said.code == 0
    assert "event 5: a crash had cut a write short" in said.out
    assert "signed         up to event 5" in said.out


def test_a_changed_log(host, log):
    log.path.write_bytes(log.path.read_bytes().replace(b"ward-1.0.0", b"ward-2.0.0"))
    before = log.path.read_bytes()
    said = host.airgap("audit", "verify")
    assert said.code == 3
    assert "broke at line 3: expected event 3" in said.err
    assert "next: keep it as evidence" in said.err
    assert said.out == ""
    failed = host.airgap("audit", "verify", "--json")
    assert (failed.code, failed.document["rule"]) == (3, "audit.line")
    assert log.path.read_bytes() == before


def test_export_and_verify_against(host, log, tmp_path):
    file = tmp_path / "ward-7.audit"
    said = host.airgap("audit", "export", file)
    assert said.code == 0, said.err
    assert "4 events" in said.out
    log.append("serve")
    against = host.airgap("audit", "verify", "--against", file)
    assert against.code == 0, against.err
    assert f"goes on from   '{file}'" in against.out

    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join(lines[:2]))
    assert host.airgap("audit", "verify").code == 0
    cut = host.airgap("audit", "verify", "--against", file)
    assert cut.code == 3
    assert "broke at line 3: expected event 3 of 4, as exported on" in cut.err
    assert cut.out == ""


def test_an_export_is_not_overwritten(host, log, tmp_path):
    file = tmp_path / "ward-7.audit"
    file.write_bytes(b"older")
    said = host.airgap("audit", "export", file)
    assert said.code == 2
    assert file.read_bytes() == b"older"


def test_what_is_no_export(host, log, bundle):
    said = host.airgap("audit", "verify", "--against", bundle)
    assert said.code == 3
    assert "is no exported audit log" in said.err


def test_without_a_log(host, root):
    host.airgap("audit", "key")
    for verb in (["show"], ["verify"]):
        said = host.airgap("audit", *verb)
        assert said.code == 1
        assert "nothing was recorded here, or it was removed" in said.err


def test_key(host, root):
    said = host.airgap("audit", "key")
    assert said.code == 0, said.err
    file, fingerprint = said.out.splitlines()
    assert file == str(root / "audit" / "host.pub")
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", file, "-outform", "DER"],
        capture_output=True,
        check=True,
    ).stdout
    digest = subprocess.run(["sha256sum"], input=der, capture_output=True, check=True).stdout
    assert fingerprint.removeprefix("fingerprint: ").replace(" ", "") == digest.decode()[:64]
    assert "--role receipt" in said.err
    document = host.airgap("audit", "key", "--json").document
    assert document["pem"] == (root / "audit" / "host.pub").read_text()
    assert json.dumps(document).count("PRIVATE") == 0
