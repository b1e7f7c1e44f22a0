"""`airgap trust`: who is trusted changes by paper, by a quorum, and never without a record."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from airgap import keys, signing
from airgap.envelope import Envelope
from airgap.errors import AirgapError
from airgap.rotation import Rotation
from airgap.trust import TrustStore


def events(host, last=50):
    said = host.airgap("audit", "show", "--last", str(last), "--json")
    return [(one["event"], one["facts"]) for one in said.document["events"]]


def policy_of(host):
    return TrustStore(host.root / "trust").load()


@pytest.fixture
def public(tmp_path):
    """Writes someone's public keys; returns the file, and the number on their paper."""

    def public(person):
        path = tmp_path / f"{person.name}.pem"
        path.write_text("".join(key.public.pem for key in person.keys))
        return path, keys.fingerprint(key.public for key in person.keys)

    return public


# --- by paper -----------------------------------------------------------------------------------


def test_a_key_is_added_by_the_number_on_paper(host, public, bob):
    path, number = public(bob)
    paper = " ".join(number[at : at + 4].upper() for at in range(0, 64, 4))
    limits = ("--role", "bundle", "--accept", "ward-*", "--expires", "2027-01-31T00:00:00Z")
    said = host.airgap("trust", "add", path, "--signer", "bob", "--fingerprint", paper, *limits)
    assert said.code == 0, said.err
    assert said.out == "'bob' is trusted; must sign with ecdsa-p384, ed25519\n"
    signer = policy_of(host).signers["bob"]
    assert signer.bundles == ("ward-*",)
    assert {key.roles for key in signer.keys.values()} == {("bundle",)}
    assert {key.expires for key in signer.keys.values()} == {"2027-01-31T00:00:00Z"}
    event, facts = events(host)[-1]
    assert (event, facts["signer"], facts["roles"]) == ("trust-add", "bob", ["bundle"])
    assert facts["keys"] == [key.public.key_id for key in bob.keys]


def test_a_wrong_number_adds_nothing_and_is_recorded(host, public, bob, alice, snapshot):
    path, _number = public(bob)
    _path, other = public(alice)
    before = snapshot(host.root)
    said = host.airgap("trust", "add", path, "--signer", "bob", "--fingerprint", other)
    assert said.code == 3
    assert "nothing was added" in said.err
    assert "from paper that the signer gave you" in said.err
    assert snapshot(host.root) == before
    event, facts = events(host)[-1]
    assert (event, facts["action"], facts["rule"]) == ("refusal", "trust-add", "trust.fingerprint")


@pytest.mark.parametrize(
    ("options", "saying"),
    [
        (["--role", "root"], "'root' is no role: expected bundle, trust, receipt, attestation"),
        (["--expires", "soon"], "--expires 'soon': expected a time as 2027-01-31T00:00:00Z"),
        (["--expires", "2027-02-30T00:00:00Z"], "expected a time"),
        (["--accept", ""], "--accept: expected a name or a pattern, found nothing"),
        (["--signer", "Bob Smith"], "'Bob Smith' cannot name a signer"),
    ],
)
def test_what_no_policy_can_hold_is_not_added(host, public, bob, snapshot, options, *, saying):
    path, number = public(bob)
    before = snapshot(host.root)
    signer = [] if "--signer" in options else ["--signer", "bob"]
    said = host.airgap("trust", "add", path, "--fingerprint", number, *signer, *options)
    assert said.code == 2
    assert saying in said.err
    assert snapshot(host.root) == before


def test_a_host_without_a_store_gets_no_folder(host, public, bob, tmp_path):
    path, number = public(bob)
    away = ("--root", str(tmp_path / "away"))
    who = ("--signer", "bob", "--fingerprint", number)
    for verb in (("add", path, *who), ("list",), ("check",), ("show",), ("rotate", path)):
        said = host.airgap("trust", *verb, *away)
        assert said.code == 3
        assert "no trust store in" in said.err
        assert "airgap trust init" in said.err
    assert not (tmp_path / "away").exists()


def test_init_with_an_empty_name_starts_nothing(host, tmp_path):
    said = host.airgap("trust", "init", "--accept", "", "--root", str(tmp_path / "new"))
    assert said.code == 2
    assert "--accept: expected a name or a pattern" in said.err
    assert not (tmp_path / "new").exists()


