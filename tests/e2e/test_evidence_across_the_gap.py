"""Out with a bundle, back with a receipt: a builder's machine and an isolated host, two places.

The stick between them is a folder; what is changed on it is found on either side.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from airgap import receipt
from airgap.envelope import Envelope
from airgap.host_key import HostKey
from airgap.receipt import Receipt

pytestmark = pytest.mark.heavy


@dataclass(frozen=True)
class Crossing:
    """A bundle that crossed, and what came back for it."""

    builder: Any
    host: Any
    stick: Path
    bundle: Path
    fingerprint: str

    def back(self, verb: str) -> Path:
        """The receipt of a verb, on the stick."""
        (found,) = self.stick.glob(f"*.{verb}.*.json")
        return found

    def enrol(self, builder: Any, *options: str, name: str = "ward-7") -> Any:
        """Add the host's key at a builder's, by the number on paper."""
        public, number = self.stick / "host.pub", self.fingerprint
        who = ("--signer", name, "--fingerprint", number)
        return builder.airgap("trust", "add", public, *who, *(options or ("--role", "receipt")))


@pytest.fixture(scope="module")
def crossing(demo_site, make_host, tmp_path_factory):
    """Built, carried, verified and mounted; receipts, key and export carried back."""
    host, stick = make_host(), tmp_path_factory.mktemp("stick")
    bundle = stick / demo_site.bundle.name
    shutil.copyfile(demo_site.bundle, bundle)
    for verb in ("verify", "mount"):
        said = host.airgap(verb, bundle, "--json")
        assert said.code == 0, said.err
        shutil.copy(said.document["receipt"], stick)
    key = host.airgap("audit", "key", "--json").document
    shutil.copyfile(key["file"], stick / "host.pub")
    assert host.airgap("audit", "export", stick / "ward-7.audit").code == 0
    builder = make_host()
    made = Crossing(builder, host, stick, demo_site.bundle, key["fingerprint"])
    said = made.enrol(builder)
    assert said.code == 0, said.err
    return made


@pytest.mark.parametrize("verb", ["verify", "mount"])
def test_the_builder_reads_what_the_host_did(crossing, verb):
    builder, path = crossing.builder, crossing.back(verb)
    said = builder.airgap("verify", crossing.bundle, "--receipt", path)
    assert said.code == 0, said.err
    first, *rest = said.out.splitlines()
    assert first.startswith(f"demo-1.0.0: {verb} passed on 20")
    assert rest[0].endswith(approval_code(crossing))
    assert rest[1:] == [
        "  signed by      alice",
        f"  host           ward-7, key {crossing.fingerprint}",
    ]
    document = builder.airgap("verify", crossing.bundle, "--receipt", path, "--json").document
    assert document["schema"] == "airgap/receipt/v1"
    assert (document["action"], document["passed"], document["host_name"]) == (verb, True, "ward-7")
    assert document["overrides"] == {}


def approval_code(crossing):
    """The one on the officer's paper."""
    text = (crossing.bundle.parent / "SIGNERS.txt").read_text()
    code = json.loads(crossing.host.airgap("verify", crossing.bundle, "--json").out)[
        "approval_code"
    ]
    assert code.split()[0] in text
    return code


def test_the_hosts_key_may_be_given_by_hand(crossing):
    path = crossing.back("mount")
    by_key = ("--receipt", path, "--key", crossing.stick / "host.pub")
    assert crossing.builder.airgap("verify", crossing.bundle, *by_key).code == 0


def test_receipts_do_not_make_the_host_a_signer_of_bundles(crossing):
    """Enrolled for receipts, its key vouches for nothing else."""
    said = crossing.builder.airgap("trust", "list", "--json")
    assert sorted(said.document["signers"]) == ["alice", "ward-7"]
    assert crossing.fingerprint in crossing.builder.airgap("trust", "list").out
    text = crossing.builder.airgap("trust", "list").out
    assert f"{crossing.fingerprint}  receipt\n" in text


def test_a_host_that_was_not_enrolled(crossing, make_host):
    nobody = make_host()
    path = crossing.back("mount")
    said = nobody.airgap("verify", crossing.bundle, "--receipt", path, "--json")
    assert (said.code, said.document["rule"]) == (3, "receipt.key")
    assert "none" in said.document["message"]
    assert "fingerprint from paper" in said.document["hint"]
    # Trusted, but for another use: that is no receipt either.
    added = crossing.enrol(nobody, "--role", "bundle")
    assert added.code == 0, added.err
    said = nobody.airgap("verify", crossing.bundle, "--receipt", path, "--json")
    assert (said.code, said.document["rule"]) == (3, "receipt.key")


