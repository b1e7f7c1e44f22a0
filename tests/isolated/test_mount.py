"""What a mount lays out: the manifest's tree, as links into a store that holds each file once."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path

import pytest

from airgap import volumes
from airgap.archive import read_head
from airgap.manifest import Manifest

OURS = {"airgap.head", "manifest.json", "mount.json", "model_inventory.json"}


def files_below(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def further(contents):
    """The plain folder of the bundle's one model: each of its files once more."""
    return {f"whisper/tiny/{path.rpartition('/')[2]}" for path in contents if "/snapshots/" in path}


def test_tree_is_the_manifests_further_names_and_four_files_of_ours(mounted, contents):
    assert files_below(mounted.current) == {*contents, *further(contents), *OURS}


def test_every_file_is_a_read_only_link_to_the_blob_of_its_digest(mounted, contents):
    for path, content in contents.items():
        file = mounted.current / path
        sha256 = hashlib.sha256(content).hexdigest()
        blob = mounted.root / "store" / "sha256" / sha256[:2] / sha256
        assert file.read_bytes() == content
        assert not file.is_symlink()
        assert stat.S_IMODE(file.stat().st_mode) == 0o444
        assert file.stat().st_ino == blob.stat().st_ino


def test_there_is_one_copy_on_the_disk(mounted, contents):
    distinct = {hashlib.sha256(content).hexdigest() for content in contents.values()}
    assert {blob.name for blob in mounted.blobs()} == distinct
    unique = {path.stat().st_ino: path.stat().st_blocks for path in mounted.root.rglob("*")}
    assert sum(unique.values()) * 512 < sum(map(len, contents.values())) + 400_000


def test_equal_files_are_one_blob(mounted, contents):
    twins = [path for path in contents if contents[path] == b"{}\n" * 700]
    assert len(twins) == 2
    assert len({(mounted.current / path).stat().st_ino for path in twins}) == 1
    assert (mounted.current / twins[0]).stat().st_nlink == 1 + 2 * len(twins)


def test_head_and_manifest_in_the_mount_are_the_bundles(mounted, bundle, manifest_of, contents):
    with volumes.opened(bundle) as source:
        envelope = read_head(source)
    assert (mounted.current / "airgap.head").read_bytes() == envelope.to_head()
    assert (mounted.current / "manifest.json").read_bytes() == manifest_of(contents).to_bytes()


def test_record_says_who_signed_and_whose_policy_it_was(mounted):
    record = json.loads((mounted.current / "mount.json").read_bytes())
    assert record["schema"] == "airgap/mount/v2"
    assert record["signers"] == ["alice"]
    assert record["policy"] == f"the trust store '{mounted.root / 'trust'}'"
    assert record["mounted"].endswith("Z")


def test_inventory_lists_what_is_there(mounted, contents):
    inventory = json.loads((mounted.current / "model_inventory.json").read_bytes())
    assert inventory["diarization_enabled"] is False
    (model,) = inventory["models"]
    assert (model["id"], model["role"], model["repository"]) == ("tiny", "asr", "org/name")
    assert (mounted.current / model["path"] / "model.bin").is_file()
    sizes = [len(content) for path, content in contents.items() if path.startswith("hf/")]
    assert model["size_bytes"] == sum(sizes)


def test_mount_reports_what_list_reports(host, bundle):
    told = host.airgap("mount", bundle, "--json").document
    (listed,) = host.airgap("list", "--json").document["mounts"]
    assert told["schema"] == "airgap/mount/v1"
    for key in ("name", "version", "sequence", "signers", "approval_code", "cache_root"):
        assert told[key] == listed[key]
    assert listed["cache_root"] == str(host.current)
    assert listed["generation"] == 1


def test_cache_root_points_at_a_generation_by_a_relative_link(mounted):
    assert mounted.current.readlink() == Path("generations/000001")


