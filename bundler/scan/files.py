"""One file, by its content, to the judge of its kind. A name alone decides nothing that matters."""

from __future__ import annotations

import gzip
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, Final

from airgap.digest import CHUNK
from airgap.errors import AirgapError
from airgap.limits import MIB
from bundler.scan import configs, pickles, tars, weights, zips
from bundler.scan.findings import Finding, Judged, caution, danger
from bundler.scan.zip_layout import ends_as_zip

DEPTH: Final = 5
"""Archives within archives; a `.nemo` has two."""

UNPACKED: Final = 64 * 1024 * MIB
"""Bytes to which a compressed member or file may unpack."""

SNIFFED: Final = 512

_ZIP: Final = (b"PK\3\4", b"PK\5\6")
_PICKLED: Final = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".joblib", ".dat")
_TEXT: Final = (".txt", ".md", ".rst", ".tsv", ".csv", ".vocab", ".html")
_SOUND: Final = {b"RIFF": "wav", b"fLaC": "flac", b"OggS": "ogg", b"ID3": "mp3"}
_PROGRAMS: Final = {
    b"\x7fELF": "a program (ELF)",
    b"MZ": "a program (Windows)",
    b"#!": "a script",
    b"\xca\xfe\xba\xbe": "a program (Mach-O or Java)",
    b"\xcf\xfa\xed\xfe": "a program (Mach-O)",
}
_CODE_NAMES: Final = (".py", ".pyc", ".so", ".dll", ".dylib", ".exe", ".sh", ".bat", ".ps1", ".js")
_ARCHIVE_FIX: Final = "do not use it; ask its publisher for a clean archive"
_UNKNOWN_FIX: Final = "see whether the model needs it; leave it out of the lock where it does not"
_PROGRAM_FIX: Final = "leave it out of the lock: weights need no program"


