"""Container images: an archive of `docker save`, or an OCI image layout in a tar.

An engine on the isolated host unpacks it, as root. So it must be one that every engine reads
alike: plain names, each once, no device, each blob the bytes that its name says, and each image
whole. What is inside the layers is programs, and nobody judges them here: whoever made the image
answers for it.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from gzip import GzipFile
from typing import IO, Any, Final

import zstandard

from airgap import strict_json
from airgap.digest import CHUNK
from airgap.limits import MIB
from airgap.paths import path_defect
from bundler.scan.findings import Finding, Judged, caution, danger

MEMBERS: Final = 10_000
"""Of an archive: a blob a layer, and three small files of each in archives of Docker before 25."""

UNPACKED: Final = 64 * 1024 * MIB
"""Bytes to which a layer may unpack."""

PAPER: Final = 4 * MIB
"""Bytes of a JSON file that is read whole."""

NESTED: Final = 3
"""Indexes within indexes; an image for several platforms has two."""

_BLOB: Final = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_LEGACY: Final = re.compile(r"repositories|[0-9a-f]{64}/(?:json|VERSION|layer\.tar)")
"""What `docker save` still writes for readers of before 2015."""

_INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_FIX: Final = "save it anew: docker save, or skopeo copy … oci-archive:FILE; not compressed"


class _Broken(Exception):  # noqa: N818 - never leaves this module
    """It is not an image, and says why."""


def judge_image(stream: IO[bytes], place: str) -> Judged:
    """Judge an archive.

    Args:
        stream: seekable.
        place: its path in the bundle.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            members = _bounded(archive)
            findings = [*_structure(members, place)]
            image = _Image(archive, {_name(one): one for one in members if not one.isdir()})
            kind = _whole(image)
            findings += _strangers(image, place)
    except _Broken as error:
        return Judged(place, "image", (danger(place, "image.broken", str(error), _FIX),))
    except (
        *(tarfile.TarError, zlib.error, zstandard.ZstdError, strict_json.JsonError),
        *(OSError, EOFError, ValueError, OverflowError, LookupError, TypeError, AttributeError),
    ) as error:
        story = f"it is no image that can be read: {str(error)[:120]}"
        return Judged(place, "image", (danger(place, "image.broken", story, _FIX),))
    return Judged(place, kind, tuple(sorted(set(findings))))


@dataclass
class _Image:
    """An archive by its names, and which of them something in it refers to."""

    archive: tarfile.TarFile
    members: dict[str, tarfile.TarInfo]
    used: set[str] = field(default_factory=set)
    platforms: set[str] = field(default_factory=set)

    def opened(self, name: str, links: int = 1) -> IO[bytes]:
        """A file of it, through a link of the same archive. Raises _Broken where it is missing."""
        member = self.members.get(name)
        if member is None:
            raise _Broken(f"'{name}' is named in it, and is not there")
        self.used.add(name)
        if member.issym() and links:
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
            return self.opened(target, links - 1)
        content = self.archive.extractfile(member) if member.isreg() else None
        if content is None:
            raise _Broken(f"'{name}' is not a file")
        return content

    def paper(self, name: str) -> Any:
        """A JSON file of it, each byte of which its name stands for, where it is a blob."""
        with self.opened(name) as stream:
            content = stream.read(PAPER + 1)
        if len(content) > PAPER:
            raise _Broken(f"'{name}' is larger than {PAPER} bytes")
        return strict_json.parse(content)


def _bounded(archive: tarfile.TarFile) -> list[tarfile.TarInfo]:
    members: list[tarfile.TarInfo] = []
    for member in archive:
        members.append(member)
        if len(members) > MEMBERS:
            raise _Broken(f"it has more than {MEMBERS} members")
    return members


def _name(member: tarfile.TarInfo) -> str:
    return member.name.removeprefix("./").rstrip("/")


def _structure(members: list[tarfile.TarInfo], place: str) -> Iterator[Finding]:
    """Names that lead out or are there twice; links and devices."""
    for name, count in sorted(Counter(_name(one) for one in members if not one.isdir()).items()):
        if count > 1:
            story = f"'{name}' is in it {count} times, and engines differ in which they take"
            yield danger(place, "image.twice", story, _FIX)
    for member in members:
        name, at = _name(member), f"{place}!{member.name}"
        if name not in {"", "."} and (defect := path_defect(name)):
            yield danger(at, "image.traversal", f"its name {defect}", _FIX)
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
        if member.issym() and path_defect(target):
            yield danger(at, "image.link", f"it is a link to '{member.linkname}'", _FIX)
        elif member.issparse() or not (member.isreg() or member.isdir() or member.issym()):
            yield danger(at, "image.device", "it is neither a file nor a folder", _FIX)