def test_init_is_the_first_event_of_the_record(host):
    event, facts = events(host)[1]  # after the host key's first signature
    assert event == "trust-init"
    assert facts == {"folder": str(host.root / "trust"), "threshold": 1}


# --- revocation ---------------------------------------------------------------------------------


def test_a_revoked_key_is_told_whole_everywhere(mounted, alice, write):
    key_id = alice.keys[0].public.key_id
    said = mounted.airgap(
        "trust", "revoke", key_id[:8].upper(), "--reason", "laptop stolen", "--json"
    )
    assert said.code == 0, said.err
    assert said.document["key"] == key_id
    event, facts = events(mounted)[-1]
    assert event == "trust-revoke"
    assert facts == {"key": key_id, "signer": "alice", "reason": "laptop stolen"}
    assert f"{key_id}  bundle, trust, revoked: laptop stolen" in mounted.airgap("trust", "list").out
    refused = mounted.airgap("mount", write("next", sequence=8), "--json")
    assert (refused.code, refused.document["rule"]) == (3, "policy.threshold")
    assert ": laptop stolen" in refused.document["message"]
    assert mounted.airgap("list").code == 0  # what is mounted stays


@pytest.mark.parametrize("reason", ["", "  ", "\udcff"])
def test_a_reason_that_no_policy_can_hold_changes_nothing(host, alice, snapshot, reason):
    """Written, it would make the trust store unreadable, and stop every mount."""
    before = snapshot(host.root)
    said = host.airgap("trust", "revoke", alice.keys[0].public.key_id, "--reason", reason)
    assert said.code == 2
    assert snapshot(host.root) == before
    assert host.airgap("trust", "list").code == 0


@pytest.mark.parametrize("reason", ["quoted: 'it' # no comment", "Schlüssel verloren", "a\nb", "7"])
def test_any_other_reason_is_kept_as_it_is(host, alice, reason):
    key_id = alice.keys[0].public.key_id
    assert host.airgap("trust", "revoke", key_id, "--reason", reason).code == 0
    assert policy_of(host).revoked[key_id].reason == reason


@pytest.mark.parametrize("key", ["", "abcdefg", "0" * 64, "xyz"])
def test_a_key_that_is_not_one_is_not_revoked(host, snapshot, key):
    before = snapshot(host.root)
    said = host.airgap("trust", "revoke", key, "--reason", "x")
    assert said.code == 2
    assert "expected the first 8 or more digits of one key's id" in said.err
    assert snapshot(host.root) == before


def test_when_and_why_a_key_was_revoked_stays(host, alice, snapshot):
    key_id = alice.keys[0].public.key_id
    assert host.airgap("trust", "revoke", key_id, "--reason", "laptop stolen").code == 0
    before = snapshot(host.root)
    said = host.airgap("trust", "revoke", key_id, "--reason", "a mistake")
    assert said.code == 2
    assert "was revoked on 20" in said.err
    assert "already: laptop stolen" in said.err
    assert snapshot(host.root) == before


def test_a_revoked_key_does_not_come_back(host, alice, public, snapshot):
    path, number = public(alice)
    assert host.airgap("trust", "revoke", alice.keys[0].public.key_id, "--reason", "x").code == 0
    before = snapshot(host.root)
    said = host.airgap("trust", "add", path, "--signer", "alice", "--fingerprint", number)
    assert said.code == 2
    assert "was revoked, and stays so" in said.err
    assert snapshot(host.root) == before


# --- rotation -----------------------------------------------------------------------------------


@pytest.fixture
def carol(host, tmp_path):
    """Trusted here, with her keys in the key folder."""
    assert host.airgap("keygen", "carol", "--unencrypted").code == 0
    paths = sorted((tmp_path / "keys").glob("carol.*.pub"))
    found = [key for one in paths for key in keys.load_public_keys(one.read_bytes(), "x")]
    who = ("--signer", "carol", "--fingerprint", keys.fingerprint(found))
    assert host.airgap("trust", "add", *paths, *who).code == 0
    return found


