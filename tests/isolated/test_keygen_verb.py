"""`airgap keygen` and what reads its keys: openssl, and the passphrase from everywhere but argv."""

from __future__ import annotations

import hashlib
import os
import pty
import stat
import subprocess
import sys
import time
from pathlib import Path

import minisign
import pytest

from airgap import minisign as ours
from airgap import signing

SECRET = "correct horse"


@pytest.fixture
def secret(tmp_path):
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    return file


@pytest.fixture
def keys(host, tmp_path, secret):
    """Carol's keys, made by the command; the host serves as her machine."""
    said = host.airgap("keygen", "carol", "--passphrase-file", secret)
    assert said.code == 0, said.err
    return tmp_path / "keys"


def openssl(*arguments, **more):
    return subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, check=False, **more
    )


def test_private_keys_are_encrypted_and_their_owners_alone(keys):
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    private = sorted(keys.glob("*.key"))
    assert [path.name for path in private] == ["carol.ecdsa-p384.key", "carol.ed25519.key"]
    for path in private:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    for path in keys.glob("*.pub"):
        assert path.read_text().startswith("-----BEGIN PUBLIC KEY-----\n")


def test_minisign_checks_with_its_form_of_the_public_key(keys):
    public = minisign.PublicKey.from_bytes((keys / "carol.ed25519.minisign").read_bytes())
    private = signing.load(keys / "carol.ed25519.key", SECRET.encode())
    signed = ours.sign(b"file", "said", private.public, lambda each: private.sign(each).value)
    public.verify(b"file", minisign.Signature.from_bytes(signed.to_bytes()))
    assert list(keys.glob("*.ecdsa-p384.minisign")) == []


@pytest.mark.parametrize("algorithm", ["ed25519", "ecdsa-p384"])
def test_openssl_reads_a_key_with_its_passphrase_and_not_without(keys, secret, algorithm):
    key = keys / f"carol.{algorithm}.key"
    public = openssl("pkey", "-in", key, "-passin", f"file:{secret}", "-pubout")
    assert public.returncode == 0
    assert public.stdout == (keys / f"carol.{algorithm}.pub").read_bytes()
    assert openssl("pkey", "-in", key, "-passin", "pass:wrong", "-pubout").returncode != 0


def test_fingerprint_is_what_coreutils_compute(host, tmp_path, secret):
    made = host.airgap("keygen", "dave", "--passphrase-file", secret, "--json").document
    assert made["schema"] == "airgap/keygen/v1"
    ids = []
    for key in made["keys"]:
        public = tmp_path / "keys" / f"dave.{key['algorithm']}.pub"
        der = openssl("pkey", "-pubin", "-in", public, "-outform", "DER").stdout
        assert key["key_id"] == hashlib.sha256(der).hexdigest()
        ids.append(key["key_id"])
    lines = "".join(f"{key_id}\n" for key_id in sorted(ids))
    assert made["fingerprint"] == hashlib.sha256(lines.encode()).hexdigest()


def test_cnsa2_adds_an_ml_dsa_key(host, tmp_path, secret):
    said = host.airgap("keygen", "dave", "--cnsa2", "--passphrase-file", secret, "--json")
    algorithms = [key["algorithm"] for key in said.document["keys"]]
    assert algorithms == ["ed25519", "ecdsa-p384", "ml-dsa-87"]
    key = tmp_path / "keys" / "dave.ml-dsa-87.key"
    assert signing.load(key, SECRET.encode()).public.algorithm == "ml-dsa-87"


def test_a_spare_is_suggested_and_the_fingerprint_is_for_paper(host, secret):
    said = host.airgap("keygen", "dave", "--passphrase-file", secret)
    assert "fingerprint, for paper:" in said.out
    assert "make a spare and keep it elsewhere: airgap keygen dave-spare --out FOLDER" in said.err


@pytest.mark.parametrize("victim", ["carol.ed25519.key", "carol.ecdsa-p384.pub"])
def test_a_key_is_never_overwritten(host, keys, secret, snapshot, victim):
    for path in keys.iterdir():
        if path.name != victim:
            path.unlink()
    before = snapshot(keys)
    said = host.airgap("keygen", "carol", "--passphrase-file", secret)
    assert said.code == 2
    assert said.err == (
        f"error: '{keys / victim}' is there already, and a key is never overwritten\n"
        "  next: choose another NAME, or move the old key away\n"
    )
    assert snapshot(keys) == before


