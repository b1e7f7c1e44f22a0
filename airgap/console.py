"""The one output sink: data to stdout, the story to stderr, one JSON document with `--json`.

Text that came from a file or a bundle passes through `printable` on its way out, so
that a name inside an archive cannot move the cursor or repaint a verdict.
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Protocol

from airgap.errors import AirgapError, RefusedError

Advance = Callable[[int], None]
"""Told how many more units of the work are done."""


class Progress(Protocol):
    """What long work tells whoever watches."""

    def advance(self, units: int) -> None:
        """So many more units are done."""

    def note(self, text: str) -> None:
        """What is being worked on now."""


def printable(text: str) -> str:
    """`text` with control, bidirectional and other format characters escaped; newlines stay."""
    return "".join(
        character
        if character == "\n" or unicodedata.category(character) not in {"Cc", "Cf", "Cs"}
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )


def one_line(text: str) -> str:
    """The same with newlines escaped as well: a file's name may hold one, and forge a line."""
    return printable(text).replace("\n", "\\n")


def human_size(size: int) -> str:
    """A size in bytes as a person reads it, in powers of ten like disks are sold: `3.09 GB`."""
    value = float(size)
    for unit in ("B", "kB", "MB"):
        if value < 1000:  # noqa: PLR2004 - the base of the SI prefixes
            return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"


class Console:
    """Where every verb speaks. One instance, `console`, set up by the verb's options."""

    def __init__(self) -> None:
        self.as_json = False
        self.quiet = False

    def configure(self, *, as_json: bool = False, quiet: bool = False) -> None:
        """Set what the verb's `--json` and `--quiet` ask for."""
        self.as_json, self.quiet = as_json, quiet

    def data(self, text: str) -> None:
        """A line of result, to stdout; silent under `--json`, where `document` speaks."""
        if not self.as_json:
            print(printable(text))  # noqa: T201 - this is the sink

    def document(self, schema: str, body: Mapping[str, Any]) -> None:
        """The one JSON document of a verb, to stdout, under `--json` alone."""
        if self.as_json:
            text = json.dumps({"schema": schema, **body}, indent=2, ensure_ascii=True)
            print(text)  # noqa: T201 - this is the sink

    def say(self, text: str) -> None:
        """A line of the story, to stderr."""
        if not self.quiet:
            self._tell(one_line(text))

    def warn(self, text: str) -> None:
        """Something that a person should know although the work goes on; `--quiet` shows it."""
        self._tell(one_line(f"warning: {text}"))

    def fail(self, error: AirgapError) -> None:
        """The error that ended the verb, with its hint; under `--json` as the document as well."""
        self._tell(f"error: {error.message}")
        rule = authority = None
        decision: list[dict[str, str]] = []
        if isinstance(error, RefusedError):
            rule, authority = error.rule, error.authority
            decision = [asdict(step) for step in error.decision]
            self._tell(f"  rule: {rule}; up to: {authority}")
        if error.hint:
            self._tell(f"  next: {error.hint}")
        self.document(
            "airgap/error/v1",
            {
                "exit_code": error.exit_code,
                "kind": type(error).__name__,
                "rule": rule,
                "authority": authority,
                "decision": decision,
                "message": error.message,
                "hint": error.hint,
            },
        )

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Rows in aligned columns, as data. Numbers are the caller's to format."""
        cells = [[printable(cell) for cell in row] for row in (headings, *rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
        for row in cells:
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.data(line.rstrip())

    @contextmanager
    def progress(self, title: str, total: int | None, *, unit: str = "bytes") -> Iterator[Progress]:
        """A progress bar with rate and time left, where stderr is a terminal; else nothing.

        Args:
            title: what is being done, in a word or two.
            total: units of the whole work, None where it cannot be known (a pipe).
            unit: `bytes`, shown as sizes, or what else is counted.
        """
        if self.as_json or self.quiet or not sys.stderr.isatty():
            yield _Silent()
            return
        from airgap import progress_bar  # noqa: PLC0415 - rich costs 100 ms, paid when it is seen

        with progress_bar.shown(title, total, unit) as bar:
            yield bar

    @staticmethod
    def _tell(text: str) -> None:
        sys.stdout.flush()  # what was said before comes before, where both are one file
        print(printable(text), file=sys.stderr, flush=True)  # noqa: T201 - this is the sink


class _Silent:
    """Progress that nobody watches."""

    def advance(self, units: int) -> None:
        pass

    def note(self, text: str) -> None:
        pass


def quietly(units: int) -> None:
    """An Advance for callers that watch nothing."""


def is_plain() -> bool:
    """Whether colour is unwanted: NO_COLOR is set and not empty (no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))


console = Console()
