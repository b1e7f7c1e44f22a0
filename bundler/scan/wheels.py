"""Wheels: whether the archive is what its RECORD says, what of it runs unasked, what it links to.

A wheel is a program, so nobody asks whether it could run code. What is judged is that it does not
do so before it is called, that it installs nothing but what it lists, where it should, and that it
can be loaded on the host that it is for.
"""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import io
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Final

from airgap.digest import CHUNK
from airgap.limits import MIB
from bundler.scan.elf import MAGIC, Elf, ElfError, read_elf
from bundler.scan.findings import Finding, Judged, caution, danger
from bundler.scan.zips import MEMBERS, structure
from bundler.wheelhouse.metadata import WheelMetadata
from bundler.wheelhouse.names import WHEEL, WheelName, normalised

UNPACKED: Final = 16 * 1024 * MIB
"""Bytes that a wheel may unpack to; torch for CUDA has a quarter."""

PAPER: Final = 16 * MIB
"""Bytes of a member that is read whole: RECORD, METADATA, a `.pth`."""

OURS: Final = frozenset({"airgap", "bundler", "profiles", "runtime"})
"""Packages of this project: no other wheel may bring a file of theirs."""

KNOWN_STARTUP: Final = frozenset(
    {
        # setuptools' distutils-precedence.pth: it offers a distutils where Python has none.
        "2638ce9e2500e572a5e0de7faed6661eb569d1b696fcba07b0dd223da5f5d224",
    }
)
"""SHA-256 of `.pth` files that run code at each start of Python and were read by us."""

_FIX: Final = "do not use it; ask its publisher for a wheel that is as it should be"
_LICENCE_FIX: Final = (
    "read its licence; then airgap lock PROFILE --runtime-only, or mend 'licence' in the lock"
)
_CUDA_FIX: Final = (
    "take the project from an index of wheels without CUDA: 'indexes' in the profile's 'runtime'"
)
_CUDA: Final = re.compile(
    r"lib(?:cuda|cudart|cublas|cublasLt|cudnn|cufft|cupti|curand|cusolver|cusparse|cusparseLt|"
    r"cufile|nvrtc|nvJitLink|nccl|nvshmem_host|torch_cuda|c10_cuda)(?:[-_.].*)?\.so(?:\..*)?"
)
_SCHEMES: Final = frozenset({"purelib", "platlib", "headers", "scripts", "data"})
_ALGORITHMS: Final = frozenset({"sha256", "sha384", "sha512"})
_STARTUP: Final = ("sitecustomize.py", "usercustomize.py")
_RUNS: Final = re.compile(rb"^import[ \t]", re.MULTILINE)


@dataclass(frozen=True)
class _Member:
    """A file in a wheel: its digests, by algorithm, and what it is linked to, if it is native."""

    digests: Mapping[str, str]
    size: int
    elf: Elf | str | None


def judge_wheel(stream: IO[bytes], place: str, device: str, licence: str | None = None) -> Judged:
    """Judge a wheel.

    Args:
        stream: seekable.
        place: its path in the bundle, which ends in its name.
        device: of the host that it is for: on a `cpu` nothing may be linked to CUDA.
        licence: that the lock gives its release; None where no lock names it.
    """
    if not WHEEL.fits(place.rpartition("/")[2]):
        return Judged(place, "wheel", (danger(place, "wheel.name", "it is no wheel's name", _FIX),))
    try:
        with zipfile.ZipFile(stream) as archive:
            return _judge(archive, stream, place, device, licence=licence)
    # What zipfile raises for archives that are cut, encrypted, or compressed in unknown ways.
    except (zipfile.BadZipFile, zlib.error, RuntimeError, OSError, EOFError, ValueError) as error:
        story = f"its archive is broken: {str(error)[:120]}"
        return Judged(place, "wheel", (danger(place, "wheel.broken", story, _FIX),))


