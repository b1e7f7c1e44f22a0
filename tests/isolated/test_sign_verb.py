"""`airgap sign`: a signature more in the head's slot, nothing else; made here or elsewhere."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import textwrap

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from airgap import limits, signing, volumes
from airgap.archive import read_head
from airgap.envelope import Envelope
from airgap.keys import P384_ORDER

HEAD = limits.HEAD_SLOT


@pytest.fixture
def carol(host):
    """A signer with unencrypted keys in the key folder."""
    assert host.airgap("keygen", "carol", "--unencrypted").code == 0
    return "carol"


@pytest.fixture
def unsigned(write):
    return write("unsigned", people=())


def head(bundle):
    with volumes.opened(bundle) as source:
        return read_head(source)


def trust_carol(host, tmp_path):
    public = sorted((tmp_path / "keys").glob("carol.*.pub"))
    ids = [
        option
        for path in public
        for key in signing.keys.load_public_keys(path.read_bytes(), str(path))
        for option in ("--fingerprint", key.key_id)
    ]
    said = host.airgap("trust", "add", *public, "--signer", "carol", *ids)
    assert said.code == 0, said.err


def test_only_the_head_changes(host, bundle, carol):
    before, papers = bundle.read_bytes(), head(bundle)
    said = host.airgap("sign", bundle, "--key", carol)
    assert said.code == 0, said.err
    after = bundle.read_bytes()
    assert after[HEAD:] == before[HEAD:]
    assert after[:HEAD] != before[:HEAD]
    assert head(bundle).statement == papers.statement
    assert set(papers.signatures) < set(head(bundle).signatures)
    assert len(head(bundle).signatures) == 4
    assert list(bundle.parent.glob(".*.old-head")) == []


def test_a_second_signer_satisfies_a_threshold_of_two(host, bundle, carol, tmp_path):
    trust_carol(host, tmp_path)
    policy = host.root / "trust" / "policy.yaml"
    policy.write_text(policy.read_text().replace("threshold: 1", "threshold: 2"))
    assert host.airgap("verify", bundle).code == 3
    assert host.airgap("sign", bundle, "--key", carol).code == 0
    said = host.airgap("verify", bundle, "--json")
    assert said.code == 0
    assert sorted(said.document["signers"]) == ["alice", "carol"]
    assert host.airgap("mount", bundle).code == 0


def test_papers_name_every_signer_that_is_known(host, bundle, carol):
    assert host.airgap("sign", bundle, "--key", carol).code == 0
    text = (bundle.parent / "SIGNERS.txt").read_text()
    assert text.count("  carol  ") == 2
    assert text.count("  -  ") == 2  # alice signed elsewhere: this folder does not know her
    signatures = sorted(path.name for path in bundle.parent.glob("statement.json.*.sig"))
    assert signatures == sorted(
        f"statement.json.{one.key_id[:8]}.sig" for one in head(bundle).signatures
    )


def test_names_in_an_older_paper_cannot_carry_escape_sequences(host, bundle, carol):
    (key, _other) = head(bundle).signatures
    evil = f"  \x1b[2Kalice           ed25519      {key.key_id}\n"
    (bundle.parent / "SIGNERS.txt").write_text(evil)
    assert host.airgap("sign", bundle, "--key", carol).code == 0
    assert "\x1b" not in (bundle.parent / "SIGNERS.txt").read_text()


@pytest.mark.parametrize("at", [HEAD + 40, HEAD + 400, -1])
def test_a_damaged_bundle_is_not_signed(host, bundle, carol, snapshot, at):
    content = bytearray(bundle.read_bytes())
    content[at] ^= 1
    bundle.write_bytes(content)
    before = snapshot(bundle.parent)
    said = host.airgap("sign", bundle, "--key", carol)
    assert said.code == 3
    assert "not what was signed" in said.err
    assert snapshot(bundle.parent) == before


def test_a_bundle_whose_files_are_not_the_manifests_is_not_signed(
    host, write, contents, carol, snapshot
):
    bad = write("bad", packed={"README.txt": b"x" * len(contents["README.txt"])})
    before = snapshot(bad.parent)
    said = host.airgap("sign", bad, "--key", carol)
    assert said.code == 3
    assert "'README.txt' has the SHA-256" in said.err
    assert snapshot(bad.parent) == before


def test_an_unknown_key_is_told_with_those_that_there_are(host, bundle, carol, tmp_path):
    said = host.airgap("sign", bundle, "--key", "nobody")
    assert said.code == 2
    assert said.err == (
        f"error: no private key 'nobody' in '{tmp_path / 'keys'}'; there: carol\n"
        "  next: airgap keygen nobody\n"
    )


@pytest.mark.parametrize(
    "options", [[], ["--key", "x", "--export", "y"], ["--export", "x", "--import", "y"]]
)
def test_one_thing_is_asked_at_a_time(host, bundle, options):
    said = host.airgap("sign", bundle, *options)
    assert said.code == 2
    assert "expected one of --key, --export and --import" in said.err


def test_signing_twice_keeps_one_signature_a_key(host, bundle, carol):
    assert host.airgap("sign", bundle, "--key", carol).code == 0
    assert host.airgap("sign", bundle, "--key", carol).code == 0
    assert len(head(bundle).signatures) == 4


# With openssl alone: the key never meets this tool.


@pytest.fixture
def elsewhere(tmp_path):
    """Makes a key with openssl; returns it, its public half, and how it signs a file."""

    def made(algorithm):
        key, public = tmp_path / f"{algorithm}.pem", tmp_path / f"{algorithm}.pub"
        kind = {
            "ed25519": ["-algorithm", "ED25519"],
            "p384": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
        }[algorithm]
        openssl("genpkey", *kind, "-out", key)
        openssl("pkey", "-in", key, "-pubout", "-out", public)
        sign = {
            "ed25519": ["pkeyutl", "-sign", "-inkey", key, "-rawin", "-in"],
            "p384": ["dgst", "-sha384", "-sign", key],
        }[algorithm]
        return public, sign

    return made


def openssl(*arguments):
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, check=True).stdout


@pytest.mark.parametrize("algorithm", ["ed25519", "p384"])
def test_export_and_import_with_openssl(host, unsigned, elsewhere, tmp_path, algorithm):
    public, sign = elsewhere(algorithm)
    exported, signature = tmp_path / "x.pae", tmp_path / "x.sig"
    said = host.airgap("sign", unsigned, "--export", exported, "--json")
    assert said.code == 0
    assert said.document["schema"] == "airgap/sign-export/v1"
    assert exported.read_bytes() == head(unsigned).message
    signature.write_bytes(openssl(*sign, exported))
    said = host.airgap("sign", unsigned, "--import", signature, "--public-key", public)
    assert said.code == 0, said.err
    said = host.airgap("verify", unsigned, "--key", public, "--json")
    assert said.code == 0, said.err
    assert said.document["host_policy"] is False
    assert "the verdict of the key that you gave, not of this host's policy" in said.err


def test_an_import_changes_the_head_and_adds_one_signature_file(
    host, unsigned, elsewhere, tmp_path, carol
):
    assert host.airgap("sign", unsigned, "--key", carol).code == 0
    before = {path.name: path.read_bytes() for path in unsigned.parent.iterdir() if path.is_file()}
    public, sign = elsewhere("ed25519")
    exported, signature = tmp_path / "x.pae", tmp_path / "x.sig"
    assert host.airgap("sign", unsigned, "--export", exported).code == 0
    signature.write_bytes(openssl(*sign, exported))
    said = host.airgap("sign", unsigned, "--import", signature, "--public-key", public)
    assert said.code == 0, said.err
    der = openssl("pkey", "-pubin", "-in", public, "-outform", "DER")
    after = {path.name: path.read_bytes() for path in unsigned.parent.iterdir() if path.is_file()}
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {unsigned.name, "SIGNERS.txt", "SHA256SUMS"}
    new = {f"statement.json.{hashlib.sha256(der).hexdigest()[:8]}.sig"}
    assert after.keys() - before.keys() - {"x.pae", "x.sig", public.name, "ed25519.pem"} == new
    assert after[unsigned.name][HEAD:] == before[unsigned.name][HEAD:]
    (signer,) = (
        (unsigned.parent / "SIGNERS.txt").read_text().split(hashlib.sha256(der).hexdigest())[:-1]
    )
    assert signer.splitlines()[-1].split() == [public.name.split(".")[0], "ed25519"]


@pytest.mark.parametrize("high", [False, True])
def test_both_forms_of_an_ecdsa_signature_become_the_lower(
    host, unsigned, elsewhere, tmp_path, high
):
    public, sign = elsewhere("p384")
    exported, signature = tmp_path / "x.pae", tmp_path / "x.sig"
    assert host.airgap("sign", unsigned, "--export", exported).code == 0
    r, s = decode_dss_signature(openssl(*sign, exported))
    if (s > P384_ORDER // 2) is not high:
        s = P384_ORDER - s
    signature.write_bytes(encode_dss_signature(r, s))
    said = host.airgap("sign", unsigned, "--import", signature, "--public-key", public)
    assert said.code == 0, said.err
    (found,) = head(unsigned).signatures
    assert decode_dss_signature(found.value) == (r, min(s, P384_ORDER - s))


@pytest.mark.parametrize("what", ["another file", "another key", "cut short", "empty"])
@pytest.mark.parametrize("algorithm", ["ed25519", "p384"])
def test_a_wrong_signature_is_not_imported(
    *, host, unsigned, elsewhere, tmp_path, snapshot, algorithm, what
):
    public, sign = elsewhere(algorithm)
    exported, signature = tmp_path / "x.pae", tmp_path / "x.sig"
    assert host.airgap("sign", unsigned, "--export", exported).code == 0
    if what == "another file":
        exported.write_bytes(exported.read_bytes() + b" ")
    if what == "another key":
        _public, sign = elsewhere(algorithm)
        openssl("pkey", "-in", tmp_path / f"{algorithm}.pem", "-pubout", "-out", public)
        public, _sign = elsewhere("p384" if algorithm == "ed25519" else "ed25519")
    content = openssl(*sign, exported)
    signature.write_bytes({"cut short": content[:-1], "empty": b""}.get(what, content))
    before = snapshot(unsigned.parent)
    said = host.airgap("sign", unsigned, "--import", signature, "--public-key", public)
    assert said.code == 2
    assert f"'{signature}' is no " in said.err
    assert f"signature of '{public}' over this bundle" in said.err
    assert snapshot(unsigned.parent) == before


def test_an_import_wants_the_public_key(host, unsigned, tmp_path):
    (tmp_path / "x.sig").write_bytes(b"x")
    said = host.airgap("sign", unsigned, "--import", tmp_path / "x.sig")
    assert said.code == 2
    assert "whose signature is it?" in said.err
    assert "--public-key FILE" in said.err


# A signing that dies: the head is the old one or the new one, or says that it is neither.

DIES = textwrap.dedent("""
    import os, sys
    from airgap import cli
    where = sys.argv.pop(1)
    pwrite = os.pwrite
    def torn(descriptor, content, offset):
        old = os.pread(descriptor, len(content), 0)
        spots = [at for at in range(len(content)) if old[at] != content[at]]
        upto = {
            "nothing": 0,
            "first": spots[0] + 1,
            "middle": (spots[0] + spots[-1]) // 2,
            "last": spots[-1],
            "all": len(content),
        }[where]
        pwrite(descriptor, content[:upto], offset)
        os._exit(9)
    os.pwrite = torn
    sys.exit(cli.run(sys.argv[1:]))
