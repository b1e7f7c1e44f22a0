"""SIGNERS.txt, word by word: its lines, run by bash, prove a bundle without a line of ours."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess

import pytest

from airgap import papers, signers_text
from airgap.envelope import Envelope, Signature
from airgap.signers_text import Signed

pytestmark = pytest.mark.heavy


@pytest.fixture
def delivered(demo_site, tmp_path):
    """A copy of the demo's folder as it is handed over, and alice's public keys."""
    folder = tmp_path / "demo-1.0.0"
    folder.mkdir()
    for path in demo_site.bundle.parent.iterdir():
        shutil.copyfile(path, folder / path.name)
    for path in demo_site.place.keys.glob("alice.*.pub"):
        shutil.copyfile(path, folder / path.name)
    return folder


def bash(line, folder):
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def printed(folder):
    """The commands of steps 1 to 3 in SIGNERS.txt, in order, and what the last must print."""
    text = (folder / papers.SIGNERS).read_text()
    steps = text[text.index("1. What") : text.index("4. The content")]
    lines = [line.strip() for line in steps.splitlines()]
    commands = [line for line in lines if line.startswith(("printf ", "openssl ", "tail "))]
    expected = lines[lines.index(commands[-1]) + 1]
    return commands, expected


KEYS = {"dgst -sha384": "alice.ecdsa-p384.pub", "pkeyutl": "alice.ed25519.pub"}


def checks(folder):
    """Run them all; which of them failed."""
    (encode, *signatures, payload), expected = printed(folder)
    failed = []
    if bash(encode, folder).returncode:
        failed.append("printf")
    for line in signatures:
        (kind,) = (kind for kind in KEYS if f"openssl {kind}" in line)
        if bash(line.replace("KEY.pub", KEYS[kind]), folder).returncode:
            failed.append(kind)
    if bash(payload, folder).stdout.split() != [expected, "-"]:
        failed.append("payload")
    statement = (folder / signers_text.STATEMENT).read_bytes()
    if expected.encode() not in statement:
        failed.append("named in the statement")
    return failed


def flip(path, at):
    with path.open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)[0]
        stream.seek(at)
        stream.write(bytes([byte ^ 1]))


def test_every_line_holds_for_what_was_delivered(delivered):
    assert len(printed(delivered)[0]) == 4
    assert checks(delivered) == []


def test_key_numbers_and_approval_code_are_what_openssl_and_sha256sum_print(delivered):
    text = (delivered / papers.SIGNERS).read_text()
    for key in KEYS.values():
        line = f"openssl pkey -pubin -in {key} -outform DER | sha256sum"
        assert bash(line, delivered).stdout.split()[0] in text
    code = hashlib.sha256((delivered / signers_text.STATEMENT).read_bytes()).hexdigest()
    (shown,) = re.findall(r"^  ((?:[0-9a-f]{4} ){15}[0-9a-f]{4})$", text, re.MULTILINE)
    assert shown.replace(" ", "") == code


@pytest.mark.parametrize("at", [0, 300, 631])
def test_a_byte_of_the_statement_fails_both_signatures(delivered, at):
    flip(delivered / signers_text.STATEMENT, at)
    assert set(KEYS) <= set(checks(delivered))


@pytest.mark.parametrize("kind", KEYS)
def test_a_byte_of_a_signature_fails_that_signature(delivered, kind):
    commands, _expected = printed(delivered)
    (line,) = (line for line in commands if f"openssl {kind}" in line)
    (file,) = re.findall(r"statement\.json\.[0-9a-f]{8}\.sig", line)
    flip(delivered / file, 40)
    assert checks(delivered) == [kind]


@pytest.mark.parametrize("at", [66_376, 1_000_000, -1])
def test_a_byte_of_the_content_fails_the_digest(delivered, at):
    bundle = delivered / "demo-1.0.0.tar.zst"
    flip(bundle, at % bundle.stat().st_size)
    assert checks(delivered) == ["payload"]


def test_a_strangers_key_does_not_pass(delivered, fresh_place):
    stranger = fresh_place()
    stranger.keygen("mallory")
    for kind in ("ed25519", "ecdsa-p384"):
        shutil.copyfile(stranger.keys / f"mallory.{kind}.pub", delivered / f"alice.{kind}.pub")
    assert checks(delivered) == list(KEYS) or set(checks(delivered)) == set(KEYS)


def test_ml_dsa_lines_say_which_openssl_they_need(demo_site):
    statement = (demo_site.bundle.parent / signers_text.STATEMENT).read_bytes()
    envelope = Envelope(statement, (Signature("ab" * 32, bytes(4627)),))
    text = signers_text.signers_text(Signed("demo.tar.zst", envelope, {}, ()))
    assert (
        "openssl pkeyutl -verify -pubin -inkey KEY.pub -rawin -in statement.pae "
        "-sigfile statement.json.abababab.sig   # OpenSSL 3.5 or newer"
    ) in text


def test_ml_dsa_lines_hold_where_openssl_is_new_enough(place, demo_site, tmp_path):
    version = bash("openssl version", tmp_path).stdout.split()[1]
    if tuple(map(int, version.split(".")[:2])) < (3, 5):
        pytest.skip(f"openssl {version} knows no ML-DSA: 3.5 does")
    bundle = tmp_path / "demo.tar.zst"
    shutil.copyfile(demo_site.bundle, bundle)
    place.keygen("cnsa", "--cnsa2")
    signed = place.airgap("sign", bundle, "--key", "cnsa", "--passphrase-file", place.passphrase)
    assert signed.code == 0, signed.err
    (line,) = (line for line in printed(tmp_path)[0] if "ml-dsa" in line or "3.5" in line)
    key = place.keys / "cnsa.ml-dsa-87.pub"
    bash(printed(tmp_path)[0][0], tmp_path)
    assert bash(line.replace("KEY.pub", str(key)), tmp_path).returncode == 0


def test_a_file_name_cannot_smuggle_a_command_into_the_paper(demo_site):
    """The commands name what was signed, whose form is checked; not what the file is called."""
    statement = (demo_site.bundle.parent / signers_text.STATEMENT).read_bytes()
    name = "x; touch pwned .tar.zst"
    text = signers_text.signers_text(Signed(name, Envelope(statement, ()), {}, ()))
    assert "touch" not in text
    assert text.count("demo-1.0.0.tar.zst") == 4  # tail and tar, for a shell and for PowerShell


def test_an_unsigned_bundle_says_that_nobody_accepts_it(demo_site):
    statement = (demo_site.bundle.parent / signers_text.STATEMENT).read_bytes()
    text = signers_text.signers_text(Signed("x.tar.zst", Envelope(statement, ()), {}, ()))
    assert "nobody yet: no host accepts it" in text


@pytest.fixture(scope="module")
def untarred(demo_site, tmp_path_factory):
    folder = tmp_path_factory.mktemp("untarred")
    subprocess.run(["tar", "--zstd", "-xf", demo_site.bundle], cwd=folder, check=True)
    return folder


def test_tar_lays_out_the_tree_and_sha256sum_finds_it_sound(untarred):
    done = bash("sha256sum -c --strict SHA256SUMS", untarred)
    assert done.returncode == 0, done.stderr
    listed = {line.split(": ")[0] for line in done.stdout.splitlines()}
    found = {str(path.relative_to(untarred)) for path in untarred.rglob("*") if path.is_file()}
    assert found == {*listed, "manifest.json", "SHA256SUMS"}
    assert not any(path.is_symlink() for path in untarred.rglob("*"))


def test_zstd_tests_a_bundle_as_an_ordinary_stream(demo_site):
    done = subprocess.run(["zstd", "-q", "-t", demo_site.bundle], check=False)
    assert done.returncode == 0


LOADS = """
import faster_whisper, sys
model = faster_whisper.WhisperModel("tiny.en", device="cpu", compute_type="int8")
segments, _info = model.transcribe(sys.argv[1], language="en", temperature=0)
print(" ".join(segment.text.strip() for segment in segments))
"""


@pytest.mark.parametrize("kind", ["untarred", "mounted"])
def test_faster_whisper_loads_it_by_name_with_no_line_of_ours(
    *, kind, untarred, demo_site, tmp_path, jfk, fresh_place
):
    import sys  # noqa: PLC0415 - the interpreter that has the library

    tree = untarred
    if kind == "mounted":
        host = fresh_place()
        for path in demo_site.place.keys.glob("*.pub"):
            host.keys.mkdir(exist_ok=True)
            shutil.copyfile(path, host.keys / path.name)
        host.trust("alice", demo_site.fingerprint)
        mounted = host.airgap("mount", demo_site.bundle)
        assert mounted.code == 0, mounted.err
        tree = host.root / "mounts" / "demo" / "current"
    done = subprocess.run(
        [sys.executable, "-c", LOADS, str(jfk)],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "HF_HOME": str(tree / "hf"),
            "HF_HUB_OFFLINE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ask what you can do for your country" in done.stdout
