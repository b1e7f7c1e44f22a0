"""A YAML file that a person may have written, read strictly: every defect with file, line, column.

Defects are collected while reading and raised once, sorted by place. What YAML offers to
attackers and to accidents is refused before any node is built: aliases, anchors, tags,
several documents, deep nesting, duplicate keys.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from airgap.errors import UsageError

DEPTH: Final = 8
"""Nesting of our YAML files; a lock needs seven."""

SHOWN: Final = 50
"""Defects that one error shows; a file with more is not one of ours at all."""

# libyaml reads a lock of thousands of files ten times faster; it may be missing from a PyYAML
# that was built without it, and reads the same language.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_KINDS: Final = {
    "tag:yaml.org,2002:str": "text",
    "tag:yaml.org,2002:int": "a whole number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:bool": "true or false",
    "tag:yaml.org,2002:null": "nothing",
    "tag:yaml.org,2002:timestamp": "a date",
    "tag:yaml.org,2002:map": "a mapping",
    "tag:yaml.org,2002:seq": "a list",
}

Keys = Mapping[str, bool]
"""The keys that a mapping may have, and whether each must be there."""


@dataclass(frozen=True)
class Form:
    """What a text must look like: as a pattern, and in words for errors."""

    pattern: re.Pattern[str]
    words: str

    def fits(self, text: str) -> bool:
        """Whether the whole text is of this form."""
        return self.pattern.fullmatch(text) is not None


class YamlDocument:
    """One file being read. Readers return a harmless value of their type where they met a defect.

    Nothing that was read may be used before `finish`, which raises if there were defects.
    """

    def __init__(self, content: bytes, file: str) -> None:
        """Parse `content` into nodes. Raises UsageError where it is not plain YAML."""
        self._file = file
        self._defects: set[tuple[int, int, str]] = set()
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"'{file}' is not UTF-8: byte {error.start} is wrong") from error
        try:
            self._refuse_tricks(text)
            self.finish()
            root = yaml.compose(text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            raise UsageError(self._syntax(error)) from error
        except yaml.YAMLError as error:
            raise UsageError(f"'{file}' is not YAML: {error}") from error
        if root is None:
            raise UsageError(f"{file}:1:1: expected a mapping, found an empty file")
        self.root: yaml.Node = root

    def _refuse_tricks(self, text: str) -> None:
        """One pass over the parser's events, which costs no recursion and builds nothing."""
        depth = documents = 0
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents == 2:  # noqa: PLR2004 - the second of one
                    self._note(event.start_mark, "a second document: expected one")
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                self._note(event.start_mark, "anchors and aliases (&, *) are not read here")
            if getattr(event, "tag", None):
                self._note(event.start_mark, "tags (!) are not read here")
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > DEPTH:
                    self._note(event.start_mark, f"nested deeper than {DEPTH}")
                    return
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1

    def _syntax(self, error: yaml.MarkedYAMLError) -> str:
        mark = error.problem_mark or error.context_mark
        place = f"{self._file}:{mark.line + 1}:{mark.column + 1}" if mark else self._file
        return f"{place}: not YAML: {error.problem or error.context}"

    def _note(self, mark: Any, message: str) -> None:
        self._defects.add((mark.line + 1, mark.column + 1, message))

    def defect(self, node: yaml.Node, message: str) -> None:
        """Note what is wrong at `node`."""
        self._note(node.start_mark, message)

    def finish(self) -> None:
        """Raise UsageError with every defect, one a line as FILE:LINE:COL, where there is one."""
        if not self._defects:
            return
        lines = [f"{self._file}:{line}:{col}: {text}" for line, col, text in sorted(self._defects)]
        if len(lines) > SHOWN:
            lines = [*lines[:SHOWN], f"… and {len(lines) - SHOWN} more"]
        raise UsageError("\n".join(lines))

    def mapping(self, node: yaml.Node, keys: Keys, what: str) -> dict[str, yaml.Node]:
        """The values of a mapping that has these keys and no others."""
        values: dict[str, yaml.Node] = {}
        for key, value in self.pairs(node, what):
            if key.value in keys:
                values[key.value] = value
            else:
                self.defect(key, f"unknown key '{key.value}' in {what}{nearest(key.value, keys)}")
        if isinstance(node, yaml.MappingNode):
            for name, needed in keys.items():
                if needed and name not in values:
                    self.defect(node, f"{what} lacks '{name}'")
        return values

    def pairs(self, node: yaml.Node, what: str) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """The entries of a mapping with any keys, in order; a key that stands twice is a defect."""
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, "a mapping", what)
            return
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._wrong(key, "a word", f"a key of {what}")
            elif key.value in seen:
                self.defect(key, f"'{key.value}' stands twice in {what}")
            else:
                seen.add(key.value)
                yield key, value

    def items(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        """The entries of a list, at least one."""
        if not isinstance(node, yaml.SequenceNode):
            self._wrong(node, "a list", what)
            return []
        if not node.value:
            self.defect(node, f"{what}: expected at least one entry, found none")
        return list(node.value)

    def text(self, node: yaml.Node, what: str, form: Form | None = None) -> str:
        """A text, not empty, of the `form` where one is given; "" where it is not."""
        if not isinstance(node, yaml.ScalarNode) or not node.tag.endswith(":str"):
            advice = "; put it in quotes" if isinstance(node, yaml.ScalarNode) else ""
            self._wrong(node, "text", what, advice)
            return ""
        if not node.value.strip():
            self.defect(node, f"{what}: expected text, found nothing")
        elif form is not None and not form.fits(node.value):
            self.defect(node, f"{what}: expected {form.words}, found '{node.value}'")
        else:
            return str(node.value)
        return ""

    def choice(self, node: yaml.Node, choices: Collection[str], what: str) -> str:
        """One of some words; "" where it is none of them."""
        word = self.text(node, what)
        if word and word not in choices:
            expected = " | ".join(choices)
            said = f"{what}: expected {expected}, found '{word}'{nearest(word, choices)}"
            self.defect(node, said)
            return ""
        return word

    def integer(self, node: yaml.Node, what: str, *, least: int, most: int) -> int:
        """A whole number in decimal digits, within its bounds; `least` where it is not."""
        plain = isinstance(node, yaml.ScalarNode) and node.tag.endswith(":int")
        # YAML 1.1 also reads 010 as eight and 1:30 as ninety: nobody who writes that means it.
        if not plain or not re.fullmatch(r"0|-?[1-9][0-9]{0,18}", node.value):
            self._wrong(node, "a whole number", what)
        elif not least <= int(node.value) <= most:
            found = f"expected {least} to {most}, found {node.value}"
            self.defect(node, f"{what}: {found}")
        else:
            return int(node.value)
        return least

    def boolean(self, node: yaml.Node, what: str) -> bool:
        """`true` or `false`; no other spelling."""
        if isinstance(node, yaml.ScalarNode) and node.value in {"true", "false"}:
            return bool(node.value == "true")
        self._wrong(node, "true or false", what)
        return False

    def _wrong(self, node: yaml.Node, expected: str, what: str, advice: str = "") -> None:
        kind = _KINDS.get(node.tag, "something else")
        found = f"'{node.value}'" if isinstance(node, yaml.ScalarNode) and node.value else kind
        if isinstance(node, yaml.ScalarNode) and node.value and kind != expected:
            found = f"{kind} ({found})"
        self.defect(node, f"{what}: expected {expected}, found {found}{advice}")


def nearest(word: str, known: Collection[str]) -> str:
    """The rest of a sentence about an unknown word: the nearest known one, else all of them."""
    lowered = {name.lower(): name for name in known}
    if close := difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6):
        return f": did you mean '{lowered[close[0]]}'?"
    return f"; known are {', '.join(known)}"
