"""Which paths a bundle may hold: those that mean one file on every file system, inside the tree.

The rules are stricter than any one system needs. A bundle crosses FAT, exFAT, NTFS and macOS
on its way, and an attacker would use whatever differs between them (CVE-2007-4559 and its kin).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from itertools import accumulate
from typing import Final

from airgap import limits

TOP_FILES: Final = frozenset(
    {"manifest.json", "SHA256SUMS", "REVIEW.html", "sbom.cdx.json", "scan.json", "README.txt"}
)
TOP_FOLDERS: Final = frozenset(
    {
        "hf",
        "nemo",
        "torch",
        "whisper",
        "diarization",
        "emotion",
        "samples",
        "wheels",
        "python",
        "images",
    }
)

_DEVICES: Final = frozenset(
    {"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)}
)
"""Names that Windows takes for devices, whatever their extension."""


def path_defect(path: str) -> str | None:
    """Why `path` may not name a file of a repository or a lock, or None where it may.

    It must be relative, `/`-separated, NFC UTF-8, without empty, `.` or `..` parts, without
    control, format or private characters, backslashes, colons or trailing dots and spaces.
    """
    try:
        encoded = path.encode("utf-8")
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    if len(encoded) > limits.PATH_BYTES:
        return f"is longer than {limits.PATH_BYTES} bytes"
    if unicodedata.normalize("NFC", path) != path:
        return "is not in Unicode's NFC form"
    if any(unicodedata.category(character)[0] == "C" for character in path):
        return "has a control, format or unassigned character"
    if bad := set(path) & set('\\:*?"<>|'):
        return f"has {''.join(sorted(bad))!r}, which is not a plain character everywhere"
    return next((defect for part in path.split("/") if (defect := _part_defect(part))), None)


def _part_defect(part: str) -> str | None:
    if part in {"", ".", ".."}:
        return f"has the part {part!r}"
    if len(part.encode()) > limits.PATH_PART_BYTES:
        return f"has a part longer than {limits.PATH_PART_BYTES} bytes"
    if part[-1] in ". ":
        return f"has the part {part!r}, whose last character Windows drops"
    if part.partition(".")[0].casefold() in _DEVICES:
        return f"has the part {part!r}, which Windows takes for a device"
    return None


def member_defect(path: str) -> str | None:
    """Why `path` may not name a member of a bundle: `path_defect`, or not under a known root."""
    if defect := path_defect(path):
        return defect
    top, slash, _rest = path.partition("/")
    if top not in (TOP_FOLDERS if slash else TOP_FILES):
        return "is not under a known root"
    return None


def collisions(paths: Iterable[str]) -> list[str]:
    """Sentences on paths that would be one file somewhere, or a file where a folder must be.

    Paths are compared with case folded, for FAT, NTFS and macOS; each defect is named once.
    """
    seen: dict[str, str] = {}
    defects = []
    for path in paths:
        folded = _folded(path)
        if folded in seen:
            defects.append(f"'{path}' and '{seen[folded]}' are one file where case is ignored")
        seen.setdefault(folded, path)
    defects += [
        f"'{other}' is a file and '{path}' makes it a folder"
        for path in seen.values()
        for folder in accumulate(path.split("/")[:-1], "{}/{}".format)
        if (other := seen.get(_folded(folder))) is not None
    ]
    return sorted(defects)


def _folded(path: str) -> str:
    # Folding can leave NFC again ("İ"), so it is normalised once more.
    return unicodedata.normalize("NFC", path.casefold())
