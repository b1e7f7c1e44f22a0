"""`airgap` alone: on a host, how it is; elsewhere, how to begin."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("typed", [(), ("status",)])
def test_a_host_tells_how_it_is(mounted, typed):
    said = mounted.airgap(*typed)
    assert said.code == 0, said.err
    code = mounted.airgap("status", "--json").document["mounts"][0]["approval_code"]
    for told in ("ward-1.0.0", "generation     1", code, "alice", "expires        never", "free"):
        assert told in said.out
    assert "audit log: 4 events, unbroken, checked now" in said.out


def test_nothing_mounted_says_how_to_begin(host):
    said = host.airgap()
    assert said.code == 0
    assert said.out.startswith("airgap carries speech models across an air gap")
    for verb in ("keygen", "build", "carry", "trust init", "mount", "serve"):
        assert f"  airgap {verb}" in said.out
    assert "not installed" not in said.out
    assert "nothing is mounted" in host.airgap("status").out


def test_days_left_and_warnings(host, write):
    mounted = host.airgap("mount", write(expires="2020-01-01T00:00:00Z"), "--clock-wrong", "test")
    assert mounted.code == 0
    said = host.airgap("status", "--json")
    (one,) = said.document["mounts"]
    assert one["days_left"] < -2000
    assert "expired on" in one["warnings"][0]
    policy = host.root / "trust" / "policy.yaml"
    policy.write_text(policy.read_text().replace("expired: serve", "expired: stop"))
    assert "warning: not served:" in host.airgap("status").err


def test_a_broken_log_is_told(mounted):
    log = mounted.root / "audit" / "log.jsonl"
    log.write_text(log.read_text().replace('"alice"', '"mallet"', 1))
    said = mounted.airgap("status", "--json").document
    assert said["audit"]["sound"] is False
    assert "broke at line" in said["audit"]["found"]


def test_a_damaged_mount_does_not_hide_the_rest(mounted, write):
    assert mounted.airgap("mount", write("other", title="clinic")).code == 0
    (mounted.current.resolve() / "manifest.json").unlink()
    said = mounted.airgap("status")
    assert said.code == 1
    assert "clinic-1.0.0" in said.out
    assert "audit log:" in said.out