def _whole(image: _Image) -> str:
    """What kind of image it is. Raises _Broken where a part is missing or another."""
    for name in sorted(image.members):
        if blob := _BLOB.fullmatch(name):
            _require_digest(image, name, blob[1])
            image.used.discard(name)
    has_layout, has_list = "oci-layout" in image.members, "manifest.json" in image.members
    if not has_layout and not has_list:
        raise _Broken("it has neither manifest.json (docker save) nor oci-layout")
    if has_layout:
        version = image.paper("oci-layout").get("imageLayoutVersion")
        if version != "1.0.0":
            raise _Broken(f"its oci-layout is of version '{version}', expected 1.0.0")
        _walk_index(image, image.paper("index.json"), 0)
    if has_list:
        for one in image.paper("manifest.json"):
            _check_parts(image, one["Config"], one["Layers"])
    return f"image {' '.join(sorted(image.platforms))}".strip()


def _walk_index(image: _Image, index: Any, depth: int) -> None:
    """Each image that an index names, and each of an index inside."""
    if depth > NESTED:
        raise _Broken(f"its indexes are nested more than {NESTED} deep")
    if not index["manifests"]:
        raise _Broken("its index names no image")
    for descriptor in index["manifests"]:
        document = image.paper(_blob_of(image, descriptor))
        if descriptor.get("mediaType") in _INDEXES:
            _walk_index(image, document, depth + 1)
            continue
        layers = [_blob_of(image, one) for one in document["layers"]]
        config = _blob_of(image, document["config"])
        if _is_attestation(descriptor):
            image.used |= {config, *layers}
            continue
        _check_parts(image, config, layers)


def _is_attestation(descriptor: Any) -> bool:
    """What BuildKit puts beside an image: its layers are papers."""
    annotations = descriptor.get("annotations") or {}
    return "vnd.docker.reference.type" in annotations


def _blob_of(image: _Image, descriptor: Any) -> str:
    algorithm, _, digest = descriptor["digest"].partition(":")
    name = f"blobs/{algorithm}/{digest}"
    member = image.members.get(name)
    if not _BLOB.fullmatch(name) or member is None:
        raise _Broken(f"'{descriptor['digest']}' is named in it, and is not there")
    if member.size != descriptor["size"]:
        raise _Broken(f"'{name}' has {member.size} bytes, expected {descriptor['size']}")
    return name


def _check_parts(image: _Image, config: str, layers: list[str]) -> None:
    """A configuration, and the layers whose plain bytes it names by their digests, in order."""
    named = re.fullmatch(r"([0-9a-f]{64})\.json", config)
    if named:
        _require_digest(image, config, named[1])
    told = image.paper(config)
    expected = told["rootfs"]["diff_ids"]
    if len(expected) != len(layers):
        raise _Broken(f"'{config}' names {len(expected)} layers, and there are {len(layers)}")
    for name, diff_id in zip(layers, expected, strict=True):
        found = f"sha256:{_plain_digest(image, name)}"
        if found != diff_id:
            raise _Broken(f"the layer '{name}' is not what the image names: {diff_id}, {found}")
    image.platforms.add(f"{told['os']}/{told['architecture']}")


def _require_digest(image: _Image, name: str, expected: str) -> None:
    digest = hashlib.sha256()
    with image.opened(name) as stream:
        while piece := stream.read(CHUNK):
            digest.update(piece)
    found = digest.hexdigest()
    if found != expected:
        raise _Broken(f"'{name}' is not what its name says: its SHA-256 is {found}")


def _plain_digest(image: _Image, name: str) -> str:
    """SHA-256 of a layer, decompressed."""
    digest, size = hashlib.sha256(), 0
    with image.opened(name) as stored, _plain(stored) as plain:
        while piece := plain.read(CHUNK):
            digest.update(piece)
            size += len(piece)
            if size > UNPACKED:
                raise _Broken(f"the layer '{name}' comes to more than {UNPACKED} bytes")
    return digest.hexdigest()


def _plain(stored: IO[bytes]) -> AbstractContextManager[IO[bytes]]:
    start = stored.read(4)
    stored.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return GzipFile(fileobj=stored)  # type: ignore[return-value]
    if start == _ZSTD:
        return zstandard.ZstdDecompressor().stream_reader(stored, read_across_frames=True)
    return nullcontext(stored)


def _strangers(image: _Image, place: str) -> Iterator[Finding]:
    """Files that nothing in the archive refers to."""
    known = image.used | {"index.json", "manifest.json", "oci-layout"}
    for name in sorted(image.members.keys() - known):
        if not _LEGACY.fullmatch(name):
            story = "nothing in the archive refers to it"
            yield caution(f"{place}!{name}", "image.stranger", story, _FIX)
