"""A lock's entry -> source: the one place that knows every kind."""

from __future__ import annotations

import re
from typing import Final

import yaml

from airgap.paths import path_defect
from airgap.yaml_document import Form, YamlDocument, nearest
from bundler.sources import Source, wheels
from bundler.sources.https import Https
from bundler.sources.huggingface import HuggingFace
from bundler.sources.local import Local
from bundler.sources.pypi import REQUIREMENT, Member, Pypi
from bundler.sources.s3 import S3
from bundler.sources.wheels import Wheels

REPOSITORY: Final = Form(
    # "--" is what the hub's cache puts between ORG and NAME.
    re.compile(r"(?!.*(?:--|\.\.))\w([\w.-]*\w)?/\w([\w.-]*\w)?", re.ASCII),
    "ORG/NAME of a repository on the hub",
)
ADDRESS: Final = Form(
    # No user and password: a lock is published, and ~/.netrc is where they belong.
    re.compile(r"https?://[^/@?#\s]+(/[^?#\s]*)?"),
    "an address (https://HOST/PATH) without a password and without a query",
)
BUCKET: Final = Form(re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"), "the name of a bucket")
COMMIT: Final = Form(re.compile(r"[0-9a-f]{40}"), "a commit of 40 hex digits")


def read_source(document: YamlDocument, node: yaml.Node) -> Source:
    """Take one entry of `sources` apart; the key that names a kind says of which it is."""
    kinds = {
        "huggingface": _huggingface,
        "pypi": _pypi,
        "https": _https,
        "s3": _s3,
        "local": _local,
        "wheels": _wheels,
    }
    keys = [str(key.value) for key, _value in document.pairs(node, "a source")]
    if kind := next((key for key in keys if key in kinds), None):
        return kinds[kind](document, node)
    if keys or isinstance(node, yaml.MappingNode):
        first = keys[0] if keys else ""
        document.defect(node, f"unknown source '{first}'{nearest(first, kinds)}")
    return Local("")


def _huggingface(document: YamlDocument, node: yaml.Node) -> Source:
    values = document.mapping(node, {"huggingface": True, "revision": False}, "a source")
    revision = values.get("revision")
    return HuggingFace(
        document.text(values["huggingface"], "a repository", REPOSITORY),
        document.text(revision, "a revision", COMMIT) if revision else None,
    )


def _https(document: YamlDocument, node: yaml.Node) -> Source:
    values = document.mapping(node, {"https": True, "files": False}, "a source")
    files = values.get("files")
    return Https(
        document.text(values["https"], "an address", ADDRESS),
        tuple(
            (read_path(document, key, "a file"), document.text(address, "an address", ADDRESS))
            for key, address in document.pairs(files, "'files'")
        )
        if files
        else (),
    )


def _s3(document: YamlDocument, node: yaml.Node) -> Source:
    values = document.mapping(node, {"s3": True, "bucket": False}, "a source")
    bucket = values.get("bucket")
    return S3(
        read_path(document, values["s3"], "a prefix"),
        document.text(bucket, "a bucket", BUCKET) if bucket else None,
    )


def _local(document: YamlDocument, node: yaml.Node) -> Source:
    values = document.mapping(node, {"local": True}, "a source")
    return Local(document.text(values["local"], "a folder"))


def _wheels(document: YamlDocument, node: yaml.Node) -> Source:
    values = document.mapping(node, {"wheels": True}, "a source")
    if getattr(values["wheels"], "value", None) == wheels.PYPI:
        return Wheels()
    return Wheels(document.text(values["wheels"], "an index", ADDRESS) or None)


def _pypi(document: YamlDocument, node: yaml.Node) -> Source:
    keys = {"pypi": True, "folder": False, "joined": False}
    values = document.mapping(node, keys, "a source")
    folder, joined = values.get("folder"), values.get("joined")
    return Pypi(
        document.text(values["pypi"], "a package", REQUIREMENT),
        read_path(document, folder, "a folder") if folder else "",
        _joined(document, joined) if joined else (),
    )


def _joined(document: YamlDocument, node: yaml.Node) -> tuple[tuple[str, tuple[Member, ...]], ...]:
    return tuple(
        (
            read_path(document, key, "a file"),
            tuple(_member(document, part) for part in document.items(parts, "the parts")),
        )
        for key, parts in document.pairs(node, "'joined'")
    )


def _member(document: YamlDocument, node: yaml.Node) -> Member:
    values = document.mapping(node, {"pypi": True, "path": True}, "a part")
    package, path = values.get("pypi"), values.get("path")
    return Member(
        document.text(package, "a package", REQUIREMENT) if package else "",
        read_path(document, path, "a part's path") if path else "",
    )


def read_path(document: YamlDocument, node: yaml.Node, what: str) -> str:
    """A path that stays inside: of a repository, a lock or an archive."""
    path = document.text(node, what)
    if path and (defect := path_defect(path)):
        document.defect(node, f"{what}: '{path}' {defect}")
    return path
