"""A folder held open: everything in it is reached through its descriptor, and no link is followed.

A link that someone planted under the root then leads nowhere: it is refused where a folder or a
file was expected (the class of CVE-2026-29064: writes that a symbolic link sends elsewhere).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from airgap.errors import AirgapError
from airgap.files import share_folder

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_NO_LINK = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
"""What link(2) answers where there is no second name to be had. EPERM, too, for a file of another
owner's under fs.protected_hardlinks: then a copy is as right."""


class Folder:
    """One open folder. Names are single path parts unless a method says otherwise.

    Attributes:
        path: where it was when it was opened, for messages alone.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor

    @classmethod
    @contextmanager
    def at(cls, path: Path) -> Iterator[Folder]:
        """The folder at a path of the user's own choosing, made where it is missing: for all."""
        try:
            share_folder(path)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _cannot("use", path, error) from error
        try:
            yield cls(path, descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def inside(self, relative: str, *, make: bool = True) -> Iterator[Folder]:
        """A folder below this one, by a `/`-separated path, made on the way where `make` says.

        Raises:
            AirgapError: a part is missing, or is a link or a file.
        """
        descriptor = os.dup(self.descriptor)
        path = self.path
        try:
            for part in PurePosixPath(relative).parts:
                path /= part
                try:
                    made = make and _make(part, descriptor)
                    inner = os.open(part, _FOLDER, dir_fd=descriptor)
                    if made:  # others read the store, whatever this process's umask
                        os.fchmod(inner, 0o755)
                except OSError as error:
                    raise _cannot("use", path, error) from error
                os.close(descriptor)
                descriptor = inner
            yield Folder(path, descriptor)
        finally:
            os.close(descriptor)

    def lock(self, name: str) -> int:
        """A descriptor of a file that exists to be locked, made where it is missing.

        Raises:
            AirgapError: something else than a file has its name.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, 0o644, dir_fd=self.descriptor)
        except OSError as error:
            raise _cannot("lock", self.path / name, error) from error
        return self._regular(descriptor, name)

    def share(self) -> None:
        """Keep others from taking this folder for themselves until it is closed; may wait."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_SH)
        except OSError as error:
            raise _cannot("lock", self.path, error) from error

    def seize(self) -> bool:
        """Take this folder for oneself until it is closed; False where somebody shares it."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise _cannot("lock", self.path, error) from error
        return True

    def users(self) -> list[str]:
        """Processes that share this folder, as the kernel tells it; none where it does not.

        /proc/locks has lines as `1: FLOCK ADVISORY READ 4321 08:02:1234 0 EOF` (proc(5)); a
        process outside this one's PID namespace has the number 0.
        """
        try:
            lines = Path("/proc/locks").read_text().splitlines()
        except OSError:
            return []
        inode = os.fstat(self.descriptor).st_ino
        locks = [line.replace("-> ", "").split() for line in lines]
        own = {"0", str(os.getpid())}
        return sorted({lock[4] for lock in locks if lock[5].endswith(f":{inode}")} - own)

    def create(self, name: str, mode: int = 0o444) -> int:
        """A descriptor of a new file, for writing. Raises AirgapError where the name is taken.

        Its mode is that which is asked for, whatever the umask: others read the store too.
        """
        try:
            descriptor = os.open(name, _NEW_FILE, mode, dir_fd=self.descriptor)
            os.fchmod(descriptor, mode)
        except OSError as error:
            raise _cannot("write", self.path / name, error) from error
        return descriptor

    def write(self, name: str, content: bytes, mode: int = 0o444) -> None:
        """A new small file, durable."""
        descriptor = self.create(name, mode)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise _cannot("write", self.path / name, error) from error

    def open(self, relative: str) -> int:
        """A descriptor of an existing regular file below this folder, for reading.

        Raises:
            AirgapError: it is missing, or something else than a file, or a part is a link.
        """
        at = PurePosixPath(relative)
        with self.inside(str(at.parent), make=False) as folder:
            try:
                descriptor = os.open(at.name, _OLD_FILE, dir_fd=folder.descriptor)
            except OSError as error:
                raise _cannot("read", self.path / at, error) from error
        return self._regular(descriptor, relative)

    def read(self, relative: str, limit: int) -> bytes:
        """A small file below this folder, whole. Raises AirgapError where it is larger."""
        with os.fdopen(self.open(relative), "rb") as stream:
            try:
                content = stream.read(limit + 1)
            except OSError as error:
                raise _cannot("read", self.path / relative, error) from error
        if len(content) > limit:
            raise AirgapError(f"'{self.path / relative}' is larger than {limit} bytes")
        return content

    def holds(self, name: str, size: int) -> bool:
        """Whether a regular file of this name and size is here."""
        try:
            found = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size == size

    def status(self, relative: str) -> os.stat_result:
        """What is known of something below this folder; of a link, not of where it leads."""
        try:
            return os.stat(relative, dir_fd=self.descriptor, follow_symlinks=False)
        except OSError as error:
            raise _cannot("read", self.path / relative, error) from error

    def has(self, relative: str, folder: Folder) -> bool:
        """Whether an open folder is still what has this path below this one."""
        try:
            found = os.stat(relative, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(folder.descriptor))

    def names(self) -> list[str]:
        """What is in here, sorted."""
        with os.scandir(self.descriptor) as entries:
            return sorted(entry.name for entry in entries)

    def rename(self, name: str, target: Folder, new_name: str) -> None:
        """Move something of this folder to another of the same file system."""
        try:
            os.rename(name, new_name, src_dir_fd=self.descriptor, dst_dir_fd=target.descriptor)
        except OSError as error:
            raise _cannot("write", target.path / new_name, error) from error

    def point(self, name: str, target: str) -> None:
        """A new symbolic link."""
        try:
            os.symlink(target, name, dir_fd=self.descriptor)
        except OSError as error:
            raise _cannot("write", self.path / name, error) from error

    def link(self, name: str, target: Folder, new_name: str) -> bool:
        """Give a file of this folder a second name in another; whether the file system can.

        FAT, exFAT and some network shares have no hard links; ext4 has 65000 of a file.
        """
        try:
            os.link(
                name,
                new_name,
                src_dir_fd=self.descriptor,
                dst_dir_fd=target.descriptor,
                follow_symlinks=False,
            )
        except OSError as error:
            if error.errno in _NO_LINK:
                return False
            raise _cannot("link", target.path / new_name, error) from error
        return True

    def remove(self, name: str) -> None:
        """Remove a file, a link, or a folder with all that is in it, following no link."""
        try:
            os.unlink(name, dir_fd=self.descriptor)
        except IsADirectoryError:
            self._remove_folder(name)
        except OSError as error:
            raise _cannot("remove", self.path / name, error) from error

    def _remove_folder(self, name: str) -> None:
        with self.inside(name, make=False) as folder:
            for inner in folder.names():
                folder.remove(inner)
        try:
            os.rmdir(name, dir_fd=self.descriptor)
        except OSError as error:
            raise _cannot("remove", self.path / name, error) from error

    def _regular(self, descriptor: int, relative: str) -> int:
        """The same descriptor, of a regular file. Raises AirgapError where it is none."""
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise AirgapError(f"'{self.path / relative}' is not a file")
        return descriptor

    def sync(self) -> None:
        """Make what was renamed, linked or removed in here last through a power cut."""
        os.fsync(self.descriptor)


def _make(part: str, descriptor: int) -> bool:
    """Make a folder; whether it was not there."""
    try:
        os.mkdir(part, 0o755, dir_fd=descriptor)
    except FileExistsError:
        return False
    os.fsync(descriptor)
    return True


def _cannot(do: str, path: Path, error: OSError) -> AirgapError:
    why = "a link or a file is in the way" if isinstance(error, NotADirectoryError) else ""
    if error.errno == errno.ELOOP:  # what O_NOFOLLOW answers
        why = "it is a link, and none is followed here"
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    return AirgapError(
        f"cannot {do} '{path}': {why or error.strerror}",
        hint="free some space, or choose a larger place with --root" if full else None,
    )
