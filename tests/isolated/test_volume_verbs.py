"""verify, inspect, mount and sign take a set of volumes like one file."""

from __future__ import annotations

import pytest

from airgap import limits

SIZE = 2_000_000


@pytest.fixture
def split(bundle, tmp_path):
    """The bundle in three volumes, in a folder of its own."""
    folder = tmp_path / "split"
    folder.mkdir()
    data = bundle.read_bytes()
    for number, at in enumerate(range(0, len(data), SIZE), start=1):
        (folder / f"{bundle.name}.{number:03}").write_bytes(data[at : at + SIZE])
    assert len(list(folder.iterdir())) == 3
    return folder


def test_verified_inspected_and_mounted_in_place(host, split):
    first = min(split.iterdir())
    for named in (split, first):
        assert host.airgap("verify", named, "--deep").out.startswith("ward-1.0.0: verified")
        assert "ward-1.0.0" in host.airgap("inspect", named).out
    said = host.airgap("mount", split)
    assert said.code == 0, said.err
    assert host.current.exists()


def test_a_set_over_two_sticks(host, split, tmp_path):
    other = tmp_path / "other stick"
    other.mkdir()
    for path in sorted(split.iterdir())[1:]:
        path.rename(other / path.name)
    said = host.airgap("mount", split)
    assert said.code == 3
    assert "missing in" in said.err
    assert "--also FOLDER" in said.err
    assert host.blobs() == []
    for verb in ("verify", "inspect", "mount"):
        said = host.airgap(verb, split, "--also", other)
        assert said.code == 0, said.err
    assert host.airgap("verify", other, "--also", split, "--integrity-only").code == 4


def test_a_refused_set_is_in_the_audit_log(host, split):
    sorted(split.iterdir())[1].unlink()
    assert host.airgap("verify", split).code == 3
    assert "volumes.missing" in host.airgap("audit", "show").out


def test_signing_changes_the_first_volume_alone(host, split, bundle):
    assert host.airgap("keygen", "carol", "--unencrypted").code == 0
    before = {path.name: path.read_bytes() for path in split.iterdir()}
    said = host.airgap("sign", split, "--key", "carol")
    assert said.code == 0, said.err
    first = f"{bundle.name}.001"
    changed = {name for name, content in before.items() if (split / name).read_bytes() != content}
    assert changed == {first}
    assert (split / first).read_bytes()[limits.HEAD_SLOT :] == before[first][limits.HEAD_SLOT :]
    assert host.airgap("verify", split).code == 0
    papers = (split / "SIGNERS.txt").read_text()
    assert f"cat {bundle.name}.??? | tail -c" in papers
    assert list(split.glob(".*")) == []


def test_a_set_over_two_sticks_is_signed_where_its_head_is(host, split, tmp_path):
    assert host.airgap("keygen", "carol", "--unencrypted").code == 0
    other = tmp_path / "other"
    other.mkdir()
    for path in sorted(split.iterdir())[:2]:
        path.rename(other / path.name)
    said = host.airgap("sign", split, "--also", other, "--key", "carol")
    assert said.code == 0, said.err
    assert (other / "SIGNERS.txt").is_file()
    assert host.airgap("verify", other, "--also", split).code == 0


def test_an_incomplete_or_damaged_set_is_not_signed(host, split, snapshot):
    assert host.airgap("keygen", "carol", "--unencrypted").code == 0
    last = max(split.iterdir())
    content = bytearray(last.read_bytes())
    content[-1] ^= 1
    last.write_bytes(content)
    before = snapshot(split)
    assert host.airgap("sign", split, "--key", "carol").code == 3
    assert snapshot(split) == before
    last.unlink()
    said = host.airgap("sign", split, "--key", "carol")
    assert said.code == 3
    assert f"'{last.name}'" in said.err


def test_an_interrupted_signing_of_a_set_is_told_and_mended(host, split):
    first = min(split.iterdir())
    old = first.read_bytes()
    (split / f".{first.name}.old-head").write_bytes(old[: limits.HEAD_SLOT])
    first.write_bytes(b"\0" * 100 + old[100:])
    said = host.airgap("verify", split)
    assert said.code == 3
    assert "its signing was interrupted" in said.err
    assert host.airgap("sign", split, "--export", split.parent / "x.pae").code == 0
    assert first.read_bytes() == old
    assert host.airgap("verify", split).code == 0