def _judge(
    archive: zipfile.ZipFile, stream: IO[bytes], place: str, device: str, *, licence: str | None
) -> Judged:
    listed = archive.infolist()
    size = sum(one.file_size for one in listed)
    if len(listed) > MEMBERS or size > UNPACKED:
        story = f"it has {len(listed)} members of {size} bytes"
        return Judged(place, "wheel", (danger(place, "wheel.broken", story, _FIX),))
    if broken := list(structure(listed, stream, place)):
        return Judged(place, "wheel", tuple(sorted(broken)))
    named = WheelName.parse(place.rpartition("/")[2])
    members = {one.filename: _member(archive, one) for one in listed if not one.is_dir()}
    natives = {path: one.elf for path, one in members.items() if one.elf is not None}
    findings = [
        *_papers(archive, members, named, place, licence=licence),
        *_startup(archive, members, place),
        *_places(members, named, place),
        *_natives(natives, named, place, device),
    ]
    return Judged(
        place,
        "wheel",
        tuple(sorted(set(findings))),
        commands=tuple(sorted(set(_commands(archive, members)))),
        native=len(natives),
    )


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> _Member:
    """Read a member once: its digests, and its ELF header where it has one."""
    digests = {name: hashlib.new(name) for name in _ALGORITHMS}
    with archive.open(member) as content, tempfile.SpooledTemporaryFile(32 * MIB) as plain:
        size, is_native = 0, False
        while chunk := content.read(CHUNK):
            is_native = is_native or (size == 0 and chunk.startswith(MAGIC))
            size += len(chunk)
            for digest in digests.values():
                digest.update(chunk)
            if is_native:
                plain.write(chunk)
        elf: Elf | str | None = None
        if is_native:
            try:
                elf = read_elf(plain)
            except ElfError as error:
                elf = str(error)
    encoded = {
        name: base64.urlsafe_b64encode(one.digest()).rstrip(b"=").decode()
        for name, one in digests.items()
    }
    return _Member(encoded, size, elf)


