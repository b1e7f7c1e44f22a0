"""Fair turns: work that comes in steps, done by a few threads, one step of one caller at a time.

A step of a transcription is a window of half a minute. Between two steps others have their
turn: each caller has one in each round, however much of its work waits, and one long recording
does not hold up the short ones behind it. Nothing here knows what a step does.

Work that cannot be cut into steps (telling speakers apart) is done aside, by one thread of its
own, one piece at a time. A job that waits for it holds no thread: a step gives its Future.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Final, TypeVar

T = TypeVar("T")

ItemTaken = Callable[[Any], None]
Ended = Callable[[Exception | None], None]

_DONE: Final = object()


class StoppedError(Exception):
    """The scheduler was closed before the job was done."""


@dataclass(eq=False)
class Job:
    """One piece of work.

    Attributes:
        caller: whose turn it takes.
        long: whether it may be held back for the sake of short ones.
        steps: taking an item is what does the work; taken by one thread at a time. After an item
            that is a Future, the next is taken when that is done.
        item: told each item that is no Future, by the thread that took it.
        ended: told once, None at the end or the error; never after `Scheduler.cancel`.
    """

    caller: str
    long: bool
    steps: Iterator[Any]
    item: ItemTaken
    ended: Ended
    stepping: bool = field(default=False, init=False)
    cancelled: bool = field(default=False, init=False)


class Turns:
    """Jobs in line, by caller: who was served goes to the end."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[Job]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def add(self, job: Job) -> None:
        """Put a job at the end of its caller's line."""
        self._lines.setdefault(job.caller, deque()).append(job)

    def take(self, may: Callable[[Job], bool]) -> Job | None:
        """The first job that may go, of the caller who has waited longest for a turn."""
        for caller, line in self._lines.items():
            job = next(filter(may, line), None)
            if job is not None:
                line.remove(job)
                self._lines.move_to_end(caller)
                if not line:
                    del self._lines[caller]
                return job
        return None

    def all(self) -> list[Job]:
        """Every job in line."""
        return [job for line in self._lines.values() for job in line]

    def drop(self, job: Job) -> bool:
        """Take a job out of its line; whether it was there."""
        line = self._lines.get(job.caller, deque())
        if job not in line:
            return False
        line.remove(job)
        if not line:
            del self._lines[job.caller]
        return True


class Scheduler:
    """Threads that take turns between jobs.

    There is one thread more than `workers`, and long jobs never occupy it; likewise the last
    of the `slots`. So there is always a way for a short job, whatever long ones are doing.

    Args:
        workers: steps of long jobs that are taken at once.
        slots: jobs that are begun and not ended; each holds its recording in memory.
    """

    def __init__(self, workers: int, slots: int) -> None:
        self._workers, self._slots = workers, max(slots, 2)
        self._changed = threading.Condition()
        self._waiting, self._begun = Turns(), Turns()
        self._active: set[Job] = set()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._take_turns, name=f"turns-{number}", daemon=True)
            for number in range(workers + 1)
        ]
        self._aside: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads.append(
            threading.Thread(target=self._work_aside, name="turns-aside", daemon=True)
        )
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Jobs that are not begun."""
        return len(self._waiting)

    @property
    def active(self) -> int:
        """Jobs that are begun and not ended."""
        return len(self._active)

    def submit(self, job: Job) -> None:
        """Put a job in line; one that comes too late is told StoppedError."""
        with self._changed:
            if not self._closed:
                self._waiting.add(job)
                self._begin()
                self._changed.notify()
                return
        job.ended(StoppedError())

    def aside(self, work: Callable[[], T]) -> Future[T]:
        """Have something done that has no steps, when what came before it is done."""
        promise: Future[T] = Future()

        def keep() -> None:
            if self._closed:
                promise.cancel()
            if not promise.set_running_or_notify_cancel():
                return
            try:
                promise.set_result(work())
            except Exception as caught:  # noqa: BLE001 - handed on whole to whoever waits for it
                promise.set_exception(caught)

        self._aside.put(keep)
        return promise

    def cancel(self, job: Job) -> None:
        """Stop a job: after the step that it is at, else now."""
        with self._changed:
            job.cancelled = True
            self._waiting.drop(job)
            self._begun.drop(job)
            if not job.stepping:
                self._forget(job)

    def abandon(self) -> None:
        """Stop every job after the step that it is at, and tell each StoppedError."""
        with self._changed:
            self._closed = True
            left = {*self._active, *self._waiting.all()}
            for job in left:
                job.cancelled = True
            self._changed.notify_all()
        self._aside.put(None)
        for job in left:
            job.ended(StoppedError())

    def close(self, timeout: float) -> bool:
        """Stop every job; whether all threads ended within so many seconds."""
        self.abandon()
        for thread in self._threads:
            thread.join(timeout)
        return not any(thread.is_alive() for thread in self._threads)

    def _take_turns(self) -> None:
        while (job := self._next()) is not None:
            item, error = _DONE, None
            try:
                item = next(job.steps, _DONE)
            except Exception as caught:  # noqa: BLE001 - handed on whole to whoever gave the job
                error = caught
            self._settle(job, item, error)

    def _work_aside(self) -> None:
        while (keep := self._aside.get()) is not None:
            keep()
            del keep  # and with it the recording, which would stay until the next comes

    def _next(self) -> Job | None:
        """The job whose turn it is, as soon as there is one; None when there is none to come."""
        with self._changed:
            while not self._closed:
                self._begin()
                if (job := self._begun.take(self._may_step)) is not None:
                    job.stepping = True
                    return job
                self._changed.wait()
        return None

    def _begin(self) -> None:
        """Let jobs in while there are slots."""
        while (job := self._waiting.take(self._may_begin)) is not None:
            self._active.add(job)
            self._begun.add(job)

    def _may_begin(self, job: Job) -> bool:
        kept = 1 if job.long else 0
        return len(self._active) < self._slots - kept

    def _may_step(self, job: Job) -> bool:
        busy = sum(one.long and one.stepping for one in self._active)
        return not job.long or busy < self._workers

    def _settle(self, job: Job, item: Any, error: Exception | None) -> None:
        """After a step: tell its outcome, then back into line, or aside, or out of it."""
        over, awaited = item is _DONE, isinstance(item, Future)
        if not job.cancelled:
            if over:
                job.ended(error)
            elif not awaited:
                job.item(item)
        with self._changed:
            job.stepping = False
            if over or job.cancelled:
                self._forget(job)
            elif not awaited:
                self._begun.add(job)
            self._changed.notify_all()
        if awaited:
            item.add_done_callback(lambda _done: self._resume(job))

    def _resume(self, job: Job) -> None:
        """Back into line, when what it waited for is done; unless it was stopped meanwhile."""
        with self._changed:
            if job in self._active and not job.cancelled:
                self._begun.add(job)
                self._changed.notify_all()

    def _forget(self, job: Job) -> None:
        self._active.discard(job)
        if callable(close := getattr(job.steps, "close", None)):
            close()
        self._changed.notify_all()
