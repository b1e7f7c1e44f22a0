"""One state of a repository, and the words in which the hub describes it.

As `huggingface_hub` 0.36 and 2.4 read them: what a client does not read is not there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from runtime.mirror.intact import Signed

_UNKNOWN: Final = "0" * 40
"""For git's id of a folder: a bundle need not carry all that lies in it."""


@dataclass(frozen=True)
class Document:
    """An answer that is made of the manifest alone."""

    body: bytes
    kind: str = "application/json"


@dataclass(frozen=True)
class Content:
    """A file of a repository.

    Attributes:
        signed: its bytes.
        etag: as the hub gives it, in quotes: git's blob id of small files, the SHA-256 of large.
        commit: the state of the repository, 40 hex digits.
        large: whether the hub keeps it apart from git.
    """

    signed: Signed
    etag: str
    commit: str
    large: bool


@dataclass
class Snapshot:
    """One state of a repository, out of one bundle or several."""

    repository: str
    commit: str
    licence: str
    gated: bool
    created: str
    files: dict[str, Content] = field(default_factory=dict)


def entries(below: Mapping[str, Content], folder: str) -> list[dict[str, Any]]:
    """What lies in a folder itself: files, and the folders in it."""
    found: dict[str, dict[str, Any]] = {}
    for name, content in below.items():
        first, slash, _rest = name[len(folder) :].partition("/")
        path = folder + first
        if slash:
            found[path] = {"type": "directory", "path": path, "size": 0, "oid": _UNKNOWN}
        else:
            found[path] = entry(name, content)
    return list(found.values())


def entry(name: str, content: Content) -> dict[str, Any]:
    """A file in a tree, as the hub lists it."""
    signed = content.signed
    listed = {"type": "file", "path": name, "size": signed.size, "oid": _blob(content)}
    if content.large:
        pointer = len(_pointer(signed))
        listed["lfs"] = {"oid": signed.sha256, "size": signed.size, "pointerSize": pointer}
    return listed


def described(one: Snapshot) -> Document:
    """A repository, as the hub describes it. Terms were accepted by who built the bundle."""
    return as_json(
        {
            "_id": one.commit[:24],
            "id": one.repository,
            "modelId": one.repository,
            "sha": one.commit,
            "private": False,
            "disabled": False,
            "gated": "manual" if one.gated else False,
            "tags": [],
            "cardData": {"license": one.licence},
            "siblings": [_sibling(name, content) for name, content in one.files.items()],
        }
    )


def _sibling(name: str, content: Content) -> dict[str, Any]:
    signed = content.signed
    sibling = {"rfilename": name, "size": signed.size, "blobId": _blob(content)}
    if content.large:
        pointer = len(_pointer(signed))
        sibling["lfs"] = {"sha256": signed.sha256, "size": signed.size, "pointerSize": pointer}
    return sibling


def _blob(content: Content) -> str:
    """Git's id of what is in git: the file, or the pointer that stands for a large one."""
    if not content.large:
        return content.etag.strip('"')
    pointer = _pointer(content.signed)
    return hashlib.sha1(b"blob %d\0" % len(pointer) + pointer, usedforsecurity=False).hexdigest()


def _pointer(signed: Signed) -> bytes:
    """What stands in git for a large file (git-lfs, docs/spec.md)."""
    lines = ("version https://git-lfs.github.com/spec/v1", f"oid sha256:{signed.sha256}")
    return "\n".join((*lines, f"size {signed.size}", "")).encode()


def page(revisions: Mapping[str, frozenset[str]]) -> bytes:
    """What a person sees who opens the address."""
    lines = [f"  {name} at {', '.join(sorted(known))}" for name, known in revisions.items()]
    return "\n".join(
        ("A read-only hub: set HF_ENDPOINT to this address.", "", *sorted(lines), "")
    ).encode()


def as_json(value: Any) -> Document:
    """A document for programs."""
    return Document(json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode())
