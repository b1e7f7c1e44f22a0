"""The progress bar of a terminal: what, how much, how fast, how long still. Drawn by rich."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


class Bar:
    """One task of a rich progress display, as `airgap.console.Progress`."""

    def __init__(self, display: Progress, task: TaskID) -> None:
        self._display, self._task = display, task

    def advance(self, units: int) -> None:
        """So many more units are done."""
        self._display.advance(self._task, units)

    def note(self, text: str) -> None:
        """What is being worked on now, behind the bar."""
        self._display.update(self._task, note=text)


@contextmanager
def shown(title: str, total: int | None, unit: str) -> Iterator[Bar]:
    """Draw a bar on stderr until the block ends. `NO_COLOR` is rich's own to honour."""
    counters: tuple[ProgressColumn, ...] = (MofNCompleteColumn(),)
    if unit == "bytes":
        counters = (DownloadColumn(), TransferSpeedColumn())
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *counters,
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        yield Bar(display, display.add_task(title, total=total, note=""))
