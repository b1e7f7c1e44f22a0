"""Configurations: the classes that they have imported and called, and what they reach for.

Hydra calls whatever `_target_` names, NeMo whatever `target` names, pyannote whatever
`pipeline.name` names (CVE-2025-23304, pyannote-audio issue 2000). YAML is taken apart into nodes;
no object is built from it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import count
from typing import Any, Final

import yaml

from airgap.limits import MIB
from bundler.scan.allowed import TARGETS
from bundler.scan.findings import Finding, caution, danger

MOST: Final = 64 * MIB
"""Bytes of a configuration; a tokenizer has some millions."""

NODES: Final = 1_000_000
"""Nodes that are visited, an alias as often as it is used: a few hundred bytes make billions."""

DEPTH: Final = 100

CALLED: Final = frozenset({"_target_", "target", "cls", "class_path"})
"""Keys whose value is imported and called."""

SHOWN: Final = 20
"""Findings of one rule in one file; the rest is counted."""

_TAGS: Final = ("tag:yaml.org,2002:python/", "!")
_MAPPINGS: Final = frozenset({"tag:yaml.org,2002:map", "tag:yaml.org,2002:set", "!"})
_MERGE: Final = "tag:yaml.org,2002:merge"
_CLASS: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_ADDRESS: Final = re.compile(r"[a-z0-9+.-]://|\bfile:\S", re.IGNORECASE)
_ABSOLUTE: Final = re.compile(r"/[\w.-]+/|//|~/|[A-Za-z]:\\|\\\\")
_PARENT: Final = re.compile(r"(?:^|[/\\])\.\.(?:[/\\]|$)")
_REPOSITORY: Final = re.compile(r"[\w][\w.-]*/[\w][\w.-]*(?:@\S+)?", re.ASCII)

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CODE_FIX: Final = "use a model whose configuration names known classes, or waive it with a reason"
_REACH_FIX: Final = "put the file that it names into the bundle, and name it by a relative path"

Leaf = tuple[tuple[str, ...], Any]
"""The keys on the way to a value, and the value."""


def judge_yaml(content: bytes, place: str) -> list[Finding]:
    """Judge a YAML configuration."""
    try:
        if tag := _tag(content):
            story = f"it has the tag '{tag}', which makes a loader build an object"
            return [danger(place, "config.tag", story, _CODE_FIX)]
        root = yaml.compose(content, Loader=_LOADER)
        leaves = list(_yaml_leaves(root, (), count())) if root else []
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, _TooMuch) as error:
        story = f"it cannot be read as YAML: {type(error).__name__}"
        return [danger(place, "config.unreadable", story, _CODE_FIX)]
    return _judge(leaves, place)


def judge_json(content: bytes, place: str) -> list[Finding]:
    """Judge a JSON configuration. A tokenizer's words are no addresses."""
    try:
        leaves = list(_json_leaves(json.loads(content), ()))
    except (ValueError, RecursionError, _TooMuch) as error:
        story = f"it cannot be read as JSON: {type(error).__name__}"
        return [danger(place, "config.unreadable", story, _CODE_FIX)]
    findings = _judge(leaves, place)
    if "tokenizer" in place or "vocab" in place:
        return [one for one in findings if one.rule in {"config.target", "config.remote-code"}]
    return findings


class _TooMuch(Exception):  # noqa: N818 - never leaves this module
    """It is nested deeper, or has more nodes, than a configuration has."""


def _tag(content: bytes) -> str | None:
    """The first explicit tag, without building anything."""
    for event in yaml.parse(content, Loader=_LOADER):
        tag = getattr(event, "tag", None)
        if tag and tag.startswith(_TAGS) and tag != "!":
            return str(tag)
        # Of a mapping with the tag of a string, the loader takes the value of '='.
        if tag and isinstance(event, yaml.MappingStartEvent) and tag not in _MAPPINGS:
            return str(tag)
    return None


