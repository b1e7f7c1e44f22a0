"""The recordings of a run: what is done is skipped, the rest transcribed, several at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import BinaryIO

from airgap import limits
from airgap.console import console, one_line
from airgap.errors import AirgapError
from runtime.batch.gathering import Item
from runtime.batch.ledger import Ledger
from runtime.batch.pace import Pace, Share
from runtime.batch.texts import Desk, Opened, Order, Outcome, failed, texts_of
from runtime.recordings import sha256_of
from runtime.transcriber import Transcriber


def run(
    items: Sequence[Item],
    streams: Sequence[BinaryIO | AirgapError],
    ledgers: Mapping[Path, Ledger],
    order: Order,
    load: Callable[[], Transcriber],
) -> None:
    """Transcribe every recording that is not done, and tell how it went.

    Args:
        items: the recordings.
        streams: the same, open, or why one cannot be.
        ledgers: of every place of those that are open.
        order: what they shall become.
        load: makes what hears them; called where one is not done.

    Raises:
        AirgapError: recordings failed, which are recorded; or a text could not be written, which
            ends the run.
    """
    tally = _Tally(len(items))
    opened: list[Opened] = []
    for item, stream in zip(items, streams, strict=True):
        if isinstance(stream, AirgapError):
            tally.add(failed(item, stream, ledgers))
        else:
            opened.append(Opened.of(item, stream))
    left = _left(opened, ledgers, order, tally)
    if left:
        over = _seconds(opened) - _seconds(left)
        _transcribe(left, over, Desk(load(), order, ledgers), tally)
    tally.sum_up()


def _left(
    opened: Sequence[Opened], ledgers: Mapping[Path, Ledger], order: Order, tally: _Tally
) -> list[Opened]:
    """The recordings that are not done."""
    left = []
    with console.progress("compare", len(opened), unit="recordings") as bar:
        for one in opened:
            try:
                if _is_done(one, ledgers[one.item.place], order):
                    tally.add(Outcome(one.item))
                else:
                    left.append(one)
            except AirgapError as error:
                tally.add(failed(one.item, error, ledgers))
            bar.advance(1)
    return left


def _is_done(one: Opened, ledger: Ledger, order: Order) -> bool:
    """Whether its texts are there. It is read only where some are. Raises AirgapError."""
    known = ledger.heard(order.names(one.item), order.work, attested=order.key is not None)
    return known is not None and sha256_of(one.stream, str(one.item.recording)) == known


def _transcribe(left: Sequence[Opened], over: float, desk: Desk, tally: _Tally) -> None:
    """Several at once; `over` are the seconds of those that are done with."""
    with (
        console.progress("transcribe", round(_seconds(left)), unit="seconds") as bar,
        ThreadPoolExecutor(desk.order.jobs, thread_name_prefix="recording") as pool,
    ):
        pace = Pace(over + _seconds(left), over, bar)
        work = {pool.submit(texts_of, one, desk, Share(pace, one.seconds)): one for one in left}
        try:
            for future in as_completed(work):
                outcome = future.result()
                pace.over(work[future].seconds, transcribed=bool(outcome.written))
                tally.add(outcome, f"; {pace.sentence()}")
        except BaseException:
            _stop(work, pace)
            raise


def _seconds(recordings: Sequence[Opened]) -> float:
    return sum(one.seconds for one in recordings)


def _stop(work: Iterable[Future[Outcome]], pace: Pace) -> None:
    """Begin nothing more; what is being heard notices at its next segment."""
    pace.stopped.set()
    for future in work:
        future.cancel()


class _Tally:
    """What became of the recordings so far, told one by one."""

    def __init__(self, of: int) -> None:
        self._of = of
        self._outcomes: list[Outcome] = []

    def add(self, outcome: Outcome, how_far: str = "") -> None:
        """One is done with."""
        self._outcomes.append(outcome)
        counted = f"({len(self._outcomes)} of {self._of}{how_far})"
        if outcome.failure is not None:
            hint = f"; next: {outcome.failure.hint}" if outcome.failure.hint else ""
            console.warn(f"{outcome.failure.message}{hint} {counted}")
        elif outcome.written:
            console.say(f"wrote {', '.join(map(str, outcome.written))} {counted}")

    def sum_up(self) -> None:
        """Say what became of all of them. Raises AirgapError where some failed."""
        lost = sorted(str(one.item.recording) for one in self._outcomes if one.failure is not None)
        written = sum(bool(one.written) for one in self._outcomes)
        before = self._of - written - len(lost)
        recordings = "1 recording" if self._of == 1 else f"{self._of} recordings"
        console.say(
            f"{recordings}: {written} transcribed, {before} done before, {len(lost)} failed"
        )
        if lost:
            named = ", ".join(f"'{one_line(one)}'" for one in lost[: limits.NAMED])
            more = f" and {len(lost) - limits.NAMED} more" if len(lost) > limits.NAMED else ""
            raise AirgapError(
                f"{len(lost)} of {recordings} failed: {named}{more}",
                hint="each warning says why; the same command again takes these alone",
            )