def test_blobs_that_are_there_are_not_written_again(mounted, bundle):
    before = {blob: (blob.stat().st_ino, blob.stat().st_mtime_ns) for blob in mounted.blobs()}
    assert mounted.airgap("mount", bundle).code == 0
    after = {blob: (blob.stat().st_ino, blob.stat().st_mtime_ns) for blob in mounted.blobs()}
    assert after == before
    assert mounted.current.readlink() == Path("generations/000002")


def test_a_rotten_blob_is_mended_by_mounting_once_more(mounted, bundle, contents, unsound):
    path = max(contents, key=lambda one: len(contents[one]))
    file = mounted.current / path
    file.chmod(0o644)
    with file.open("r+b") as stream:
        stream.seek(1_000_000)
        stream.write(b"rot")
    file.chmod(0o444)
    assert unsound(mounted.root)
    assert mounted.airgap("mount", bundle).code == 0
    assert unsound(mounted.root) == []
    assert (mounted.current / path).read_bytes() == contents[path]


def test_a_newer_version_takes_over_and_the_older_generation_stays(mounted, write, contents):
    changed = {**contents, "README.txt": b"The next version.\n"}
    newer = write("newer", contents=changed, version="1.1.0", sequence=8)
    before = len(mounted.blobs())
    assert mounted.airgap("mount", newer).code == 0
    assert (mounted.current / "README.txt").read_bytes() == b"The next version.\n"
    older = mounted.current.parent / "generations" / "000001"
    assert (older / "README.txt").read_bytes() == contents["README.txt"]
    assert len(mounted.blobs()) == before + 1
    (listed,) = mounted.airgap("list", "--json").document["mounts"]
    assert (listed["version"], listed["generation"]) == ("1.1.0", 2)


def test_bundles_of_two_names_lie_side_by_side_and_share_blobs(mounted, write, contents):
    before = mounted.blobs()
    said = mounted.airgap("mount", write("clinic", title="clinic"))
    assert said.code == 0, said.err
    assert mounted.blobs() == before
    names = [one["name"] for one in mounted.airgap("list", "--json").document["mounts"]]
    assert names == ["clinic", "ward"]
    model = max(contents, key=lambda one: len(contents[one]))
    assert (mounted.current / model).stat().st_nlink == 1 + 2 * len(names)


def test_what_a_killed_mount_left_is_swept(mounted, bundle, unsound):
    (mounted.root / "staging" / ("ab" * 32)).write_bytes(b"half")
    (mounted.root / "staging" / "folder").mkdir()
    (mounted.root / "staging" / "folder" / "link").symlink_to("/etc")
    half = mounted.current.parent / "generations" / ".0badcafe"
    (half / "hf").mkdir(parents=True)
    (half / "hf" / "file").write_bytes(b"half")
    (mounted.current.parent / ".0badcafe").symlink_to("generations/000009")
    assert mounted.airgap("mount", bundle).code == 0
    assert unsound(mounted.root) == []
    assert Path("/etc").is_dir()


def test_list_on_an_empty_host_says_so_and_makes_nothing(host, tmp_path):
    nowhere = tmp_path / "nowhere"
    said = host.airgap("list", "--root", nowhere)
    assert said.code == 0
    assert said.out == ""
    assert said.err == f"nothing is mounted in '{nowhere}'; next: airgap mount BUNDLE\n"
    assert not nowhere.exists()


def test_manifest_of_the_mount_parses(mounted):
    manifest = Manifest.parse((mounted.current / "manifest.json").read_bytes())
    assert manifest.name == "ward"


@pytest.mark.heavy
def test_real_hub_client_finds_the_model_by_name_offline(mounted, monkeypatch, contents):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - reads settings when imported

    folder = snapshot_download(
        "org/name", local_files_only=True, cache_dir=mounted.current / "hf" / "hub"
    )
    model = max(contents, key=lambda one: len(contents[one]))
    assert (Path(folder) / "model.bin").read_bytes() == contents[model]
    refs = mounted.current / "hf" / "hub" / "models--org--name" / "refs" / "main"
    assert len(refs.read_bytes()) == 40
