"""Links and oddities that someone planted under the root: nothing is ever written through them.

The class of CVE-2026-29064. `outside` stands for whatever a link could reach; it must be as it
was, whether the mount goes on (a private name is simply replaced) or stops with an error.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_text("not ours\n")
    return folder


def blob_path(host, contents):
    """Where the model's blob lies, relative to the root."""
    sha256 = hashlib.sha256(max(contents.values(), key=len)).hexdigest()
    return f"store/sha256/{sha256[:2]}/{sha256}"


@pytest.mark.parametrize(
    "where",
    [
        "store",
        "store/sha256",
        "staging",
        "mounts",
        "mounts/ward",
        "mounts/ward/generations",
    ],
)
def test_a_link_where_a_folder_belongs_is_refused(host, bundle, outside, snapshot, where):
    link = host.root / where
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    before = snapshot(outside)
    said = host.airgap("mount", bundle)
    assert said.code == 1
    assert said.err == f"error: cannot use '{link}': a link or a file is in the way\n"
    assert snapshot(outside) == before
    assert not host.current.exists()
    assert host.airgap("list").out == ""


def test_a_link_in_place_of_a_shard_of_the_store_is_refused(
    host, bundle, contents, outside, snapshot
):
    shard = (host.root / blob_path(host, contents)).parent
    shard.parent.mkdir(parents=True)
    shard.symlink_to(outside)
    before = snapshot(outside)
    said = host.airgap("mount", bundle)
    assert said.code == 1
    assert said.err == f"error: cannot use '{shard}': a link or a file is in the way\n"
    assert snapshot(outside) == before
    assert not (host.root / "mounts").exists()


def test_a_shard_that_becomes_a_link_during_the_mount_is_refused(
    *, host, bundle, contents, outside, snapshot, monkeypatch
):
    from runtime.store import Store  # noqa: PLC0415 - patched here

    shard = (host.root / blob_path(host, contents)).parent
    take = Store.take

    def plant_then_take(store, staging):
        shard.symlink_to(outside)
        take(store, staging)

    monkeypatch.setattr(Store, "take", plant_then_take)
    before = snapshot(outside)
    said = host.airgap("mount", bundle)
    assert said.code == 1
    assert f"cannot use '{shard}': a link or a file is in the way" in said.err
    assert snapshot(outside) == before
    assert list((host.root / "staging").iterdir()) == []


@pytest.mark.parametrize("kind", ["link", "dangling link", "fifo", "shorter file", "other bytes"])
def test_an_impostor_under_a_blobs_name_is_replaced(
    *, host, bundle, contents, outside, snapshot, unsound, kind
):
    blob = host.root / blob_path(host, contents)
    blob.parent.mkdir(parents=True)
    size = max(map(len, contents.values()))
    match kind:
        case "link":
            (outside / "precious").write_bytes(b"x" * size)
            blob.symlink_to(outside / "precious")
        case "dangling link":
            blob.symlink_to(outside / "new")
        case "fifo":
            os.mkfifo(blob)
        case "shorter file":
            blob.write_bytes(b"x")
        case "other bytes":
            blob.write_bytes(b"x" * size)
    before = snapshot(outside)
    said = host.airgap("mount", bundle)
    assert said.code == 0, said.err
    assert snapshot(outside) == before
    assert unsound(host.root) == []


def test_a_folder_under_a_blobs_name_is_refused(host, bundle, contents):
    blob = host.root / blob_path(host, contents)
    blob.mkdir(parents=True)
    said = host.airgap("mount", bundle)
    assert said.code == 1
    assert said.err == f"error: cannot write '{blob}': Is a directory\n"
    assert list((host.root / "staging").iterdir()) == []
    assert not host.current.exists()


@pytest.mark.parametrize("kind", ["link", "dangling link", "fifo", "folder"])
def test_only_a_file_can_be_the_lock(host, bundle, outside, snapshot, kind):
    lock = host.root / "lock"
    match kind:
        case "link":
            lock.symlink_to(outside / "precious")
        case "dangling link":
            lock.symlink_to(outside / "new")
        case "fifo":
            os.mkfifo(lock)
        case "folder":
            lock.mkdir()
    before = snapshot(outside)
    said = host.airgap("mount", bundle)
    assert said.code == 1
    why = {
        "fifo": f"'{lock}' is not a file",
        "folder": f"cannot lock '{lock}': Is a directory",
    }.get(kind, f"cannot lock '{lock}': it is a link, and none is followed here")
    assert said.err == f"error: {why}\n"
    assert snapshot(outside) == before
    assert not (host.root / "store").exists()


def test_a_link_in_staging_is_removed_not_followed(host, bundle, outside, snapshot, unsound):
    (host.root / "staging").mkdir()
    (host.root / "staging" / "a").symlink_to(outside)
    (host.root / "staging" / "b").symlink_to(outside / "precious")
    before = snapshot(outside)
    assert host.airgap("mount", bundle).code == 0
    assert snapshot(outside) == before
    assert unsound(host.root) == []


def test_current_that_leads_outside_is_replaced_not_followed(mounted, bundle, outside, snapshot):
    mounted.current.unlink()
    mounted.current.symlink_to(outside)
    before = snapshot(outside)
    assert mounted.airgap("list").out == ""
    assert mounted.airgap("mount", bundle).code == 0
    assert mounted.current.readlink() == Path("generations/000002")
    assert snapshot(outside) == before


@pytest.mark.parametrize("target", ["../../../outside", "generations/../../outside", "/", "."])
def test_current_is_believed_only_where_it_names_a_generation(mounted, outside, target):
    mounted.current.unlink()
    mounted.current.symlink_to(target)
    said = mounted.airgap("list")
    assert (said.code, said.out) == (0, "")


def test_a_folder_in_place_of_current_is_refused_and_left(mounted, bundle, snapshot):
    mounted.current.unlink()
    mounted.current.mkdir()
    said = mounted.airgap("mount", bundle)
    assert said.code == 1
    assert said.err == f"error: cannot write '{mounted.current}': Is a directory\n"
    assert [path.name for path in mounted.current.parent.glob(".*")] == []
    assert list(mounted.current.iterdir()) == []


def test_a_generation_that_is_a_link_is_not_opened(mounted, outside):
    generation = mounted.current.parent / "generations" / "000001"
    shutil.copytree(generation, outside / "copy")
    shutil.rmtree(generation)
    generation.symlink_to(outside / "copy")
    said = mounted.airgap("list")
    assert said.code == 1
    assert said.err == f"error: cannot use '{generation}': a link or a file is in the way\n"


@pytest.mark.parametrize("name", ["airgap.head", "manifest.json", "mount.json"])
@pytest.mark.parametrize("kind", ["link", "fifo", "missing"])
def test_a_files_impostor_in_the_mount_is_refused(mounted, outside, name, kind):
    path = mounted.current.resolve() / name
    (outside / "copy").write_bytes(path.read_bytes())
    path.unlink()
    if kind == "link":
        path.symlink_to(outside / "copy")
    elif kind == "fifo":
        os.mkfifo(path)
    said = mounted.airgap("list")
    assert said.code == 1
    why = {
        "link": f"cannot read '{path}': it is a link, and none is followed here",
        "fifo": f"'{path}' is not a file",
        "missing": f"cannot read '{path}': No such file or directory",
    }[kind]
    assert said.err == f"error: {why}\n"
    assert said.out == ""