def _papers(
    archive: zipfile.ZipFile,
    members: Mapping[str, _Member],
    named: WheelName,
    place: str,
    *,
    licence: str | None,
) -> Iterator[Finding]:
    """One `.dist-info`, of the release that name and lock say; a RECORD that agrees."""
    tops = {path.partition("/")[0] for path in members}  # not those of what it has vendored
    infos = {one for one in tops if one.endswith(".dist-info")}
    info = next(iter(infos), "")
    needed = [f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD")]
    if len(infos) != 1 or any(path not in members for path in needed):
        story = "it has not one .dist-info with METADATA, WHEEL and RECORD"
        yield danger(place, "wheel.broken", story, _FIX)
        return
    if any(members[path].size > PAPER for path in needed):
        yield danger(place, "wheel.broken", f"a paper has more than {PAPER} bytes", _FIX)
        return
    metadata = WheelMetadata.parse(archive.read(needed[0]))
    found = (normalised(metadata.name), metadata.version)
    if found[0] != named.name or _plain(found[1]) != _plain(named.version):
        story = f"its name says {named.release}, and its METADATA {'=='.join(found)}"
        yield danger(place, "wheel.name", story, _FIX)
    if licence not in {None, metadata.licence}:
        story = f"the lock says that its licence is '{licence}', and its METADATA '"
        yield caution(place, "wheel.licence", f"{story}{metadata.licence}'", _LICENCE_FIX)
    yield from _record(archive.read(needed[2]), members, needed[2], place)


def _plain(version: str) -> str:
    """A version, as far as file names write it differently."""
    return version.lower().replace("_", "-").replace("-", ".").lstrip("v")


def _record(
    content: bytes, members: Mapping[str, _Member], itself: str, place: str
) -> Iterator[Finding]:
    listed: set[str] = set()
    rows = csv.reader(io.StringIO(content.decode("utf-8", "replace")))
    for path, digest, _size in (row for row in rows if len(row) == 3):  # noqa: PLR2004 - RECORD's
        listed.add(path)
        algorithm, _, value = digest.partition("=")
        if path not in members:
            yield danger(place, "wheel.record", f"its RECORD lists '{path}', which is gone", _FIX)
        elif path != itself and members[path].digests.get(algorithm) != value.rstrip("="):
            story = "it is not what RECORD says" if digest else "RECORD gives it no digest"
            if digest or not path.startswith(itself.removesuffix("RECORD")):
                yield danger(f"{place}!{path}", "wheel.record", story, _FIX)
    for path in sorted(set(members) - listed):
        if not path.startswith(f"{itself}."):  # signatures of RECORD, which pip ignores
            yield danger(f"{place}!{path}", "wheel.record", "RECORD does not list it", _FIX)


def _startup(
    archive: zipfile.ZipFile, members: Mapping[str, _Member], place: str
) -> Iterator[Finding]:
    """What Python runs at each start, whether anybody imports it or not."""
    for path, member in sorted(members.items()):
        name = _installed(path)
        if name in _STARTUP:
            yield danger(f"{place}!{path}", "wheel.startup", "Python runs it at each start", _FIX)
        elif name.endswith(".pth") and "/" not in name:
            content = archive.read(path) if member.size <= PAPER else b"import "
            known = hashlib.sha256(content).hexdigest() in KNOWN_STARTUP
            if _RUNS.search(content) and not known:
                story = "it has lines that Python runs at each start"
                yield danger(f"{place}!{path}", "wheel.startup", story, _FIX)


def _installed(path: str) -> str:
    """A member's path below site-packages; a name that nothing has where it goes elsewhere."""
    top, _, rest = path.partition("/")
    if not top.endswith(".data"):
        return path
    scheme, _, inside = rest.partition("/")
    return inside if scheme in {"purelib", "platlib"} else "/elsewhere"


def _places(members: Mapping[str, _Member], named: WheelName, place: str) -> Iterator[Finding]:
    """Files that would lie where they replace Python itself, or this project."""
    for path in sorted(members):
        top, _, rest = path.partition("/")
        if _installed(path).partition("/")[0] in OURS and named.name != "airgap-bundler":
            story = "it would replace a file of airgap"
            yield danger(f"{place}!{path}", "wheel.place", story, _FIX)
        if top.endswith(".data"):
            scheme, _, inside = rest.partition("/")
            first = inside.partition("/")[0]
            if scheme not in _SCHEMES:
                story = f"'{scheme}' is no place that wheels install to"
                yield danger(f"{place}!{path}", "wheel.place", story, _FIX)
            elif scheme == "data" and first in {"bin", "lib", "lib64", "pyvenv.cfg"}:
                story = "it would lie among the files of Python itself"
                yield danger(f"{place}!{path}", "wheel.place", story, _FIX)


def _natives(
    natives: Mapping[str, Elf | str | None], named: WheelName, place: str, device: str
) -> Iterator[Finding]:
    """Whether each library can be loaded on the host that it is for."""
    bundled = {PurePosixPath(path).name for path in natives}
    for path, elf in sorted(natives.items()):
        at = f"{place}!{path}"
        if not isinstance(elf, Elf):
            yield caution(at, "wheel.native", str(elf), _FIX)
            continue
        if named.platforms == ("any",):
            story = "it is for one machine, and its wheel says that it fits any"
            yield caution(at, "wheel.native", story, _FIX)
        elif not any(one.endswith(elf.machine) for one in named.platforms):
            story = f"it is for {elf.machine}, and its wheel for {', '.join(named.platforms)}"
            yield danger(at, "wheel.machine", story, _FIX)
        cuda = sorted(one for one in elf.needed if _CUDA.fullmatch(one) and one not in bundled)
        if cuda and device == "cpu":
            story = f"it is linked to {', '.join(cuda)}, which a host without a GPU lacks"
            yield danger(at, "wheel.cuda", story, _CUDA_FIX)


class _EntryPoints(configparser.RawConfigParser):
    """A parser that leaves names as they are written."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def _commands(archive: zipfile.ZipFile, members: Mapping[str, _Member]) -> Iterator[str]:
    """The programs that installing it puts on the path."""
    for path, member in members.items():
        if ".data/scripts/" in path:
            yield PurePosixPath(path).name
        is_own = path.count("/") == 1 and path.endswith(".dist-info/entry_points.txt")
        if is_own and member.size <= PAPER:
            parser = _EntryPoints(delimiters=("=",), strict=False)
            try:
                parser.read_string(archive.read(path).decode("utf-8", "replace"))
            except configparser.Error:
                continue  # pip would refuse it
            for section in ("console_scripts", "gui_scripts"):
                if parser.has_section(section):
                    yield from parser.options(section)
