"""minisign, model_signing, a CycloneDX validator and sha256sum, run for real on what is delivered.

The commands are those of SIGNERS.txt and REVIEW.html, word by word.
"""

from __future__ import annotations

import hashlib
import html
import re
import shutil
import subprocess
import sys
from pathlib import Path

import minisign
import pytest

pytestmark = pytest.mark.heavy

TITLE = "demo-1.0.0"


@pytest.fixture
def delivered(demo_site, tmp_path, foreign):
    """A copy of the demo's folder as it is handed over, unpacked beside, with alice's keys."""
    foreign("minisign")
    folder = tmp_path / TITLE
    shutil.copytree(demo_site.bundle.parent, folder)
    for path in (*demo_site.place.keys.glob("*.pub"), *demo_site.place.keys.glob("*.minisign")):
        shutil.copyfile(path, folder / path.name)
    return folder


def bash(line, folder):
    """Run a line where `airgap` is not on the path, and these tests' own Python is."""
    tools = folder.parent / "tools"
    tools.mkdir(exist_ok=True)
    for name, words in {
        "model_signing": "-m model_signing",
        "python3": "",
    }.items():
        (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (tools / name).chmod(0o755)
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=folder,
        env={"PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin", "HOME": str(folder.parent)},
        capture_output=True,
        text=True,
        check=False,
    )


def commands(folder, part):
    """The commands of SIGNERS.txt that contain `part`, those for PowerShell apart."""
    text = (folder / "SIGNERS.txt").read_text().partition("In PowerShell")[0]
    return [line.strip() for line in text.splitlines() if part in line and line.startswith("  ")]


def run(folder, part, key=None):
    """Run the one command with `part` in it, for the key of this file."""
    (line,) = commands(folder, part)
    return bash(line.replace("KEY.pub", key) if key else line, folder)


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def unpack(folder):
    done = run(folder, "tar --zstd")
    assert done.returncode == 0, done.stderr
    return folder / "tree"


# minisign


def test_minisign_with_the_key_that_keygen_wrote(delivered):
    done = bash("minisign -Vm manifest.json -p alice.ed25519.minisign", delivered)
    assert done.returncode == 0, done.stderr
    code = hashlib.sha256((delivered / "statement.json").read_bytes()).hexdigest()
    said = f"{TITLE} sequence 1 expires never approval code "
    assert f"Trusted comment: {said}" in done.stdout
    assert code in done.stdout.replace(" ", "")


def test_minisign_with_the_key_that_openssl_turned(delivered):
    assert run(delivered, "untrusted comment", "alice.ed25519.pub").returncode == 0
    made, written = delivered / "KEY.minisign", delivered / "alice.ed25519.minisign"
    assert made.read_text().splitlines()[1] == written.read_text().splitlines()[1]
    done = run(delivered, "minisign -Vm")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["manifest.json", "manifest.json.minisig"])
@pytest.mark.parametrize("at", [100, 200, 330])
def test_minisign_refuses_a_flipped_byte(delivered, name, at):
    flip(delivered / name, at)
    done = bash("minisign -Vm manifest.json -p alice.ed25519.minisign", delivered)
    assert done.returncode != 0


def test_py_minisign_agrees(delivered):
    key = minisign.PublicKey.from_bytes((delivered / "alice.ed25519.minisign").read_bytes())
    signature = minisign.Signature.from_bytes((delivered / "manifest.json.minisig").read_bytes())
    content = (delivered / "manifest.json").read_bytes()
    key.verify(content, signature)
    with pytest.raises(minisign.VerifyError):
        key.verify(content + b" ", signature)


# OpenSSF Model Signing


def verify_model(folder):
    return run(folder, "model_signing verify", "alice.ecdsa-p384.pub")


def test_model_signing_verifies_the_tree(delivered):
    unpack(delivered)
    done = verify_model(delivered)
    assert done.returncode == 0, done.stderr
    assert "Verification succeeded" in done.stdout


@pytest.mark.parametrize(
    "change", ["a byte of a model", "of the manifest", "an extra file", "less"]
)
def test_model_signing_refuses_another_tree(delivered, change):
    tree = unpack(delivered)
    (config,) = tree.rglob("config.json")
    match change:
        case "a byte of a model":
            flip(config, 10)
        case "of the manifest":
            flip(tree / "manifest.json", 10)
        case "an extra file":
            (tree / "hf/extra").write_text("x")
        case "less":
            config.unlink()
    assert verify_model(delivered).returncode != 0


def test_model_signing_refuses_another_signature(delivered):
    unpack(delivered)
    signature = delivered / "model.sig"
    content = signature.read_text()
    at = content.index('"sig": "') + 40
    flip(signature, at)
    assert verify_model(delivered).returncode != 0


# CycloneDX, coreutils


def test_the_sbom_is_valid_to_the_standards_own_library(delivered):
    done = run(delivered, "JsonStrictValidator")
    assert done.stdout == "valid\n", done.stderr
    path = delivered / "sbom.cdx.json"
    path.write_text(path.read_text().replace('"specVersion"', '"specversion"'))
    assert run(delivered, "JsonStrictValidator").stdout != "valid\n"


