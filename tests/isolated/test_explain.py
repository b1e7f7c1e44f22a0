"""A refusal says which rule, what was expected and found, who could change it, and what is next.

Every rule that a bundle, a key or a rotation can meet is provoked here, by the real command.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import airgap
import runtime
from airgap import limits, signing
from airgap.envelope import Envelope
from airgap.rotation import Rotation
from airgap.trust import TrustStore

HEAD = limits.HEAD_SLOT
TESTS = Path(__file__).parent.parent


def changed(path, at, to=None):
    content = bytearray(path.read_bytes())
    content[at] = content[at] ^ 1 if to is None else to
    path.write_bytes(content)
    return path


def edit(host, old, new):
    policy = host.root / "trust" / "policy.yaml"
    text = policy.read_text()
    assert old in text
    policy.write_text(text.replace(old, new))


def resigned(path, change, person):
    """The bundle with an envelope that `change` made of its own."""
    content = path.read_bytes()
    envelope = change(Envelope.from_head(content[:HEAD]), person)
    path.write_bytes(envelope.to_head() + content[HEAD:])
    return path


def rotation_file(host, tmp_path, person, statement=None):
    path = tmp_path / "policy.rotation"
    made = statement or Rotation.of_store(TrustStore(host.root / "trust")).to_bytes()
    path.write_bytes(signing.sign(Envelope(made, ()), person.keys).to_json())
    return path


def provoke(rule, host, write, tmp_path, alice, bob):  # noqa: C901, PLR0911, PLR0912, PLR0917 - a table
    """Bring a host about to refuse by a rule; returns the command that it refuses."""
    match rule:
        case "head.magic":
            return "verify", changed(write(), 0)
        case "head.form":
            return "verify", changed(write(), HEAD - 1, ord("x"))
        case "signature.bad":
            other = Envelope(b"another statement", ())
            return "verify", resigned(
                write(),
                lambda old, one: replace(signing.sign(other, one.keys), statement=old.statement),
                alice,
            )
        case "signature.incomplete":
            return "verify", resigned(
                write(), lambda old, _one: replace(old, signatures=old.signatures[:1]), alice
            )
        case "policy.threshold":
            return "verify", write(people=[bob])
        case "policy.bundles":
            edit(host, "bundles:\n- '*'", "bundles:\n- clinic-*")
            return "verify", write()
        case "policy.signer-bundles":
            edit(host, "  alice:\n", "  alice:\n    bundles: [clinic]\n")
            return "verify", write()
        case "statement.form":
            return "verify", resigned(
                write(), lambda _old, one: signing.sign(Envelope(b"{}", ()), one.keys), alice
            )
        case "sequence.older":
            assert host.airgap("mount", write("new", sequence=8)).code == 0
            return "mount", write()
        case "sequence.twice":
            assert host.airgap("mount", write("new", version="1.0.1")).code == 0
            return "mount", write()
        case "expiry":
            return "verify", write(expires="2026-01-03T00:00:00Z")
        case "state.missing":
            host.record.unlink()
            return "verify", write()
        case "state.damaged":
            host.record.write_bytes(b"{}")
            return "verify", write()
        case "trust.missing":
            shutil.rmtree(host.root / "trust")
            return "verify", write()
        case "archive.size":
            path = write()
            path.write_bytes(path.read_bytes()[:-1])
            return "verify", path
        case "archive.digest":
            return "verify", changed(write(), HEAD + 40)
        case "frame.digest":
            return "verify", changed(write(), -1)
        case "trust.fingerprint":
            public = tmp_path / "bob.pub"
            public.write_text(bob.keys[0].public.pem)
            return "trust", "add", public, "--signer", "bob", "--fingerprint", "0000"
        case "trust.check":
            edit(host, "threshold: 1", "threshold: 2")
            return "trust", "check"
        case "rotation.form":
            return "trust", "rotate", rotation_file(host, tmp_path, alice, b"{}")
        case "rotation.version":
            return "trust", "rotate", rotation_file(host, tmp_path, alice)
        case "receipt.bundle":
            said = host.airgap("verify", write("first", version="0.9.0"), "--json")
            host_key = host.root / "audit" / "host.pub"
            where = ("--receipt", said.document["receipt"], "--key", host_key)
            return "verify", write(), *where
        case "receipt.key":
            said = host.airgap("verify", (bundle := write()), "--json")
            return "verify", bundle, "--receipt", said.document["receipt"]
    raise AssertionError(rule)


PROVOKED = {
    # rule: expected, found, who could change it
    "head.magic": ("expected a head of 65536 bytes", "found 512a4d18", "who made the copy"),
    "head.form": ("is damaged or forged", "Extra data", "who made the copy"),
    "signature.bad": ("signature of 'alice'", "is not what that key signed", "who signed"),
    "signature.incomplete": ("must sign with all of", "without a valid signature: ", "who signed"),
    "policy.threshold": (
        "wants 1 signer(s) of alice",
        "not known here",
        "keeps this host's policy",
    ),
    "policy.bundles": ("accepted: clinic-*", "bundles named 'ward'", "keeps this host's policy"),
    "policy.signer-bundles": (
        "wants 1 signer(s) who may sign for 'ward'",
        "found: none, and without that right: alice",
        "keeps this host's policy",
    ),
    "statement.form": ("'predicate' is missing", "no statement about a bundle", "who signed"),
    "sequence.older": ("accepted sequence 8", "has sequence 7", "who built the bundle"),
    "sequence.twice": ("like the bundle that this host has", "and is another", "who signed"),
    "expiry": ("expired on 2026-01-03T00:00:00Z", "it is 20", "whoever may override here"),
    "state.missing": ("the record of accepted bundles", "is missing", "keeps this host's policy"),
    "state.damaged": ("'schema' is missing", "is damaged", "keeps this host's policy"),
    "trust.missing": ("no trust store in", "no signature can be trusted", "this host's policy"),
    "archive.size": ("bundle.tar.zst'", "byte", "who made the copy"),
    "archive.digest": ("was signed", "table", "who made the copy"),
    "frame.digest": ("is not what was signed", "frame 2", "who made the copy"),
    "trust.fingerprint": ("is not that of '", "nothing was added", "keeps this host's policy"),
    "trust.check": ("2 signer(s) must sign", "able to are: alice", "keeps this host's policy"),
    "rotation.form": ("'predicate' is missing", "no rotation", "keeps this host's policy"),
    "rotation.version": ("this host has version 1", "brings version 1", "who built the bundle"),
    "receipt.bundle": (
        "the bundle 'ward-1.0.0' has",
        "it is about 'ward-0.9.0'",
        "who handed it to you",
    ),
    "receipt.key": ("enrolled with the role receipt", "found that of ", "who handed it to you"),
}


@pytest.mark.parametrize("rule", PROVOKED)
def test_a_refusal_says_all_that_a_person_needs(
    host, write, tmp_path, alice, bob, *, rule, snapshot
):
    expected, found, authority = PROVOKED[rule]
    command = provoke(rule, host, write, tmp_path, alice, bob)
    before = snapshot(host.root)
    said = host.airgap(*command, "--json")
    assert said.code == 3, said.err
    document = said.document
    assert document["schema"] == "airgap/error/v1"
    assert (document["rule"], document["exit_code"]) == (rule, 3)
    assert expected in document["message"]
    assert found in document["message"]
    assert authority in document["authority"]
    assert document["hint"]
    assert said.err.startswith(("error: ", "warning: "))
    assert f"  rule: {rule}; up to: {document['authority']}\n" in said.err
    assert f"  next: {document['hint']}\n" in said.err
    assert snapshot(host.root) == before


def rules():
    """Every rule that stands in the code."""
    for package in (airgap, runtime):
        for path in Path(package.__file__).parent.rglob("*.py"):
            yield from re.findall(r'rule="([a-z.-]+)"', path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("rule", sorted(set(rules()) - PROVOKED.keys()))
def test_every_other_rule_is_provoked_elsewhere(rule):
    """Damage behind the signatures, the audit log: their own tests know how to make it."""
    others = [path for path in TESTS.rglob("test_*.py") if path != Path(__file__)]
    assert any(f'"{rule}"' in path.read_text(encoding="utf-8") for path in others)


# --- the whole decision -------------------------------------------------------------------------

ASKED = ["head", "signature", "signature", "policy.threshold", "policy.bundles"]


def table(text):
    """Rows of the table, by outcome and rule."""
    rows = [line.split() for line in text.splitlines()]
    assert rows[0] == ["outcome", "rule", "expected", "found"]
    end = rows.index([])
    return [(row[0], row[1]) for row in rows[1:end]]


def test_the_table_of_a_success(host, bundle):
    said = host.airgap("verify", bundle, "--explain")
    assert said.code == 0, said.err
    rest = ["sequence", "expiry", "inventory", "frames"]
    assert table(said.out) == [("holds", rule) for rule in [*ASKED, *rest]]
    assert "1 signer(s) of alice" in said.out
    assert "any: the first of its name" in said.out
    assert "\nward-1.0.0: verified\n" in said.out


def test_the_table_of_a_refusal(mounted, write):
    older = write("older", sequence=6)
    said = mounted.airgap("verify", older, "--explain")
    assert said.code == 3
    assert table(said.out) == [*(("holds", rule) for rule in ASKED), ("refused", "sequence.older")]
    assert "verified" not in said.out
    assert "has sequence 6, and this host has accepted sequence 7" in said.out


def test_the_table_of_an_override(mounted, write):
    older = write("older", sequence=6)
    said = mounted.airgap("verify", older, "--explain", "--allow-older", "needed for the audit")
    assert said.code == 0, said.err
    assert ("overridden", "sequence.older") in table(said.out)
    assert "overridden: needed for the audit" in said.out


def test_a_stranger_is_noted_and_counts_for_nothing(host, write, alice, bob):
    said = host.airgap("verify", write(people=[alice, bob]), "--explain")
    assert said.code == 0, said.err
    assert table(said.out).count(("noted", "signature")) == 2
    assert "which counts for nothing here" in said.out


def test_by_key_the_refusal_is_explained_as_well(host, bundle, bob, tmp_path):
    public = tmp_path / "bob.pub"
    public.write_text(bob.keys[0].public.pem)
    said = host.airgap("verify", bundle, "--key", public, "--explain")
    assert said.code == 3
    assert table(said.out)[-1] == ("refused", "policy.threshold")
    document = host.airgap("verify", bundle, "--key", public, "--json").document
    assert [step["outcome"] for step in document["decision"]][-1] == "refused"


def test_json_carries_the_decision(mounted, bundle, write):
    steps = mounted.airgap("verify", bundle, "--deep", "--json").document["decision"]
    assert [step["rule"] for step in steps][-2:] == ["inventory", "frames"]
    assert steps[-1]["expected"] == "every byte, file and tar header as signed"
    assert {step["outcome"] for step in steps} == {"holds"}
    refused = mounted.airgap("mount", write("older", sequence=6), "--json").document
    assert refused["decision"][-1] == {
        "rule": "sequence.older",
        "expected": "",
        "found": refused["message"],
        "outcome": "refused",
    }
    assert [step["rule"] for step in refused["decision"][:-1]] == ASKED


def test_a_refusal_is_in_the_audit_log(mounted, write):
    older = write("older", sequence=6)
    assert mounted.airgap("mount", older).code == 3
    (event,) = mounted.airgap("audit", "show", "--last", "1", "--json").document["events"]
    assert event["event"] == "refusal"
    assert event["facts"]["action"] == "mount"
    assert event["facts"]["rule"] == "sequence.older"
    assert event["facts"]["bundle"] == "older.tar.zst"
    assert "has sequence 6" in event["facts"]["found"]