@pytest.fixture
def rotation(host, tmp_path):
    """Makes a rotation by the command, from an edited copy of the host's trust store."""

    def rotation(*edits, version=2):
        edited = tmp_path / "new-trust"
        shutil.copytree(host.root / "trust", edited)
        text = (edited / "policy.yaml").read_text()
        for old, new in (("version: 1", f"version: {version}"), *edits):
            assert old in text
            text = text.replace(old, new)
        (edited / "policy.yaml").write_text(text)
        path = tmp_path / "policy.rotation"
        said = host.airgap("trust", "rotate", "--make", path, "--from", edited)
        assert said.code == 0, said.err
        assert "by a quorum of the old and of the new" in said.err
        return path

    return rotation


def test_a_rotation_from_the_copy_to_the_host(host, carol, rotation):
    path = rotation(("threshold: 1", "threshold: 1\n# reviewed in May"), ("- '*'", "- ward-*"))
    assert host.airgap("trust", "rotate", path).code == 3  # nobody has signed it yet
    signed = host.airgap("sign", path, "--key", "carol")
    assert signed.code == 0, signed.err
    assert list(path.parent.glob("SIGNERS.txt")) == []  # papers are for bundles
    said = host.airgap("trust", "rotate", path, "--json")
    assert said.code == 0, said.err
    assert said.document["version"] == 2
    assert "# reviewed in May" in (host.root / "trust" / "policy.yaml").read_text()
    assert policy_of(host).bundles == ("ward-*",)
    recorded = [event for event, _facts in events(host)]
    assert recorded[-2:] == ["refusal", "trust-rotate"]
    again = host.airgap("trust", "rotate", path, "--json")
    assert (again.code, again.document["rule"]) == (3, "rotation.version")


def test_a_refused_rotation_changes_nothing_and_is_recorded(host, rotation, bob, snapshot):
    path = rotation()
    envelope = Envelope.from_json(path.read_bytes())
    path.write_bytes(signing.sign(envelope, bob.keys).to_json())
    before = snapshot(host.root)
    said = host.airgap("trust", "rotate", path, "--json")
    assert (said.code, said.document["rule"]) == (3, "policy.threshold")
    assert snapshot(host.root) == before
    event, facts = events(host)[-1]
    assert (event, facts["action"]) == ("refusal", "trust-rotate")
    assert facts["bundle"] == "policy.rotation"


def test_a_rotation_signed_elsewhere_with_openssl_alone(host, rotation, tmp_path, foreign):
    """An HSM or a second air-gapped machine: the key never meets this tool."""
    openssl = foreign("openssl")

    def run(*arguments):
        done = subprocess.run([openssl, *map(str, arguments)], capture_output=True, check=True)
        return done.stdout

    key, pub = tmp_path / "hsm.pem", tmp_path / "hsm.pub"
    run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-out", key)
    run("pkey", "-in", key, "-pubout", "-out", pub)
    (found,) = keys.load_public_keys(pub.read_bytes(), "x")
    who = ("--signer", "hsm", "--fingerprint", found.key_id)
    assert host.airgap("trust", "add", pub, *who).code == 0
    path, message, signature = rotation(), tmp_path / "x.pae", tmp_path / "x.sig"
    assert host.airgap("sign", path, "--export", message).code == 0
    assert message.read_bytes() == Envelope.from_json(path.read_bytes()).message
    signature.write_bytes(run("dgst", "-sha384", "-sign", key, message))
    said = host.airgap("sign", path, "--import", signature, "--public-key", pub)
    assert said.code == 0, said.err
    assert host.airgap("trust", "rotate", path).code == 0
    assert policy_of(host).version == 2


def test_an_expired_key_is_not_revived_by_a_clock_set_back(
    host, carol, rotation, monkeypatch, snapshot
):
    path = rotation()
    assert host.airgap("sign", path, "--key", "carol").code == 0
    policy = host.root / "trust" / "policy.yaml"
    until = "        - trust\n        expires: '2026-04-01T00:00:00Z'\n"
    policy.write_text(policy.read_text().replace("        - trust\n", until))
    record = json.loads(host.record.read_bytes()) | {"newest": "2026-05-01T00:00:00Z"}
    host.record.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    monkeypatch.setattr("airgap.accepted.clock", lambda: datetime(2026, 1, 1, tzinfo=UTC))
    before = snapshot(host.root)
    said = host.airgap("trust", "rotate", path, "--json")
    assert said.code == 3, said.err
    assert "a key that expired on 2026-04-01" in said.document["message"]
    assert snapshot(host.root) == before