def _yaml_leaves(node: yaml.Node, keys: tuple[str, ...], visited: Iterator[int]) -> Iterator[Leaf]:
    if len(keys) > DEPTH or next(visited) > NODES:
        raise _TooMuch
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.tag == _MERGE:
                yield from _merged_leaves(value, keys, visited)
                continue
            named = key.value if isinstance(key, yaml.ScalarNode) else "?"
            yield from _yaml_leaves(value, (*keys, str(named)), visited)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _yaml_leaves(item, (*keys, str(number)), visited)
    else:
        yield keys, node.value


def _merged_leaves(
    node: yaml.Node, keys: tuple[str, ...], visited: Iterator[int]
) -> Iterator[Leaf]:
    """What `<<` merges in lies where the key stands, as the loader sees it."""
    several = isinstance(node, yaml.SequenceNode)
    for one in node.value if several else [node]:
        yield from _yaml_leaves(one, keys, visited)


def _json_leaves(value: Any, keys: tuple[str, ...]) -> Iterator[Leaf]:
    if len(keys) > DEPTH:
        raise _TooMuch
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _json_leaves(item, (*keys, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _json_leaves(item, (*keys, str(number)))
    else:
        yield keys, value


def _judge(leaves: list[Leaf], place: str) -> list[Finding]:
    is_pyannote = any(keys[:1] == ("pipeline",) for keys, _ in leaves)
    found = [
        finding
        for keys, value in leaves
        if isinstance(value, str) and keys
        for finding in _leaf(keys, value.strip(), place, is_pyannote=is_pyannote)
    ]
    return list(_folded(found, place))


def _leaf(keys: tuple[str, ...], value: str, place: str, *, is_pyannote: bool) -> Iterator[Finding]:
    at, key = ".".join(keys), keys[-1]
    if "auto_map" in keys or "custom_pipelines" in keys:
        story = f"'{at}' lets the model bring Python code: '{value}'"
        yield danger(place, "config.remote-code", story, _CODE_FIX)
    elif _is_called(keys, value, is_pyannote=is_pyannote):
        if value not in TARGETS:
            story = f"'{at}' has '{value}' called, which is not on the allow-list"
            yield danger(place, "config.target", story, _CODE_FIX)
    elif _ADDRESS.search(value):
        yield caution(place, "config.address", f"'{at}' is an address: '{value}'", _REACH_FIX)
    elif _PARENT.search(value):
        yield caution(place, "config.parent", f"'{at}' leads out by '..': '{value}'", _REACH_FIX)
    elif _ABSOLUTE.match(value):
        yield caution(place, "config.path", f"'{at}' is an absolute path: '{value}'", _REACH_FIX)
    elif is_pyannote and key != "version" and _REPOSITORY.fullmatch(value):
        story = f"'{at}' names a repository, which would be downloaded: '{value}'"
        yield caution(place, "config.repository", story, _REACH_FIX)


def _is_called(keys: tuple[str, ...], value: str, *, is_pyannote: bool) -> bool:
    if keys[-1] == "_target_":
        return True
    if keys[-1] in CALLED:
        # OmegaConf puts another value of the file, or of the environment, in the place of ${...}.
        return _CLASS.fullmatch(value) is not None or "${" in value
    return is_pyannote and keys[-1] == "name" and keys[0] in {"pipeline", "preprocessors"}


def _folded(findings: list[Finding], place: str) -> Iterator[Finding]:
    """At most `SHOWN` cautions of a rule: a training configuration has hundreds of paths."""
    for rule in sorted({one.rule for one in findings}):
        same = sorted(one for one in findings if one.rule == rule)
        dangers = [one for one in same if one.severity == "danger"]
        yield from dangers
        cautions = [one for one in same if one.severity != "danger"]
        yield from cautions[:SHOWN]
        if rest := cautions[SHOWN:]:
            yield caution(place, rule, f"and {len(rest)} more like these", _REACH_FIX)
