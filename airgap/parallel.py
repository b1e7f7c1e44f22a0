"""Work on all cores, results in order, a bounded number of pieces in flight.

Threads are enough: hashing, compressing and reading let go of the interpreter's lock.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

MOST_WORKERS = 16
"""More cores than this wait for the disk; each holds a frame or two in memory."""


def workers() -> int:
    """The cores that this process may use, at most `MOST_WORKERS`."""
    return min(len(os.sched_getaffinity(0)), MOST_WORKERS)


def in_order(tasks: Iterable[Callable[[], Result]]) -> Iterator[Result]:
    """Run tasks on all cores and yield their results in the tasks' order.

    At most two tasks a core are in flight or waiting to be taken, so memory stays bounded
    however slow the consumer is. The first task that fails ends the iteration with its error;
    what had not started never does.
    """
    most = 2 * workers()
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers()) as pool:
        try:
            for task in tasks:
                if len(waiting) == most:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(task))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