""")


def die_signing(bundle, where, *options):
    """Sign, and die when the new head is on the disk as far as this, among what changes."""
    done = subprocess.run(
        [sys.executable, "-c", DIES, where, "sign", str(bundle), *options], check=False
    )
    assert done.returncode == 9


def meeting(old, new):
    """Where two heads differ first and last."""
    spots = [at for at in range(HEAD) if old[at] != new[at]]
    return spots[0], spots[-1]


@pytest.mark.parametrize("where", ["nothing", "first", "middle", "last", "all"])
def test_a_signing_that_died_is_mended_by_the_next(host, bundle, carol, where, tmp_path):
    old = bundle.read_bytes()
    die_signing(bundle, where, "--key", carol)
    left = bundle.with_name(f".{bundle.name}.old-head")
    assert left.read_bytes() == old[:HEAD]
    if where in {"first", "middle", "last"}:
        said = host.airgap("verify", bundle)
        assert said.code == 3
        told = (
            "next: its signing was interrupted; this puts the old head back, and signs: "
            f"airgap sign {bundle} --key NAME"
        )
        assert told in said.err
        said = host.airgap("inspect", bundle)  # which may not notice: it verifies nothing
        assert said.code == 0 or told in said.err
    assert host.airgap("sign", bundle, "--export", tmp_path / "x.pae").code == 0
    assert not left.exists()
    assert bundle.read_bytes()[HEAD:] == old[HEAD:]
    signatures = set(head(bundle).signatures)
    assert set(Envelope.from_head(old[:HEAD]).signatures) <= signatures
    assert len(signatures) == (4 if where == "all" else 2)
    assert host.airgap("verify", bundle).code == 0
    assert host.airgap("sign", bundle, "--key", carol).code == 0
    assert len(head(bundle).signatures) == 4


def test_half_a_new_signature_and_half_an_old_one_is_mended_too(host, unsigned, carol, tmp_path):
    """A key that signs anew: the torn head is canonical, and only its signature is worthless."""
    trust_carol(host, tmp_path)
    key = tmp_path / "keys" / "carol.ecdsa-p384.key"
    other = tmp_path / "keys" / "carol.ed25519.key"
    assert host.airgap("sign", unsigned, "--key", other).code == 0
    for _attempt in range(40):  # signatures of P-384 differ in length by a byte or two
        assert host.airgap("sign", unsigned, "--key", key).code == 0
        old = unsigned.read_bytes()
        copy = unsigned.with_name("copy")
        copy.write_bytes(old)
        assert host.airgap("sign", copy, "--key", key).code == 0
        new = copy.read_bytes()
        first, last = meeting(old, new)
        if len(old[:HEAD].rstrip()) == len(new[:HEAD].rstrip()):
            torn = new[: (first + last) // 2] + old[(first + last) // 2 : HEAD]
            try:
                Envelope.from_head(torn)
            except Exception:  # noqa: BLE001, S112 - not canonical: try another signature
                continue
            break
    else:
        pytest.fail("no torn head was canonical")
    unsigned.write_bytes(torn + old[HEAD:])
    unsigned.with_name(f".{unsigned.name}.old-head").write_bytes(old[:HEAD])
    said = host.airgap("verify", unsigned)
    assert said.code == 3
    assert "its signing was interrupted" in said.err
    assert host.airgap("sign", unsigned, "--export", tmp_path / "x.pae").code == 0
    assert unsigned.read_bytes() == old
    assert host.airgap("verify", unsigned).code == 0


def test_an_old_head_of_another_bundle_is_not_put_in(host, write, bundle, carol):
    other = write("other", version="2", sequence=8)
    left = bundle.with_name(f".{bundle.name}.old-head")
    left.write_bytes(other.read_bytes()[:HEAD])
    statement = head(bundle).statement
    assert host.airgap("sign", bundle, "--key", carol).code == 0
    assert head(bundle).statement == statement
    assert not left.exists()


def test_two_signings_at_once_keep_both_signatures(host, unsigned):
    for name in ("dave", "erin"):
        assert host.airgap("keygen", name, "--unencrypted").code == 0
    command = [sys.executable, "-m", "airgap", "sign", str(unsigned), "--key"]
    both = [subprocess.Popen([*command, name], stdout=subprocess.PIPE) for name in ("dave", "erin")]
    for one in both:
        one.communicate()
        assert one.returncode == 0
    assert len(head(unsigned).signatures) == 4


def test_a_link_to_a_bundle_is_not_signed(host, bundle, carol, tmp_path):
    link = tmp_path / "link.tar.zst"
    link.symlink_to(bundle)
    before = bundle.read_bytes()
    said = host.airgap("sign", link, "--key", carol)
    assert said.code == 1
    assert said.err.startswith(f"error: cannot open '{link}' to sign it: ")
    assert bundle.read_bytes() == before
    assert os.path.islink(link)  # noqa: PTH114 - it is a path


def test_a_bundle_on_a_write_protected_medium_is_copied_first(host, bundle, carol, monkeypatch):
    real = os.open

    def read_only(path, flags, *rest, **how):
        if path == bundle and flags & os.O_RDWR:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, *rest, **how)

    before = bundle.read_bytes()
    monkeypatch.setattr(os, "open", read_only)
    said = host.airgap("sign", bundle, "--key", carol)
    assert said.code == 1
    assert said.err.splitlines() == [
        f"error: cannot open '{bundle}' to sign it: Read-only file system",
        "  next: copy the bundle's folder to where it can be written, and run this there",
    ]
    assert bundle.read_bytes() == before
