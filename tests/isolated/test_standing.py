"""What is mounted, against today's policy: warned long before, serves on, unless it says stop."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from airgap.errors import OutdatedError, UntrustedError
from runtime import generation, standing

EXPIRES = "2097-01-01T00:00:00Z"
END = datetime(2097, 1, 1, tzinfo=UTC)


@pytest.fixture
def ward(host, write):
    """A host with a bundle that expires, mounted in time."""
    said = host.airgap("mount", write("ward", expires=EXPIRES))
    assert said.code == 0, said.err
    return host


def warnings(host, now):
    with generation.current(host.root, None) as mounted:
        return standing.warnings(mounted, host.root, now)


def stop(host):
    policy = host.root / "trust" / "policy.yaml"
    policy.write_text(policy.read_text().replace("expired: serve", "expired: stop"))


def revoke(host, person):
    said = host.airgap("trust", "revoke", person.keys[0].public.key_id, "--reason", "stolen")
    assert said.code == 0, said.err


SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (END - timedelta(days=90) - SECOND, []),
        (END - timedelta(days=90), [f"'ward-1.0.0' expires on {EXPIRES}, in 90 days"]),
        (END - timedelta(days=1), [f"'ward-1.0.0' expires on {EXPIRES}, in 1 day"]),
        (END, [f"'ward-1.0.0' expires on {EXPIRES}, in less than a day"]),
        (
            END + SECOND,
            [f"'ward-1.0.0' expired on {EXPIRES}, and serves on until a newer one is mounted"],
        ),
    ],
)
def test_expiry_is_told_from_90_days_before(ward, now, told):
    assert warnings(ward, now) == told


def test_without_expiry_nothing_is_told(mounted):
    assert warnings(mounted, datetime(2099, 1, 1, tzinfo=UTC)) == []


def test_days_left(ward, bundle):
    with generation.current(ward.root, None) as one:
        assert standing.days_left(one, END - timedelta(days=3)) == 3
        assert standing.days_left(one, END + timedelta(days=3)) == -3
    assert ward.airgap("mount", bundle, "--allow-older", "for the test").code == 0
    with generation.current(ward.root, None) as one:
        assert standing.days_left(one, END) is None


def test_the_verdict_of_verify_and_of_standing_turn_at_the_same_second(ward, monkeypatch, write):
    stop(ward)
    again = write("again", expires=EXPIRES)
    for now, code in ((END, 0), (END + SECOND, 3)):
        monkeypatch.setattr("airgap.accepted.clock", lambda now=now: now)
        assert ward.airgap("verify", again).code == code
        if code:
            with pytest.raises(OutdatedError):
                warnings(ward, now)
        else:
            assert warnings(ward, now)


def test_a_clock_that_was_set_back_does_not_calm_down(ward):
    record = json.loads(ward.record.read_bytes())
    ward.record.write_text(
        json.dumps(record | {"newest": "2097-02-01T00:00:00Z"}, indent=2, sort_keys=True) + "\n"
    )
    assert "expired on" in warnings(ward, datetime(2020, 1, 1, tzinfo=UTC))[0]


def test_after_a_revocation_it_serves_on_and_says_so(ward, alice, write):
    revoke(ward, alice)
    (told,) = warnings(ward, datetime(2026, 1, 1, tzinfo=UTC))
    assert told.startswith("'ward-1.0.0' would not be mounted today, and serves on: ")
    assert ": stolen" in told
    assert ward.airgap("mount", write("next", sequence=8)).code == 3


def test_a_name_that_is_accepted_no_more_is_told(ward):
    policy = ward.root / "trust" / "policy.yaml"
    policy.write_text(policy.read_text().replace("- '*'", "- clinic"))
    (told,) = warnings(ward, datetime(2026, 1, 1, tzinfo=UTC))
    assert "bundles named 'ward' are not accepted" in told


@pytest.mark.parametrize("lost", ["policy", "record"])
def test_lost_state_does_not_stop_a_hospital_and_is_told(ward, lost):
    {"policy": ward.root / "trust" / "policy.yaml", "record": ward.record}[lost].unlink()
    (told,) = warnings(ward, END)
    assert told.startswith("whether 'ward-1.0.0' is still trusted is unknown: ")


def test_stop_refuses_what_expired(ward):
    stop(ward)
    with pytest.raises(OutdatedError, match="this host's policy says `expired: stop`") as caught:
        warnings(ward, END + SECOND)
    assert (caught.value.rule, caught.value.exit_code) == ("expiry", 3)
    assert caught.value.hint == "airgap mount, with a newer bundle"


def test_stop_refuses_what_was_revoked(ward, alice):
    stop(ward)
    revoke(ward, alice)
    with pytest.raises(UntrustedError, match=": stolen") as caught:
        warnings(ward, datetime(2026, 1, 1, tzinfo=UTC))
    assert caught.value.rule == "policy.threshold"


def transcribe(host, tmp_path):
    (tmp_path / "talk.wav").write_bytes(b"RIFF")
    return in_a_process(tmp_path, "transcribe", tmp_path / "talk.wav")


def in_a_process(tmp_path, *arguments):
    """In a process of its own: it leaves the network for good."""
    return subprocess.run(
        [sys.executable, "-m", "airgap", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.heavy
def test_stop_refuses_to_transcribe(mounted, alice, tmp_path):
    stop(mounted)
    revoke(mounted, alice)
    said = transcribe(mounted, tmp_path)
    assert (said.returncode, said.stdout) == (3, "")
    assert "error: the trust store" in said.stderr
    assert "rule: policy.threshold" in said.stderr


@pytest.mark.heavy
def test_serve_warns_and_goes_on(mounted, alice, tmp_path):
    """Past the warning it fails at the made-up model, which is not this test's subject."""
    revoke(mounted, alice)
    said = transcribe(mounted, tmp_path)
    assert said.returncode != 3
    assert "warning: 'ward-1.0.0' would not be mounted today, and serves on" in said.stderr


@pytest.mark.heavy
def test_stop_refuses_to_start_a_server(mounted, alice, tmp_path):
    stop(mounted)
    revoke(mounted, alice)
    said = in_a_process(tmp_path, "serve", "--port", "0")
    assert said.returncode == 3
    assert "policy.threshold" in said.stderr
    assert "Model loaded" not in said.stderr


@pytest.mark.heavy
def test_a_server_warns_and_goes_on(mounted, alice, tmp_path):
    """Past the warning it fails at the made-up model, which is not this test's subject."""
    revoke(mounted, alice)
    said = in_a_process(tmp_path, "serve", "--port", "0")
    assert said.returncode != 3
    assert "would not be mounted today, and serves on" in said.stderr
