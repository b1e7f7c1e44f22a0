"""The trust store: what is written is read back, and what is not quite right is no policy."""

import base64
import os
import shutil
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from airgap import keys
from airgap.errors import UntrustedError, UsageError
from airgap.policy import BUNDLE, TRUST
from airgap.trust import TrustStore

ROLES = (BUNDLE, TRUST)


@pytest.fixture
def store(tmp_path):
    store = TrustStore(tmp_path / "trust")
    store.create(2, ("demo", "prod-*"))
    return store


@pytest.fixture
def filled(store, alice, bob):
    store.add("alice", alice.public, roles=ROLES)
    store.add("bob", bob.public, roles=ROLES)
    return store


def snapshot(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def damaged(filled):
    """The policy, edited, is refused with a place and a message, and nothing is written."""

    def damaged(edit, saying, error=UsageError):
        text = filled.policy_file.read_text()
        changed = edit(text)
        assert changed != text
        filled.policy_file.write_text(changed)
        before = snapshot(filled.folder)
        with pytest.raises(error) as caught:
            filled.load()
        assert saying in caught.value.message
        assert str(filled.folder) in caught.value.message
        assert snapshot(filled.folder) == before
        return caught.value

    return damaged


def line_of(text, part):
    return next(n for n, line in enumerate(text.splitlines(), 1) if part in line)


def test_round_trip(filled, alice, bob):
    policy = filled.load()
    assert policy.threshold == 2
    assert policy.bundles == ("demo", "prod-*")
    assert policy.signers == {"alice": alice.signer, "bob": bob.signer}


def test_a_policy_is_written_as_it_was_read(filled):
    text = filled.policy_file.read_text()
    filled.save(filled.load())
    assert filled.policy_file.read_text() == text


def test_a_store_without_signers(store, bundle, verified):
    policy = store.load()
    assert policy.signers == {}
    with pytest.raises(UntrustedError, match="of none yet"):
        verified(bundle, policy)


def test_the_store_decides_on_a_bundle(filled, recipe, alice, bob, verified):
    verified(recipe.build(alice, bob), filled.load()).bundle.check_contents()
    with pytest.raises(UntrustedError, match="wants 2 signer"):
        verified(recipe.build(alice), filled.load())


def test_no_store(tmp_path):
    with pytest.raises(UntrustedError, match="no trust store in") as caught:
        TrustStore(tmp_path / "nowhere").load()
    assert caught.value.rule == "trust.missing"
    assert "--fingerprint FPR" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_a_store_is_not_started_twice(filled):
    before = snapshot(filled.folder)
    with pytest.raises(UsageError, match="there is a trust store in"):
        filled.create(1, ("*",))
    assert snapshot(filled.folder) == before


def test_a_key_of_another_signer(filled, alice):
    """One person would count as two."""
    before = snapshot(filled.folder)
    with pytest.raises(UsageError, match=r"key [0-9a-f]{16} belongs to 'alice' already"):
        filled.add("carol", alice.public, roles=ROLES)
    assert snapshot(filled.folder) == before


@pytest.mark.parametrize("name", ["", "Alice Smith", "../x", "a" * 65, "a:b", "-", "null\n"])
def test_a_name_that_the_policy_cannot_hold(filled, mallory, name):
    """Written, it would make the whole store unreadable."""
    before = snapshot(filled.folder)
    with pytest.raises(UsageError, match="expected \\[a-z0-9\\]"):
        filled.add(name, mallory.public, roles=ROLES)
    assert snapshot(filled.folder) == before


@pytest.mark.parametrize("name", ["null", "true", "1", "1e3", "0x10", "2026-01-01", "yes", "on"])
def test_names_that_yaml_takes_for_something_else(store, mallory, name):
    store.add(name, mallory.public, roles=ROLES)
    assert list(store.load().signers) == [name]


def test_a_spare_key_changes_nothing_about_what_is_demanded(filled, alice, person):
    spare = person("alice", (keys.ED25519,))
    filled.add("alice", spare.public, roles=ROLES)
    signer = filled.load().signers["alice"]
    assert signer.algorithms == alice.signer.algorithms
    assert len(signer.keys) == 3


def test_a_key_that_is_added_again_is_there_once(filled, alice):
    before = snapshot(filled.folder)
    filled.add("alice", alice.public, roles=ROLES)
    assert snapshot(filled.folder) == before


def test_a_key_shared_in_a_policy_written_by_hand(damaged, alice, bob):
    stolen, own = alice.public[0].key_id, bob.public[0].key_id
    damaged(
        lambda text: text.replace(own, stolen),
        f"key {stolen[:16]} belongs to 'alice' and 'bob'",
    )


def test_one_signer_under_two_names(damaged, alice):
    """The whole entry, copied: the two-person rule with one person."""

    def edit(text):
        entry = text[text.index("  alice:") : text.index("  bob:")]
        return text + entry.replace("alice", "alicia")

    damaged(edit, f"key {alice.public[0].key_id[:16]} belongs to 'alice' and 'alicia'")


def test_a_key_twice_in_one_entry(damaged, alice):
    entry = f"      {alice.public[0].key_id}:\n        roles:\n        - bundle\n"
    damaged(lambda text: text.replace(entry, entry + entry, 1), "stands twice in keys")


@pytest.mark.parametrize(
    ("old", "new", "saying"),
    [
        ("policy: 1", "policy: 2", "policy: expected 1 to 1, found 2"),
        ("threshold: 2", "threshold: 0", "threshold: expected 1 to 32, found 0"),
        ("threshold: 2", "threshold: -1", "threshold: expected 1 to 32, found -1"),
        ("threshold: 2", "threshold: 33", "threshold: expected 1 to 32, found 33"),
        ("threshold: 2", "threshold: '2'", "threshold: expected a whole number"),
        ("threshold: 2", "threshold: 2.0", "threshold: expected a whole number"),
        ("threshold: 2", "threshold: 0x2", "threshold: expected a whole number"),
        ("threshold: 2", "threshold: true", "threshold: expected a whole number"),
        ("threshold: 2", "threshold:", "threshold: expected a whole number"),
        ("threshold: 2", "treshold: 2", "did you mean 'threshold'?"),
        ("threshold: 2", "threshold: 2\nthreshold: 1", "'threshold' stands twice"),
        ("threshold: 2", "threshold: 2\nextra: 1", "unknown key 'extra'"),
        ("- demo", "- 5", "bundles: expected text"),
        ("- demo", "- ''", "bundles: expected text, found nothing"),
        ("- demo", "- {a: b}", "bundles: expected text, found a mapping"),
        ("  alice:", "  Alice:", "signer 'Alice': expected [a-z0-9]"),
        ("  bob:", "  alice:", "'alice' stands twice in signers"),
        ("- ed25519", "- ed25518", "an algorithm: expected ed25519 | ecdsa-p384 | ml-dsa-87"),
        ("- ed25519", "- ml-dsa-87", "must sign with ml-dsa-87 and has no such key"),
        ("    algorithms:", "    algorithm:", "did you mean 'algorithms'?"),
        ("    keys:", "    keys: []\n    spare:", "keys: expected a mapping"),
        ("version: 1", "version: 0", "version: expected 1 to"),
        ("expired: serve", "expired: never", "expected serve | stop"),
        ("        - bundle", "        - root", "a role: expected bundle | trust"),
        ("signers:", "revoked: {x: {since: y, reason: z}}\nsigners:", "revoked key x: expected 64"),
        ("signers:", "signers: &a", "anchors and aliases"),
        ("threshold: 2", "threshold: !!int 2", "tags (!) are not read here"),
    ],
)
def test_a_damaged_policy_names_the_line(filled, damaged, old, new, saying):
    text = filled.policy_file.read_text()
    error = damaged(lambda text: text.replace(old, new, 1), saying)
    first = line_of(text, old)
    places = [line.split(":")[1] for line in error.message.splitlines()]
    assert any(first - 2 <= int(place) <= first + 1 for place in places), error.message


@pytest.mark.parametrize(
    ("content", "saying"),
    [
        ("", "found an empty file"),
        ("- a\n", "expected a mapping"),
        ("policy", "expected a mapping"),
        ("{", "not YAML"),
        ("a: b: c", "not YAML"),
        ("\x00", "not YAML"),
        ("%YAML 3.0\n---\n{}", "not YAML"),
        ("---\n{}\n---\n{}\n", "a second document"),
        ("a: " + "[" * 20 + "]" * 20, "nested deeper than 8"),
        ("{}", "the policy lacks 'bundles'"),
    ],
)
def test_what_is_no_policy(damaged, content, saying):
    damaged(lambda _text: content, saying)


def test_a_policy_that_is_too_large(filled):
    filled.policy_file.write_text("#" * (1 << 20) + "\n")
    with pytest.raises(UsageError, match="too large for a trust policy: more than 1048576 bytes"):
        filled.load()


def test_a_policy_that_is_not_utf8(filled):
    filled.policy_file.write_bytes(b"policy: \xff\n")
    with pytest.raises(UsageError, match="is not UTF-8: byte 8 is wrong"):
        filled.load()


def test_a_missing_key_file(filled, alice):
    key_id = alice.public[0].key_id
    (filled.folder / "keys" / f"{key_id}.pub").unlink()
    with pytest.raises(UsageError, match=f"no file 'keys/{key_id}.pub' with it"):
        filled.load()


def test_a_key_file_with_another_key(filled, alice, mallory):
    """Whoever can write `keys/` alone still cannot change whose signatures count."""
    key_id = alice.public[0].key_id
    (filled.folder / "keys" / f"{key_id}.pub").write_text(mallory.public[0].pem)
    with pytest.raises(UsageError, match="there is no file 'keys/"):
        filled.load()


def test_a_key_file_with_a_second_key(filled, alice, mallory):
    path = filled.folder / "keys" / f"{alice.public[0].key_id}.pub"
    path.write_text(alice.public[0].pem + mallory.public[0].pem)
    with pytest.raises(UsageError, match="there is no file 'keys/"):
        filled.load()


def test_key_ids_cannot_leave_the_folder(damaged, alice):
    damaged(
        lambda text: text.replace(alice.public[0].key_id, "../../etc/passwd"),
        "key ../../etc/passwd: there is no file",
    )


def test_a_store_that_cannot_be_read(filled):
    shutil.rmtree(filled.folder / "keys")
    os.mkfifo(filled.folder / "keys")
    with pytest.raises(UsageError, match="there is no file 'keys/"):
        filled.load()


def test_the_systems_store_alone_decides(tmp_path, monkeypatch):
    monkeypatch.setattr("airgap.trust.SYSTEM_TRUST", tmp_path / "etc")
    assert TrustStore.of_host(tmp_path).folder == tmp_path / "trust"
    (tmp_path / "etc").mkdir()
    assert TrustStore.of_host(tmp_path).folder == tmp_path / "etc"


def test_one_key_in_two_encodings_is_one_key(alice):
    """Other line lengths, CRLF, text around it: the id is of the key and not of its file."""
    pem = alice.public[1].pem
    body = base64.b64decode("".join(pem.splitlines()[1:-1]))
    plain = base64.b64encode(body).decode()
    other = f"Subject: x\r\n-----BEGIN PUBLIC KEY-----\r\n{plain}\r\n-----END PUBLIC KEY-----\r\n"
    assert keys.load_public_keys(other.encode(), "x") == (alice.public[1],)
    with pytest.raises(UsageError, match="'x' holds one key twice"):
        keys.load_public_keys((pem + other).encode(), "x")


@pytest.mark.parametrize("person", ["bob", "mallory"])
def test_two_changes_at_once_are_both_kept(filled, alice, bob, mallory, person):
    """A key is revoked, or added, while another change is being made: it waits for that."""
    changes = {
        "bob": lambda: filled.revoke(bob.public[0].key_id, "stolen", datetime.now(UTC)),
        "mallory": lambda: filled.add("mallory", mallory.public, roles=ROLES),
    }
    second = threading.Thread(target=changes[person])
    with filled.changing() as policy:
        second.start()
        second.join(0.3)
        assert second.is_alive()
        filled.save(replace(policy, threshold=1))
    second.join()
    after = filled.load()
    assert after.threshold == 1
    assert (bob.public[0].key_id in after.revoked) == (person == "bob")
    assert ("mallory" in after.signers) == (person == "mallory")


def test_a_second_store_is_not_started_in_one(filled):
    before = snapshot(filled.folder)
    with pytest.raises(UsageError, match="there is a trust store"):
        filled.create(1, ("*",))
    assert snapshot(filled.folder) == before


def test_no_lock_is_left_where_there_is_no_store(tmp_path, alice):
    with pytest.raises(UntrustedError, match="no trust store"):
        TrustStore(tmp_path / "none").add("alice", alice.public, roles=ROLES)
    assert not list(tmp_path.iterdir())
