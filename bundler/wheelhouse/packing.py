"""Files -> the bytes of a wheel, which are a function of the files wherever it is made.

So nothing is compressed (libraries of zlib differ in what they make; the bundle compresses), no
time but the earliest that a zip can hold stands in it, and no mode but a plain file's.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from collections.abc import Mapping
from typing import Final

_EARLIEST: Final = (1980, 1, 1, 0, 0, 0)
_MODE: Final = 0o100644 << 16
_LINUX: Final = 3


def pack(files: Mapping[str, bytes], info: str) -> bytes:
    """A wheel of these files, with a RECORD of them.

    Args:
        files: by path in the wheel; a RECORD among them is replaced.
        info: the name of its `.dist-info`.
    """
    record = f"{info}/RECORD"
    listed = {path: content for path, content in files.items() if path != record}
    return _zipped({**listed, record: _record(listed, record)}, info)


def record_digest(content: bytes) -> str:
    """A digest as RECORD writes it: base64 for addresses, without padding."""
    digest = hashlib.sha256(content).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _record(files: Mapping[str, bytes], itself: str) -> bytes:
    """Every file with its digest and size, RECORD itself without."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    for path, content in sorted(files.items()):
        lines.writerow((path, f"sha256={record_digest(content)}", len(content)))
    lines.writerow((itself, "", ""))
    return text.getvalue().encode()


def _zipped(files: Mapping[str, bytes], info: str) -> bytes:
    """The code first, then the papers, RECORD last, as wheels are to be."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(
            files, key=lambda one: (one.startswith(info), one.endswith("RECORD"), one)
        ):
            member = zipfile.ZipInfo(path, _EARLIEST)
            member.create_system, member.external_attr = _LINUX, _MODE
            archive.writestr(member, files[path])
    return stream.getvalue()