@pytest.mark.parametrize("name", ["", "Carol", "a b", "../x", "a.b", "-x", "x" * 65])
def test_a_name_that_cannot_be_a_signers_is_refused(host, secret, tmp_path, name):
    said = host.airgap("keygen", "--passphrase-file", secret, "--", name)
    assert said.code == 2
    assert "cannot name a signer: expected [a-z0-9][a-z0-9_-]*" in said.err
    assert not (tmp_path / "keys").exists()


def test_a_wrong_passphrase_is_told(host, keys, bundle, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong\n")
    before = bundle.read_bytes()
    said = host.airgap("sign", bundle, "--key", "carol", "--passphrase-file", wrong)
    assert said.code == 2
    assert said.err.startswith(f"error: cannot load '{keys / 'carol.ed25519.key'}': ")
    assert "the passphrase is wrong" in said.err
    assert bundle.read_bytes() == before


def test_an_empty_passphrase_is_refused(host, tmp_path):
    empty = tmp_path / "empty"
    empty.write_text("\n")
    said = host.airgap("keygen", "dave", "--passphrase-file", empty)
    assert said.code == 2
    assert said.err == "error: the passphrase for the new keys of 'dave' is empty\n"
    assert not (tmp_path / "keys").exists()


def run(*arguments, **more):
    return subprocess.run(
        [sys.executable, "-m", "airgap", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **more,
    )


def test_passphrases_come_by_a_descriptor_a_line_for_each_signer(host, tmp_path, bundle):
    for name in ("dave", "erin"):
        file = tmp_path / f"{name}.secret"
        file.write_text(f"{name}'s\n")
        assert host.airgap("keygen", name, "--passphrase-file", file).code == 0
    reading, writing = os.pipe()
    os.write(writing, b"dave's\nerin's\n")
    os.close(writing)
    both = ("--key", "dave", "--key", "erin")
    done = run("sign", bundle, *both, "--passphrase-fd", reading, pass_fds=[reading])
    os.close(reading)
    assert done.returncode == 0, done.stderr
    assert "now by 6 keys" in done.stdout


def test_a_descriptor_that_is_not_open_is_told(host):
    said = host.airgap("keygen", "dave", "--passphrase-fd", "987")
    assert said.code == 2
    assert said.err == "error: cannot read a passphrase from descriptor 987\n"


def test_without_a_terminal_the_way_out_is_told(host, tmp_path):
    done = run("keygen", "dave", stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert done.stderr == (
        "error: a passphrase is needed for the new keys of 'dave', and there is no terminal to "
        "ask on\n  next: --passphrase-file FILE or --passphrase-fd N\n"
    )
    assert not (tmp_path / "keys").exists()


def on_a_terminal(answers, *arguments):
    """The command on a terminal of its own; what it showed, what it was called, its exit code."""
    child, terminal = pty.fork()
    if child == 0:
        command = [sys.executable, "-m", "airgap", *map(str, arguments)]
        os.execv(command[0], command)  # noqa: S606 - a terminal, not a shell
    shown = b""
    for answer in answers:
        while not shown.endswith(b": "):
            shown += os.read(terminal, 1)
        for told in ("cmdline", "environ"):
            assert answer.encode() not in Path(f"/proc/{child}/{told}").read_bytes()
        time.sleep(0.05)  # getpass switches the echo off after it has asked
        os.write(terminal, f"{answer}\n".encode())
        shown += b"\n"
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
    except OSError:  # the terminal's other end was closed
        os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()


def test_on_a_terminal_it_asks_twice_and_shows_nothing(host, tmp_path):
    code, shown = on_a_terminal(["hunter-zwei", "hunter-zwei"], "keygen", "dave")
    assert code == 0, shown
    assert "Passphrase for the new keys of 'dave':" in shown
    assert "hunter-zwei" not in shown
    assert signing.load(tmp_path / "keys" / "dave.ed25519.key", b"hunter-zwei")


def test_two_different_answers_make_no_key(host, tmp_path):
    code, shown = on_a_terminal(["hunter-zwei", "hunter-drei"], "keygen", "dave")
    assert code == 2
    assert "the two passphrases differ" in shown
    assert not (tmp_path / "keys").exists()


def test_there_is_no_option_that_takes_a_passphrase(host):
    for verb in ("keygen", "sign"):
        said = host.airgap(verb, "--help")
        assert "--passphrase-file" in said.out
        assert "--passphrase " not in said.out
    said = host.airgap("keygen", "dave", "--passphrase", "x")
    assert said.code == 2


def test_unencrypted_keys_are_made_only_when_asked_for(host, tmp_path):
    assert host.airgap("keygen", "dave", "--unencrypted").code == 0
    key = tmp_path / "keys" / "dave.ed25519.key"
    assert key.read_text().startswith("-----BEGIN PRIVATE KEY-----\n")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