def test_a_rotation_that_is_there_is_not_overwritten(host, carol, rotation, tmp_path):
    """It may carry signatures already."""
    path = rotation()
    assert host.airgap("sign", path, "--key", "carol").code == 0
    before = path.read_bytes()
    said = host.airgap("trust", "rotate", "--make", path, "--from", tmp_path / "new-trust")
    assert said.code == 2
    assert "is there already, perhaps with signatures" in said.err
    assert path.read_bytes() == before


@pytest.mark.parametrize("what", ["bundle", "receipt", "rotation of rubbish"])
def test_sign_signs_only_what_it_understands(mounted, bundle, carol, tmp_path, what):
    path = tmp_path / "x.json"
    if what == "receipt":
        (receipt,) = (mounted.root / "receipts").iterdir()
        path.write_bytes(receipt.read_bytes())
    else:
        statement = Envelope.from_head(bundle.read_bytes()[: 64 * 1024]).statement
        if what != "bundle":
            statement = Rotation(b"threshold: 1\n", {}).to_bytes()
        path.write_bytes(Envelope(statement, ()).to_json())
    before = path.read_bytes()
    said = mounted.airgap("sign", path, "--key", "carol", "--json")
    assert said.code == (2 if what == "rotation of rubbish" else 3)
    assert said.document["rule"] == (None if what == "rotation of rubbish" else "rotation.form")
    assert path.read_bytes() == before


@pytest.mark.parametrize("given", [[], ["x", "--make", "y"], ["--make", "x"], ["--from", "x"]])
def test_rotate_wants_one_thing(host, given):
    said = host.airgap("trust", "rotate", *given)
    assert said.code == 2
    assert "expected a rotation to apply, or --make FILE with --from FOLDER" in said.err


# --- looking ------------------------------------------------------------------------------------


def test_show_prints_the_file(host):
    said = host.airgap("trust", "show")
    assert said.out == (host.root / "trust" / "policy.yaml").read_text()
    assert said.err == f"{host.root / 'trust' / 'policy.yaml'}:\n"


def test_check_warns_with_0_and_stops_with_3(host, bob):
    said = host.airgap("trust", "check", "--json")
    assert said.code == 0
    assert said.document["warnings"] == [
        "no signer can be missed and none has a spare key: one lost key stops mounts"
    ]
    host.trust(bob)
    said = host.airgap("trust", "check")
    assert (said.code, said.err) == (0, "")
    assert said.out.endswith(": 2 signer(s), 0 warning(s)\n")
    for one in bob.keys[0], policy_of(host).signers["alice"].keys:
        key_id = min(one) if isinstance(one, dict) else one.public.key_id
        assert host.airgap("trust", "revoke", key_id, "--reason", "x").code == 0
    said = host.airgap("trust", "check")
    assert said.code == 3
    assert "1 signer(s) must sign, and able to are: none" in said.err


# --- precedence ---------------------------------------------------------------------------------


@pytest.fixture
def system(tmp_path, monkeypatch):
    """The system's trust store, at a place that a test may write."""
    folder = tmp_path / "etc" / "trust"
    folder.parent.mkdir()
    monkeypatch.setattr("airgap.trust.SYSTEM_TRUST", folder)
    return folder


def test_the_systems_store_excludes_every_other(host, bundle, system, monkeypatch, tmp_path):
    """One that trusts nobody: no variable, root or key gets a bundle past it."""
    TrustStore(system).create(1, ("*",))
    monkeypatch.setenv("AIRGAP_TRUST", str(host.root / "trust"))
    for options in ([], ["--root", str(host.root)]):
        said = host.airgap("verify", bundle, *options, "--json")
        assert (said.code, said.document["rule"]) == (3, "policy.threshold")
        assert f"the trust store '{system}'" in said.document["message"]
    public = next((host.root / "trust" / "keys").iterdir())
    for options in (["--key", public], ["--key", public, "--receipt", tmp_path / "x"]):
        said = host.airgap("verify", bundle, *options)
        assert said.code == 2
        assert "decides alone on this host, and --key is not asked" in said.err


