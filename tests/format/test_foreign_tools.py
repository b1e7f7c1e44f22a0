"""Nobody has to believe us: tar, zstd, sha256sum, openssl and Python's tarfile, run for real."""

import hashlib
import io
import subprocess
import tarfile

import pytest
import zstandard

from airgap import frames, keys, limits
from airgap.archive import frames_start
from airgap.envelope import Envelope, Signature
from airgap.errors import UntrustedError
from airgap.limits import FRAME_PLAIN
from airgap.policy import policy_of_keys


@pytest.fixture(params=["recipe", "large_recipe"])
def on_disk(request, tmp_path, alice):
    """A bundle's path and the files that it was made of."""
    made = request.getfixturevalue(request.param)
    path = tmp_path / "demo-1.0.0.tar.zst"
    path.write_bytes(made.build(alice))
    return path, made.contents


def run(*command, data=None):
    return subprocess.run(
        [str(part) for part in command], input=data, capture_output=True, check=True
    ).stdout


def tree(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_tar_unpacks_a_working_tree(on_disk, foreign, tmp_path, verified, trusting_alice):
    path, contents = on_disk
    foreign("zstd")
    out = tmp_path / "out"
    out.mkdir()
    run(foreign("tar"), "--zstd", "-xf", path, "-C", out)
    found = tree(out)
    manifest = found.pop("manifest.json")
    assert found == contents
    bundle = verified(path.read_bytes(), trusting_alice).bundle
    assert manifest == bundle.manifest.to_bytes()
    assert not [one for one in out.rglob("*") if one.is_symlink()]


def test_zstd_tests_it(on_disk, foreign):
    path, _contents = on_disk
    run(foreign("zstd"), "-t", "-q", path)


def test_tarfile_reads_it(on_disk):
    path, contents = on_disk
    plain = zstandard.ZstdDecompressor().stream_reader(path.read_bytes(), read_across_frames=True)
    with tarfile.open(fileobj=io.BytesIO(plain.read())) as opened:
        found = {one.name: opened.extractfile(one).read() for one in opened if one.isreg()}
    del found["manifest.json"]
    assert found == contents


def test_tail_and_sha256sum_check_the_payload(on_disk, foreign, verified, trusting_alice):
    """The command that the paperwork prints."""
    path, _contents = on_disk
    statement = verified(path.read_bytes(), trusting_alice).bundle.statement
    start = frames_start(statement)
    shell = f"tail -c +{start + 1} '{path}' | {foreign('sha256sum')}"
    assert run("sh", "-c", shell).decode().split()[0] == statement.subjects["payload"]


def test_every_part_lies_where_the_specification_says(on_disk, verified, trusting_alice):
    """Read with nothing of ours: offsets from docs/format.md, hashlib and zstandard alone."""
    path, contents = on_disk
    data = path.read_bytes()
    statement = verified(data, trusting_alice).bundle.statement
    table_size = int.from_bytes(data[65540:65544], "little")
    table = data[65544 : 65544 + table_size]
    assert hashlib.sha256(table).hexdigest() == statement.subjects["table"]
    count = int.from_bytes(table[24:32], "little")
    position, plain = 65544 + table_size, []
    for number in range(count):
        line = table[32 + 40 * number : 72 + 40 * number]
        stored = data[position : position + int.from_bytes(line[:4], "little")]
        assert hashlib.sha256(stored).digest() == line[8:]
        plain.append(zstandard.ZstdDecompressor().decompress(stored))
        assert len(plain[-1]) == int.from_bytes(line[4:8], "little")
        position += len(stored)
    assert position == len(data)
    payload = b"".join(plain[1:])
    assert [len(piece) for piece in plain[1:-1]] == [FRAME_PLAIN] * (count - 2)
    manifest = verified(data, trusting_alice).bundle.manifest
    for file in manifest.files:
        assert payload[file.offset : file.offset + file.size] == contents[file.path]


def envelope_of(data):
    return Envelope.from_head(data[: limits.HEAD_SLOT])


def verify_with_openssl(openssl, tmp_path, key, signature, message):
    """The commands of facts that everybody can type; the outcome of openssl itself."""
    files = {"pub.pem": key.pem.encode(), "sig": signature, "pae": message}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    pem, sig, pae = (tmp_path / name for name in files)
    if key.algorithm == keys.ED25519:
        command = [
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            pem,
            "-rawin",
            "-in",
            pae,
            "-sigfile",
            sig,
        ]
    else:
        command = ["dgst", "-sha384", "-verify", pem, "-signature", sig, pae]
    return subprocess.run([openssl, *map(str, command)], capture_output=True, check=False)


@pytest.mark.parametrize("algorithm", [keys.ED25519, keys.ECDSA_P384])
def test_openssl_verifies_the_signatures(bundle, alice, foreign, tmp_path, algorithm):
    envelope = envelope_of(bundle)
    key = next(one for one in alice.public if one.algorithm == algorithm)
    value = next(one.value for one in envelope.signatures if one.key_id == key.key_id)
    openssl = foreign("openssl")
    good = verify_with_openssl(openssl, tmp_path, key, value, envelope.message)
    assert good.returncode == 0, good.stderr
    bad = verify_with_openssl(openssl, tmp_path, key, value, envelope.message + b" ")
    assert bad.returncode != 0


def test_openssl_alone_signs(recipe, foreign, tmp_path, verified):
    """A key that never saw this program: made, and used over the PAE, by openssl."""
    openssl = foreign("openssl")
    private, pae = tmp_path / "private.pem", tmp_path / "pae"
    run(openssl, "genpkey", "-algorithm", "ed25519", "-out", private)
    [public] = keys.load_public_keys(run(openssl, "pkey", "-in", private, "-pubout"), "x")
    unsigned = recipe.build()
    envelope = envelope_of(unsigned)
    pae.write_bytes(envelope.message)
    value = run(openssl, "pkeyutl", "-sign", "-inkey", private, "-rawin", "-in", pae)
    signed = envelope.signed_also([Signature(public.key_id, value)])
    data = signed.to_head() + unsigned[limits.HEAD_SLOT :]
    policy = policy_of_keys([public], "--key")
    found = verified(data, policy)
    found.bundle.check_contents()
    assert found.verdict.signers == {"the key given": (keys.ED25519,)}
    with pytest.raises(UntrustedError, match="nobody has signed it"):
        verified(unsigned, policy)


def test_the_pae_in_one_line_of_shell(bundle, foreign, tmp_path):
    """`printf` and `cat` make what is signed out of the statement."""
    envelope = envelope_of(bundle)
    statement = tmp_path / "statement.json"
    statement.write_bytes(envelope.statement)
    shell = (
        "printf 'DSSEv1 28 application/vnd.in-toto+json %s ' \"$(stat -c %s statement.json)\"; "
        "cat statement.json"
    )
    made = subprocess.run(["sh", "-c", shell], cwd=tmp_path, capture_output=True, check=True)
    assert made.stdout == envelope.message


def test_sha256sum_of_the_statement_is_the_approval_code(bundle, foreign, verified, trusting_alice):
    digest = run(foreign("sha256sum"), data=envelope_of(bundle).statement).decode().split()[0]
    code = verified(bundle, trusting_alice).approval_code
    assert code.replace(" ", "") == digest
    assert {len(group) for group in code.split(" ")} == {4}


def test_zstd_shows_two_skippable_frames(bundle, foreign, tmp_path):
    """Ordinary readers pass over head and table."""
    path = tmp_path / "b.zst"
    path.write_bytes(bundle)
    told = run(foreign("zstd"), "-lv", path).decode()
    assert "# Zstandard Frames: 2" in told
    assert "# Skippable Frames: 2" in told


def test_frames_of_a_large_bundle_are_independent(large_bundle):
    """Any frame alone, without those before it."""
    size = int.from_bytes(large_bundle[65540:65544], "little")
    lines = large_bundle[65544 + 32 : 65544 + size]
    sizes = [int.from_bytes(lines[at : at + 4], "little") for at in range(0, len(lines), 40)]
    last = large_bundle[-sizes[-1] :]
    plain = int.from_bytes(lines[-36:-32], "little")
    assert len(frames.decompress(last, plain, "the last frame")) == plain < FRAME_PLAIN