def judge_file(path: Path, named: str) -> Judged:
    """Judge a file of the disk.

    Args:
        path: where it lies.
        named: what to call it in the report: its path in the bundle.

    Raises:
        AirgapError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(0)
            kind, findings = _judge(stream, size, named, 0)
    except OSError as error:
        raise AirgapError(f"cannot read '{path}': {error.strerror}") from error
    return Judged(named, kind, tuple(sorted(set(findings))))


def _judge(stream: IO[bytes], size: int, place: str, depth: int) -> tuple[str, list[Finding]]:
    """The kind of a stream that stands at its beginning, and what is wrong with it."""
    if depth > DEPTH:
        story = f"archives are nested more than {DEPTH} deep"
        return "archive", [danger(place, "archive.depth", story)]
    start = stream.read(SNIFFED)
    stream.seek(0)
    for program, kind in _PROGRAMS.items():
        if start.startswith(program):
            return "program", [danger(place, "file.program", f"it is {kind}", _PROGRAM_FIX)]
    if place.lower().endswith(_CODE_NAMES):
        return "program", [danger(place, "file.program", "it is code by its name", _PROGRAM_FIX)]
    kinds, findings = _archive(stream, start, place, depth)
    if not kinds or (kinds == ["zip"] and not start.startswith(_ZIP)):
        kind, found = _content(stream, start, size, place)
        kinds, findings = [kind, *kinds], [*found, *findings]
    if len(kinds) > 1:
        story = f"it can be read as {' and as '.join(kinds)}, and loaders differ on which they read"
        findings.append(danger(place, "archive.several", story, _ARCHIVE_FIX))
    return " and ".join(kinds), findings


def _archive(
    stream: IO[bytes], start: bytes, place: str, depth: int
) -> tuple[list[str], list[Finding]]:
    """The archives that readers would take it for, and what is wrong with each."""

    def inner(content: IO[bytes], size: int, at: str) -> list[Finding]:
        if not isinstance(content, zipfile.ZipExtFile):
            return _judge(content, size, at, depth + 1)[1]
        with _unpacked(content) as plain:  # each step back would unpack it from its beginning
            return _judge(plain, size, at, depth + 1)[1]

    kinds: list[str] = []
    findings: list[Finding] = []
    if start.startswith(_ZIP) or ends_as_zip(stream):
        kinds.append("zip")
        findings += zips.judge_zip(stream, place, inner)
    if _is_tar(start, place):
        stream.seek(0)
        kinds.append("tar")
        findings += tars.judge_tar(stream, place, inner)
    if _is_gzip(start):
        stream.seek(0)
        kind, found = _gzip(stream, place, depth)
        kinds.append(kind)
        findings += found
    stream.seek(0)
    return kinds, findings


def _gzip(stream: IO[bytes], place: str, depth: int) -> tuple[str, list[Finding]]:
    try:
        with gzip.GzipFile(fileobj=stream) as packed, _unpacked(packed) as plain:  # type: ignore[arg-type]
            size = plain.seek(0, 2)
            plain.seek(0)
            kind, findings = _judge(plain, size, place, depth + 1)
    except (OSError, EOFError, zlib.error, _TooLarge) as error:
        story = f"it cannot be unpacked: {str(error)[:120]}"
        return "gzip", [danger(place, "gzip.broken", story)]
    return f"{kind}, compressed", findings


def _is_tar(start: bytes, place: str) -> bool:
    """By the checksum of its first header, as tarfile tells; and by name, as NeMo does."""
    if place.lower().endswith((".tar", ".nemo")) and not _is_gzip(start):
        return True
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _is_gzip(start: bytes) -> bool:
    return start.startswith(b"\x1f\x8b")


class _TooLarge(Exception):  # noqa: N818 - never leaves this module
    """It unpacks to more than a model needs."""


def _unpacked(stream: IO[bytes]) -> Any:
    """The whole of a stream, in a file that can be sought in.

    Raises:
        AirgapError: the folder for temporary files is full; nothing is said of the stream then.
    """
    plain = tempfile.SpooledTemporaryFile(64 * MIB)  # noqa: SIM115 - the caller closes it
    size = 0
    while chunk := stream.read(CHUNK):
        size += len(chunk)
        if size > UNPACKED:
            plain.close()
            raise _TooLarge(f"it comes to more than {UNPACKED} bytes")
        try:
            plain.write(chunk)
        except OSError as error:
            plain.close()
            raise AirgapError(
                f"cannot unpack an archive into '{tempfile.gettempdir()}' to judge it: "
                f"{error.strerror}",
                hint="set TMPDIR to a folder on a larger disk",
            ) from error
    plain.seek(0)
    return plain


def _content(stream: IO[bytes], start: bytes, size: int, place: str) -> tuple[str, list[Finding]]:
    """A file that is no archive."""
    kind = _kind(start, place.rpartition("!")[2].lower())
    if kind in {"text", "unknown"}:
        kind = "pickle" if pickles.is_unmarked_pickle(stream) else kind
        stream.seek(0)
    judges: dict[str, Any] = {
        "safetensors": lambda: weights.judge_safetensors(stream, size, place),
        "numpy": lambda: weights.judge_numpy(stream, size, place),
        "ctranslate2": lambda: weights.judge_ctranslate2(stream, size, place),
        "pickle": lambda: pickles.judge_pickles(stream, place),
        "yaml": lambda: _config(configs.judge_yaml, stream, size, place),
        "json": lambda: _config(configs.judge_json, stream, size, place),
        "unknown": lambda: [_unknown(place)],
    }
    return kind, judges[kind]() if kind in judges else []


def _kind(start: bytes, name: str) -> str:
    """Of a file that is no archive: what no other kind begins with, then its name, then text."""
    told = {
        "numpy": start.startswith(weights.NUMPY_MAGIC),
        "ctranslate2": _is_ctranslate2(start),
        "yaml": name.endswith((".yaml", ".yml")),
        "json": name.endswith(".json"),
        "safetensors": name.endswith(".safetensors"),
        "pickle": start.startswith(pickles.OLDEST_BINARY) or name.endswith(_PICKLED),
        **{kind: start.startswith(magic) for magic, kind in _SOUND.items()},
        "text": name.endswith(_TEXT) or _is_text(start),
    }
    return next((kind for kind, holds in told.items() if holds), "unknown")


def _unknown(place: str) -> Finding:
    story = "its kind is not known, and nobody judged it"
    return caution(place, "file.unknown", story, _UNKNOWN_FIX)


def _config(judge: Any, stream: IO[bytes], size: int, place: str) -> list[Finding]:
    if size > configs.MOST:
        story = f"it is larger than a configuration: {size} bytes"
        return [danger(place, "config.unreadable", story, _UNKNOWN_FIX)]
    found: list[Finding] = judge(stream.read(), place)
    return found


def _is_ctranslate2(start: bytes) -> bool:
    """A version, and a name of a specification (`WhisperSpec`) with its length."""
    if len(start) < 8 or int.from_bytes(start[:4], "little") not in weights.CT2_VERSIONS:  # noqa: PLR2004 - two numbers and a letter or two
        return False
    length = int.from_bytes(start[4:6], "little")
    return 1 < length <= 64 and start[6 : 6 + length].rstrip(b"\0").endswith(b"Spec")  # noqa: PLR2004 - a name's length


def _is_text(start: bytes) -> bool:
    """Plain text: UTF-8, perhaps cut in the middle of its last character."""
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:
            return False
        text = start[: error.start].decode("utf-8")
    return "\0" not in text