@pytest.mark.parametrize("ended", ["revoked", "expired"])
def test_a_host_whose_key_counts_no_more(crossing, make_host, ended):
    builder = make_host()
    until = ("--expires", "2020-01-01T00:00:00Z") if ended == "expired" else ()
    assert crossing.enrol(builder, "--role", "receipt", *until).code == 0
    if ended == "revoked":
        said = builder.airgap("trust", "revoke", crossing.fingerprint, "--reason", "disk sold")
        assert said.code == 0, said.err
    path = crossing.back("mount")
    said = builder.airgap("verify", crossing.bundle, "--receipt", path, "--json")
    assert (said.code, said.document["rule"]) == (3, "receipt.key")


@pytest.mark.parametrize("place", ["start", "payload", "signature", "end"])
def test_a_receipt_that_was_changed_on_the_way(crossing, tmp_path, place):
    content = bytearray(crossing.back("mount").read_bytes())
    at = {
        "start": 0,
        "payload": content.index(b'"payload":"') + 40,
        "signature": content.index(b'"sig":"') + 20,
        "end": len(content) - 1,
    }[place]
    content[at] ^= 1
    changed = tmp_path / "receipt.json"
    changed.write_bytes(content)
    said = crossing.builder.airgap("verify", crossing.bundle, "--receipt", changed, "--json")
    assert said.code == 3
    assert said.document["rule"] in {"receipt.form", "receipt.signature"}


def retold(crossing, tmp_path, **changes):
    """The host's own receipt with other words, signed by the host: it may only lie of itself."""
    said = Receipt.parse(receipt.read(crossing.back("mount")).statement)
    forged = replace(said, **changes).statement()
    path = tmp_path / "receipt.json"
    path.write_bytes(HostKey.of(crossing.host.root).sign(Envelope(forged, ())).to_json())
    return crossing.builder.airgap("verify", crossing.bundle, "--receipt", path, "--json")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"bundle": "0" * 64}, "receipt.bundle"),
        ({"version": "9.9.9"}, "receipt.bundle"),
        ({"sequence": 99}, "receipt.bundle"),
        ({"host": "0" * 64}, "receipt.host"),
        ({"passed": False}, "receipt.failed"),
    ],
)
def test_a_receipt_that_is_about_something_else_or_says_no(crossing, tmp_path, changes, rule):
    said = retold(crossing, tmp_path, **changes)
    assert said.code == 3
    assert f"rule: {rule};" in said.err
    assert "next: " in said.err


def test_another_bundle_than_the_one_that_was_sent(crossing, tmp_path):
    """Signed once more by somebody, it is the same bundle; with another statement it is not."""
    other = tmp_path / "demo-1.0.0.tar.zst"
    shutil.copyfile(crossing.bundle, other)
    with other.open("r+b") as stream:
        head = Envelope.from_head(stream.read(64 * 1024))
        changed = replace(head, statement=head.statement.replace(b'"sequence":', b'"sequence":1'))
        stream.seek(0)
        stream.write(changed.to_head())
    path = crossing.back("mount")
    said = crossing.builder.airgap("verify", other, "--receipt", path, "--json")
    assert (said.code, said.document["rule"]) == (3, "receipt.bundle")


# --- the record of the host, against an export that was taken away ------------------------------


@pytest.fixture
def later(crossing, fresh_place):
    """The host a while later, in a copy that a test may spoil."""
    later = fresh_place()
    shutil.copytree(crossing.host.root, later.root, symlinks=True)
    assert later.airgap("verify", crossing.bundle).code == 0
    return later


def against(later, crossing):
    export = crossing.stick / "ward-7.audit"
    return later.airgap("audit", "verify", "--against", export, "--json")


def test_the_log_goes_on_from_the_export(later, crossing):
    said = against(later, crossing)
    assert said.code == 0, said.err
    assert said.document["host_key"] == crossing.fingerprint
    shown = later.airgap("audit", "show", "--json").document["events"]
    names = [one["event"] for one in shown]
    assert [name for name in names if name in {"trust-init", "trust-add", "verify", "mount"}][
        :4
    ] == ["trust-init", "trust-add", "verify", "mount"]


@pytest.mark.parametrize("how", ["cut", "removed", "edited", "begun anew"])
def test_a_log_that_does_not_is_found(later, crossing, how):
    log = later.root / "audit" / "log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    if how == "cut":
        log.write_bytes(b"".join(lines[:3]))
    elif how == "removed":
        log.unlink()
    elif how == "edited":
        log.write_bytes(b"".join(lines).replace(b'"signer":"alice"', b'"signer":"mallo"', 1))
    else:
        log.unlink()
        assert later.airgap("trust", "reset-sequence", "--yes").code == 0
    said = against(later, crossing)
    assert said.code == 3, said.out
    assert said.document["rule"].startswith("audit.")


def test_an_export_that_was_changed_is_none(later, crossing, tmp_path):
    content = (crossing.stick / "ward-7.audit").read_bytes()
    changed = tmp_path / "x.audit"
    changed.write_bytes(content.replace(b'"signer":"alice"', b'"signer":"mallo"', 1))
    assert changed.read_bytes() != content
    said = later.airgap("audit", "verify", "--against", changed, "--json")
    assert (said.code, said.document["rule"]) == (3, "export.lines")
