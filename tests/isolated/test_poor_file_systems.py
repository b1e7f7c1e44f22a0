"""File systems without links, and umasks: a mount is whole, readable by all, written by none."""

from __future__ import annotations

import errno
import os
import stat
from types import SimpleNamespace

import pytest

from airgap.verbs import mounted as of_mounts


def no_links(monkeypatch, code=errno.EPERM):
    """As FAT answers link(2)."""

    def fail(*_given, **_more):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", fail)


@pytest.fixture(params=[errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def without_links(request, host, monkeypatch):
    """A host whose file system has no hard links."""
    no_links(monkeypatch, request.param)
    return host


def test_without_hard_links_it_copies_and_says_so(without_links, bundle, contents, unsound):
    host = without_links
    said = host.airgap("mount", bundle)
    assert said.code == 0, said.err
    assert "has no hard links: the mount is a second copy of the models, 5.0 MB more" in said.err
    assert unsound(host.root) == []
    for path, content in contents.items():
        file = host.current / path
        assert file.read_bytes() == content
        assert (file.stat().st_nlink, stat.S_IMODE(file.stat().st_mode)) == (1, 0o444)
    assert host.airgap("verify", "--mounted").code == 0


def test_copies_are_counted_before_anything_is_written(host, bundle, monkeypatch, snapshot):
    from runtime import store  # noqa: PLC0415 - patched here

    no_links(monkeypatch)
    left = SimpleNamespace(free=store.SPARE + 9_000_000)  # for one copy of 5 MB, not for two
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _at: left)
    said = host.airgap("mount", bundle, "--json")
    assert said.code == 1
    assert "not enough space" in said.document["message"]
    assert not (host.root / "mounts").exists()
    assert host.blobs() == []


def test_rollback_gc_and_repair_on_copies(without_links, bundle, write, unsound, contents):
    host = without_links
    newest = write(
        "newer", version="1.1.0", sequence=8, contents={**contents, "samples/new.bin": b"new"}
    )
    assert host.airgap("mount", bundle).code == 0
    assert host.airgap("mount", newest).code == 0
    model = host.current.resolve() / next(path for path in contents if path.endswith("model.bin"))
    model.chmod(0o644)
    model.write_bytes(b"another")
    assert host.airgap("repair", "--mounted", bundle).code == 0
    assert unsound(host.root) == []
    assert host.airgap("rollback").code == 0
    assert host.airgap("gc", "--keep", "0").out == "nothing to remove\n"
    assert host.airgap("rollback", "--to", "2").code == 0
    assert host.airgap("gc", "--keep", "0", "--yes").code == 0
    assert unsound(host.root) == []


def test_a_blob_that_rots_while_it_is_copied_is_not_mounted(mounted, bundle, monkeypatch):
    """The store was compared before; the disk fails between that and the copy."""
    from runtime import store  # noqa: PLC0415 - patched here

    no_links(monkeypatch)
    take = store.Store.take

    def rot(self, staging):
        take(self, staging)
        for blob in mounted.blobs():
            blob.chmod(0o644)
            blob.write_bytes(b"rotten")

    monkeypatch.setattr(store.Store, "take", rot)
    before = mounted.current.readlink()
    said = mounted.airgap("mount", bundle, "--json")
    assert (said.code, said.document["rule"]) == (3, "store.digest")
    assert mounted.current.readlink() == before
    assert [one.name for one in (mounted.root / "mounts" / "ward" / "generations").iterdir()] == [
        "000001"
    ]


def test_without_symbolic_links_it_is_refused_before_a_blob_is_written(host, bundle, monkeypatch):
    def fail(*_given, **_more):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "symlink", fail)
    said = host.airgap("mount", bundle, "--json")
    assert said.code == 1
    assert said.document["hint"] == (
        "`current` must be a link: choose another file system with --root"
    )
    assert host.blobs() == []
    assert list((host.root / "staging").iterdir()) == []


@pytest.mark.parametrize("umask", [0o077, 0o000, 0o027])
def test_others_read_the_mount_and_nobody_writes_it(host, bundle, umask):
    before = os.umask(umask)
    try:
        assert host.airgap("mount", bundle).code == 0
        assert host.airgap("mount", bundle).code == 0
        assert host.airgap("rollback", "--to", "1").code == 0
    finally:
        os.umask(before)
    for part in ("store", "mounts"):
        for path in [host.root / part, *(host.root / part).rglob("*")]:
            mode = stat.S_IMODE(path.lstat().st_mode)
            if not path.is_symlink():
                assert mode == (0o755 if path.is_dir() else 0o444), path
    for path in host.root.rglob("*"):
        if not path.is_symlink():
            assert not stat.S_IMODE(path.lstat().st_mode) & 0o022, path
    assert stat.S_IMODE(host.record.stat().st_mode) == 0o644


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077])
@pytest.mark.parametrize(
    "first", [("trust", "init"), ("audit", "key"), ("mount", "BUNDLE"), ("apikey", "add", "ward-7")]
)
def test_a_new_root_is_written_by_its_owner_alone(host, bundle, tmp_path, umask, first):
    """Whichever command comes first; and nobody can exchange it from above."""
    root = tmp_path / "var/airgap"
    command = [bundle if one == "BUNDLE" else one for one in first]
    before = os.umask(umask)
    try:
        host.airgap(*command, "--root", root)  # a mount without trust is refused: it is logged
    finally:
        os.umask(before)
    for folder in (root.parent, root):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    for path in root.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o022, path


def test_a_root_that_is_there_keeps_its_mode(host, tmp_path):
    root = tmp_path / "closed"
    root.mkdir(mode=0o700)
    assert host.airgap("trust", "init", "--root", root).code == 0
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_another_user_reads_and_cannot_change(mounted, reachable, monkeypatch):
    """As a service that runs as a user of its own: it lists and checks, and writes nothing."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    assert mounted.root.is_relative_to(reachable)
    for verb in (("list",), ("verify", "--mounted"), ("rollback",), ("unmount", "x"), ("gc",)):
        mounted.airgap(*verb)  # imports what it needs, which that user may not be able to read
    known = {"verify": of_mounts.verb("verify")}
    monkeypatch.setattr(of_mounts, "verb", known.__getitem__)  # asks the installation each time
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            codes = [
                mounted.airgap("list").code == 0,
                mounted.airgap("verify", "--mounted").code == 0,
                mounted.airgap("rollback").code != 0,
                mounted.airgap("unmount", "ward", "--yes").code == 1,
                mounted.airgap("gc", "--yes").code == 1,
            ]
            os._exit(0 if all(codes) else 1 + codes.index(False))
        finally:
            os._exit(99)  # no second run of the suite goes on from here
    _pid, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert mounted.airgap("list").code == 0