def test_sha256sum_finds_every_delivered_file_whole(delivered):
    for path in (*delivered.glob("*.pub"), *delivered.glob("*.minisign")):
        path.unlink()
    done = run(delivered, "sha256sum -c --strict SHA256SUMS")
    assert done.returncode == 0, done.stderr
    listed = {line.split(": ")[0] for line in done.stdout.splitlines()}
    assert listed == {path.name for path in delivered.iterdir()} - {"SHA256SUMS"}
    for name in listed - {f"{TITLE}.tar.zst"}:
        flip(delivered / name, 20)
        assert run(delivered, "sha256sum -c --strict SHA256SUMS").returncode != 0
        flip(delivered / name, 20)


def test_the_copies_are_the_very_bytes_of_the_tree(delivered):
    tree = unpack(delivered)
    for line in (*commands(delivered, "diff "), *commands(delivered, "cd tree")):
        done = bash(line, delivered)
        assert (done.returncode, done.stdout) == (0, ""), line
    assert len(commands(delivered, "diff ")) == 3
    flip(delivered / "REVIEW.html", 20)
    assert bash("diff REVIEW.html tree/REVIEW.html", delivered).returncode == 1
    (config,) = tree.rglob("config.json")
    flip(config, 10)
    assert run(delivered, "cd tree").returncode != 0


def test_the_digest_of_the_manifest_is_the_signed_one(delivered):
    text = (delivered / "SIGNERS.txt").read_text()
    digest = bash("sha256sum manifest.json", delivered).stdout.split()[0]
    assert f"  sha256sum manifest.json\n  {digest}\n" in text


# REVIEW.html, as an officer types it


def of_the_review(folder):
    """The commands of the page for Linux, in order."""
    page = (folder / "REVIEW.html").read_text()
    linux = page[page.index("<h3>On Linux") : page.index("<h3>In PowerShell")]
    return [html.unescape(one) for one in re.findall(r"<pre>(.*?)</pre>", linux, re.DOTALL)]


def test_every_command_of_the_review_holds_without_airgap(delivered):
    assert bash("command -v airgap", delivered).returncode != 0
    (number, code, encode, edwards, nist, payload, named, *rest) = of_the_review(delivered)
    keys = {}
    for algorithm in ("ed25519", "ecdsa-p384"):
        key = f"alice.{algorithm}.pub"
        keys[algorithm] = (key, bash(number.replace("KEY.pub", key), delivered).stdout[:8])
        assert re.fullmatch("[0-9a-f]{8}", keys[algorithm][1])
    assert bash(code, delivered).stdout.split()[0] == (
        hashlib.sha256((delivered / "statement.json").read_bytes()).hexdigest()
    )
    assert bash(encode, delivered).returncode == 0
    for line, (key, key_id) in zip((edwards, nist), keys.values(), strict=True):
        typed = line.replace("KEY.pub", key).replace("KEYID8", key_id)
        assert bash(typed, delivered).returncode == 0, typed
    digest = bash(payload, delivered).stdout.split()[0]
    assert f'"{digest}"' in bash(named, delivered).stdout
    for line in rest:
        done = bash(line, delivered)
        assert (done.returncode, done.stdout) == (0, ""), line
    assert len(rest) == 3


def test_a_second_signer_has_files_of_their_own(demo_site, tmp_path, place, foreign):
    foreign("minisign")
    folder = tmp_path / "copy"
    shutil.copytree(demo_site.bundle.parent, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    place.keygen("carol")
    bundle = folder / demo_site.bundle.name
    said = place.airgap("sign", bundle, "--key", "carol", "--passphrase-file", place.passphrase)
    assert said.code == 0, said.err
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {bundle.name, "SIGNERS.txt", "SHA256SUMS"}
    ids = [
        bash(f"openssl pkey -pubin -in {key} -outform DER | sha256sum", folder).stdout[:8]
        for key in (place.keys / "carol.ed25519.pub", place.keys / "carol.ecdsa-p384.pub")
    ]
    assert after.keys() - before.keys() == {
        f"manifest.json.{ids[0]}.minisig",
        f"model.{ids[1]}.sig",
        *(f"statement.json.{key_id}.sig" for key_id in ids),
    }
    key = place.keys / "carol.ed25519.minisign"
    (line,) = (one for one in commands(folder, "minisign -Vm") if ids[0] in one)
    assert bash(line.replace("KEY.minisign", str(key)), folder).returncode == 0
    unpack(folder)
    (line,) = (one for one in commands(folder, "model_signing verify") if ids[1] in one)
    pub = Path(place.keys / "carol.ecdsa-p384.pub")
    assert bash(line.replace("KEY.pub", str(pub)), folder).returncode == 0
    assert run(folder, "sha256sum -c --strict SHA256SUMS").returncode == 0
