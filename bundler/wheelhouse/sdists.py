"""An sdist that the resolver chose -> its recipe, and the wheel that comes of it."""

from __future__ import annotations

import hashlib
import io
import tarfile
import tomllib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airgap.console import quietly
from airgap.errors import AirgapError
from airgap.limits import MIB
from bundler.locked_model import LockedFile
from bundler.sources import Access, Source
from bundler.sources.pypi import opened_member
from bundler.wheelhouse.from_source import FromSource
from bundler.wheelhouse.metadata import WheelMetadata, read_metadata
from bundler.wheelhouse.names import release_of_sdist
from bundler.wheelhouse.recipe import BACKEND, Recipe
from bundler.wheelhouse.resolving import Found, resolve_tools

ARCHIVE: Final = 256 * MIB
"""Bytes of an sdist, or of a wheel of a build backend."""

DECLARED: Final = MIB
"""Bytes of pyproject.toml."""

_WITHOUT: Final = ("setuptools.build_meta:__legacy__", ("setuptools",))
"""What builds an sdist that declares nothing (PEP 517 and 518)."""


@dataclass(frozen=True)
class BuiltWheel:
    """A wheel that was built here, and lies in the download cache.

    Attributes:
        file: its name, size and digest.
        metadata: what it says.
        recipe: from what and by what it was built.
    """

    file: LockedFile
    metadata: WheelMetadata
    recipe: Recipe


def build_sdist(
    found: Found, former: Recipe | None, sources: tuple[Source, ...], access: Access
) -> BuiltWheel:
    """Build a wheel of an sdist for the first time.

    Args:
        found: the sdist.
        former: how it was built when it was locked before; the same tools are taken again.
        sources: of the runtime.
        access: the index, and the download cache.

    Raises:
        AirgapError: a part of it cannot be had, or it does not build.
        UnsafeError: what came out may not travel.
    """
    recipe = former or _recipe(found, access)
    file, content = FromSource(release_of_sdist(found.file), recipe, sources).build(access)
    sha256 = hashlib.sha256(content).hexdigest()
    access.cache.keep(sha256, len(content), len(content), quietly, lambda sink: sink.write(content))
    metadata = read_metadata(io.BytesIO(content), file)
    return BuiltWheel(LockedFile(file, len(content), sha256), metadata, recipe)


def _recipe(found: Found, access: Access) -> Recipe:
    """What the sdist declares, with the tools pinned."""
    sdist = _kept(found, access)
    backend, requires = _declared(access.cache.path(found.sha256), found.file)
    tools = tuple(_kept(one, access) for one in resolve_tools(requires, access.index.url))
    return Recipe(sdist, backend, tools)


def _kept(found: Found, access: Access) -> LockedFile:
    """An archive in the download cache, with its size."""
    path = access.cache.keep(
        found.sha256,
        found.size,
        found.size or ARCHIVE,
        quietly,
        lambda sink: access.web.pour(found.url, sink),
    )
    return LockedFile(found.file, path.stat().st_size, found.sha256)


def _declared(sdist: Path, file: str) -> tuple[str, Sequence[str]]:
    """Backend and requirements of `[build-system]`: they are read, and nothing runs."""
    try:
        with opened_member(sdist, "pyproject.toml") as stream:
            content = stream.read(DECLARED + 1) if stream else b""
        if len(content) > DECLARED:
            raise AirgapError(f"'{file}': its pyproject.toml has more than {DECLARED} bytes")
        system = tomllib.loads(content.decode()).get("build-system")
        if system is None:
            return _WITHOUT
        backend = str(system.get("build-backend", _WITHOUT[0]))
        requires = [str(one) for one in system["requires"]]
    # What tarfile, gzip and tomllib raise for what is broken; a decoding error is a ValueError.
    except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError) as error:
        raise AirgapError(f"'{file}' cannot be read as an sdist: {str(error)[:120]}") from error
    except (LookupError, TypeError, AttributeError) as error:
        raise AirgapError(f"'{file}': its [build-system] is not as PEP 518 has it") from error
    if not BACKEND.fits(backend):
        raise AirgapError(f"'{file}': expected a build backend, found '{backend[:80]}'")
    return backend, requires