@pytest.mark.parametrize("kind", ["empty folder", "broken link", "file"])
def test_a_systems_store_that_is_broken_hands_nothing_over(host, bundle, system, kind):
    if kind == "empty folder":
        system.mkdir()
    elif kind == "file":
        system.write_text("")
    else:
        system.symlink_to(system.parent / "nowhere")
    said = host.airgap("verify", bundle)
    assert said.code == 3
    assert f"no trust store in '{system}'" in said.err


def test_the_variable_comes_before_the_root(host, bundle, tmp_path, monkeypatch):
    TrustStore(tmp_path / "other").create(1, ("*",))
    monkeypatch.setenv("AIRGAP_TRUST", str(tmp_path / "other"))
    said = host.airgap("verify", bundle, "--root", str(host.root))
    assert said.code == 3
    assert f"the trust store '{tmp_path / 'other'}'" in said.err


# --- a record that cannot be written ------------------------------------------------------------


@pytest.fixture
def full(monkeypatch):
    """The audit log's disk is full."""

    def append(_self, _event, /, **_facts):
        raise AirgapError("cannot write the audit log: No space left on device", hint="free some")

    monkeypatch.setattr("airgap.audit.AuditLog.append", append)


def test_a_mount_that_is_not_recorded_says_so(host, bundle, full):
    said = host.airgap("mount", bundle, "--json")
    assert said.code == 1
    assert said.document["message"] == (
        "'ward-1.0.0' is mounted; but that is not recorded on this host: cannot write the audit "
        "log: No space left on device"
    )
    assert host.airgap("list", "--json").document["mounts"][0]["version"] == "1.0.0"


def test_a_change_of_trust_that_is_not_recorded_says_so(host, alice, full):
    key_id = alice.keys[0].public.key_id
    said = host.airgap("trust", "revoke", key_id, "--reason", "lost", "--json")
    assert said.code == 1
    assert said.document["message"].startswith(
        f"key {key_id[:16]} of 'alice' counts for nothing from now on; but that is not in the "
        "audit log: "
    )
    assert key_id in policy_of(host).revoked


def test_a_refusal_that_is_not_recorded_is_a_refusal(host, write, bob, full):
    said = host.airgap("mount", write("x", people=[bob]))
    assert said.code == 3
    assert "warning: the refusal is not in the audit log: " in said.err
    assert "rule: policy.threshold" in said.err


# Run as root, a process gives up its right over other people's modes first (CAP_DAC_OVERRIDE,
# CAP_DAC_READ_SEARCH out of the bounding set, PR_CAPBSET_DROP): then 0444 means what it says.
WITHOUT_RIGHTS = """
import ctypes, os, sys
if os.geteuid() == 0:
    for capability in (1, 2):
        assert ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) == 0
os.execv(sys.executable, [sys.executable, "-m", "airgap", *sys.argv[1:]])
"""


@pytest.fixture
def readable(mounted):
    """The host's root, which may only be read; runs the command."""
    for path in (mounted.root, *mounted.root.rglob("*")):
        if not path.is_symlink() and path.name != "host.key":
            path.chmod(0o555 if path.is_dir() else 0o444)

    def airgap(*arguments):
        return subprocess.run(
            [sys.executable, "-c", WITHOUT_RIGHTS, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
        )

    yield airgap
    for path in (mounted.root, *mounted.root.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)


def test_who_may_only_read_can_verify_and_is_told_that_nothing_was_recorded(
    mounted, readable, bundle, snapshot
):
    log = mounted.root / "audit" / "log.jsonl"
    before = snapshot(mounted.root), log.read_bytes()
    said = readable("verify", bundle)
    assert said.returncode == 0, said.stderr
    assert "ward-1.0.0: verified" in said.stdout
    assert "receipt" not in said.stdout
    assert "warning: that it was verified is not recorded on this host: cannot " in said.stderr
    assert (snapshot(mounted.root), log.read_bytes()) == before


def test_who_may_only_read_overrides_nothing(readable, write):
    said = readable("verify", write("older", sequence=6), "--allow-older", "x")
    assert said.returncode == 1, said.stderr
    assert "cannot write the audit log" in said.stderr
    assert "verified" not in said.stdout


def test_who_may_only_read_is_refused_all_the_same(readable, write, bob):
    said = readable("verify", write("bobs", people=[bob]))
    assert said.returncode == 3
    assert "warning: the refusal is not in the audit log: " in said.stderr
