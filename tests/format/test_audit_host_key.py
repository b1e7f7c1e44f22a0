"""The host's key: made once, for its owner alone, and never replaced unseen."""

import os
import stat
import subprocess

import pytest

from airgap import host_key, signing
from airgap.audit import AuditLog
from airgap.errors import AirgapError
from airgap.host_key import HostKey
from airgap.keys import ECDSA_P384, ED25519


@pytest.fixture
def folder(tmp_path):
    HostKey.of(tmp_path)
    return tmp_path / "audit"


def test_it_is_made_once(tmp_path):
    first = HostKey.of(tmp_path)
    content = (tmp_path / "audit" / "host.key").read_bytes()
    assert HostKey.of(tmp_path).public.key_id == first.public.key_id
    assert (tmp_path / "audit" / "host.key").read_bytes() == content
    assert host_key.public_key(tmp_path).key_id == first.public.key_id
    assert first.public.algorithm == ED25519


def test_only_its_owner_reads_it(folder):
    assert stat.S_IMODE((folder / "host.key").stat().st_mode) == 0o600
    assert sorted(path.name for path in folder.iterdir()) == ["host.key", "host.pub"]


def test_openssl_reads_both_halves(folder):
    made = subprocess.run(
        ["openssl", "pkey", "-in", folder / "host.key", "-pubout"], capture_output=True, check=True
    )
    assert made.stdout == (folder / "host.pub").read_bytes()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_key_that_others_can_read(folder, tmp_path, mode):
    (folder / "host.key").chmod(mode)
    with pytest.raises(AirgapError, match="others may read it; expected 0600") as caught:
        HostKey.of(tmp_path)
    assert "chmod 600" in caught.value.hint


def test_a_public_half_that_is_missing_is_written_again(folder, tmp_path):
    before = (folder / "host.pub").read_bytes()
    (folder / "host.pub").unlink()
    HostKey.of(tmp_path)
    assert (folder / "host.pub").read_bytes() == before


def test_a_public_half_of_another_key(folder, tmp_path):
    other = signing.generate(ED25519).public.pem
    (folder / "host.pub").write_text(other)
    with pytest.raises(AirgapError, match="is not the public half of"):
        HostKey.of(tmp_path)
    assert (folder / "host.pub").read_text() == other


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x" * 100_000,
        signing.generate(ECDSA_P384).to_pem(None),
        signing.generate(ED25519).to_pem(b"secret"),
        signing.generate(ED25519).public.pem.encode(),
    ],
    ids=["empty", "large", "p384", "encrypted", "public"],
)
def test_what_is_no_host_key(folder, tmp_path, content):
    (folder / "host.key").write_bytes(content)
    with pytest.raises(AirgapError, match="is no key of a host"):
        HostKey.of(tmp_path)
    assert (folder / "host.key").read_bytes() == content


def test_a_lost_key_is_not_replaced_unseen(tmp_path):
    """A new key would sign a log that somebody rewrote as if nothing had been."""
    log = AuditLog.of(tmp_path)
    log.append("verify")
    (tmp_path / "audit" / "host.key").unlink()
    with pytest.raises(AirgapError, match="is missing, and the audit log has begun") as caught:
        HostKey.of(tmp_path)
    assert "restore the folder from the backup" in caught.value.hint
    log.append("verify")  # no checkpoint is due: what needs no key is still recorded
    assert log.verify().defect is None
    assert not (tmp_path / "audit" / "host.key").exists()


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "audit").write_bytes(b"")
    with pytest.raises(AirgapError, match="cannot make the folder"):
        HostKey.of(tmp_path)


def test_a_pipe_in_its_place(tmp_path):
    (tmp_path / "audit").mkdir()
    os.mkfifo(tmp_path / "audit" / "host.key", 0o600)
    with pytest.raises(AirgapError, match="is no key of a host"):
        HostKey.of(tmp_path)
