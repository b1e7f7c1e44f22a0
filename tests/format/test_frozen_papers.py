"""What else of format version 1 must be read for ever: volumes, a delta, and signed papers."""

import hashlib
import subprocess
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airgap import base, keys, papers, signature_files, verify, volumes
from airgap.errors import UntrustedError
from airgap.policy import policy_of_keys
from airgap.statement import BOOTSTRAP, BOOTSTRAP_SUMS

FOLDER = Path(__file__).parents[1] / "data/bundles"
PAPERS = FOLDER / "v1-papers"
KEYS = [
    key
    for path in sorted(PAPERS.glob("officer.*.pub"))
    for key in keys.load_public_keys(path.read_bytes(), str(path))
]
CODES = {
    "v1-papers": "8d69fc1de3ab08555ea7f361a8d873be35dc03298c5908fd650e4380cd7070ca",
    "v1-split": "8d69fc1de3ab08555ea7f361a8d873be35dc03298c5908fd650e4380cd7070ca",
    "v1-delta": "f239e10defb2a074d03062c28236b659cf2b482bcea11040704866fc49624f76",
}
"""SHA-256 of each one's statement."""


@pytest.fixture
def opened():
    """Opens and verifies a frozen bundle by its folder."""
    policy = policy_of_keys(KEYS, "the keys beside it")
    with ExitStack() as stack:

        def opened(name):
            source = stack.enter_context(volumes.opened(FOLDER / name))
            return verify.verify(source, policy, None, datetime.now(UTC))

        yield opened


@pytest.mark.parametrize("name", CODES)
def test_it_verifies_to_its_last_byte(opened, name):
    found = opened(name)
    found.bundle.check_contents()
    assert found.approval_code.replace(" ", "") == CODES[name]
    assert found.verdict.signers == {"the key given": (keys.ECDSA_P384, keys.ED25519)}


def test_volumes_hold_the_very_bundle():
    parts = sorted((FOLDER / "v1-split").iterdir())
    assert len(parts) == 2
    joined = b"".join(path.read_bytes() for path in parts)
    assert joined == (PAPERS / "ward-1.0.0.tar.zst").read_bytes()


def test_a_delta_builds_on_its_base_and_on_no_other(opened):
    delta, whole = opened("v1-delta").bundle, opened("v1-papers").bundle
    base.check(delta, whole)
    assert [file.path for file in delta.manifest.left_to_base] == ["samples/big.bin"]
    with pytest.raises(UntrustedError, match=r"has the digest"):
        base.check(delta, delta)


def test_signature_files_for_other_tools_still_check(opened):
    bundle = opened("v1-papers").bundle
    known = {key.key_id: key for key in KEYS}
    found = list(signature_files.found(PAPERS, known))
    assert {one.file for one in found} == {"manifest.json.minisig", "model.sig"}
    for one in found:
        key = known[one.key_id]
        assert signature_files.holds(one, key, bundle.envelope.statement, bundle.manifest)


def test_raw_signatures_still_check_by_openssl(opened, foreign, tmp_path):
    statement = (PAPERS / "statement.json").read_bytes()
    assert statement == opened("v1-papers").bundle.envelope.statement
    head = f"DSSEv1 28 application/vnd.in-toto+json {len(statement)} ".encode()
    (tmp_path / "pae").write_bytes(head + statement)
    (key,) = (one for one in KEYS if one.algorithm == keys.ECDSA_P384)
    signature = PAPERS / f"statement.json.{key.key_id[:8]}.sig"
    public = PAPERS / "officer.ecdsa-p384.pub"
    command = [foreign("openssl"), "dgst", "-sha384", "-verify", public, "-signature", signature]
    done = subprocess.run([*command, tmp_path / "pae"], capture_output=True, check=True)
    assert done.stdout == b"Verified OK\n"


def test_what_lies_beside_it_is_what_its_statement_names(opened):
    subjects = opened("v1-papers").bundle.statement.subjects
    for name in (BOOTSTRAP, BOOTSTRAP_SUMS):
        assert hashlib.sha256((PAPERS / name).read_bytes()).hexdigest() == subjects[name]


def test_the_names_of_its_signers_are_still_read():
    assert papers._names_in(PAPERS / papers.SIGNERS) == {key.key_id: "officer" for key in KEYS}
