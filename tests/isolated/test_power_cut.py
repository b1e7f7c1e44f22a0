"""A power cut keeps what was fsynced, and of the rest anything: what a name leads to comes first.

Every change to the root is noted as it is made; at each rename, what gets the name must have been
flushed before, and at its end a command leaves nothing unflushed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest


class Disk:
    """What was changed since its last fsync: files by their content, folders by their entries."""

    def __init__(self, monkeypatch, root):
        self.root, self.switched = root, []
        self.dirty: set[Path] = set()
        self._real = {
            name: getattr(os, name)
            for name in ("open", "write", "mkdir", "rename", "link", "symlink", "fsync")
        }
        for name in self._real:
            monkeypatch.setattr(os, name, getattr(self, f"_{name}"))

    @staticmethod
    def at(descriptor):
        return Path(f"/proc/self/fd/{descriptor}").readlink()

    def _changed(self, folder_descriptor):
        self.dirty.add(self.at(folder_descriptor))

    def _open(self, path, flags, mode=0o777, *, dir_fd=None):
        made = flags & os.O_CREAT and dir_fd is not None
        descriptor = self._real["open"](path, flags, mode, dir_fd=dir_fd)
        if made:
            self._changed(dir_fd)
            self.dirty.add(self.at(descriptor))
        return descriptor

    def _write(self, descriptor, content):
        self.dirty.add(self.at(descriptor))
        return self._real["write"](descriptor, content)

    def _mkdir(self, path, mode=0o777, *, dir_fd=None):
        self._real["mkdir"](path, mode, dir_fd=dir_fd)
        if dir_fd is not None:
            self._changed(dir_fd)

    def _link(self, source, target, **more):
        self._real["link"](source, target, **more)
        if self.at(more["dst_dir_fd"]).name != "staging":
            assert self.at(more["src_dir_fd"]) / source not in self.dirty
        self._changed(more["dst_dir_fd"])

    def _symlink(self, target, name, *, dir_fd):
        self._real["symlink"](target, name, dir_fd=dir_fd)
        self._changed(dir_fd)

    def _fsync(self, descriptor):
        self._real["fsync"](descriptor)
        self.dirty.discard(self.at(descriptor))

    def _rename(self, source, target, *, src_dir_fd, dst_dir_fd):
        before, after = self.at(src_dir_fd) / source, self.at(dst_dir_fd) / target
        is_link = before.is_symlink()
        unflushed = self.unflushed(before.resolve() if is_link else before)
        assert not unflushed, f"{after.name} would lead to what is not on the disk: {unflushed}"
        self._real["rename"](source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        self.dirty = {
            after / one.relative_to(before) if one.is_relative_to(before) else one
            for one in self.dirty
        }
        self.dirty |= {self.at(src_dir_fd), self.at(dst_dir_fd)}
        self.switched.append(after.name)

    def unflushed(self, path):
        """What is dirty at a path or below it, and in the store."""
        return sorted(
            str(one.relative_to(self.root))
            for one in self.dirty
            if one == path or one.is_relative_to(path) or one.name.startswith("store")
        )

    def left(self):
        """What a command leaves unflushed at its end, where names lead somewhere."""
        return sorted(
            str(one.relative_to(self.root))
            for part in ("mounts", "store")
            for one in self.dirty
            if one.is_relative_to(self.root / part)
        )


@pytest.fixture
def disk(monkeypatch, host):
    host.root.mkdir(exist_ok=True)
    return Disk(monkeypatch, host.root)


def test_a_mount_is_on_the_disk_before_anything_leads_to_it(host, bundle, disk):
    assert host.airgap("mount", bundle).code == 0
    assert disk.switched[-2:] == ["000001", "current"]
    assert disk.left() == []


@pytest.mark.parametrize(
    "command", [("rollback",), ("gc", "--keep", "0", "--yes"), ("unmount", "ward", "--yes")]
)
def test_so_is_every_other_change(mounted, write, disk, command):
    assert mounted.airgap("mount", write("newer", version="1.1.0", sequence=8)).code == 0
    said = mounted.airgap(*command)
    assert said.code == 0, said.err
    assert disk.left() == []


def test_and_what_was_mended(mounted, bundle, disk, contents):
    model = mounted.current.resolve() / next(
        path for path in contents if path.endswith("model.bin")
    )
    model.chmod(0o644)
    model.write_bytes(b"another")
    disk.dirty.clear()
    assert mounted.airgap("repair", "--mounted", bundle).code == 0
    assert disk.left() == []
