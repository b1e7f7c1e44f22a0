"""Work on all cores, results in order, a bounded number of pieces in flight.

Threads are enough: hashing, compressing and reading let go of the interpreter's lock.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from airgap import limits

Result = TypeVar("Result")

MOST_WORKERS = 16
"""More cores than this wait for the disk; each holds a frame or two in memory."""

_LARGEST_BLOCK = 31 << 20
"""Bytes, just below the largest threshold that glibc's malloc moves to by itself."""

_own = threading.local()


def workers() -> int:
    """The cores that this process may use, at most `MOST_WORKERS`."""
    return min(len(os.sched_getaffinity(0)), MOST_WORKERS)


def in_order(tasks: Iterable[Callable[[], Result]]) -> Generator[Result, None, None]:
    """Run tasks on all cores and yield their results in the tasks' order.

    At most two tasks a core are in flight or waiting to be taken, so memory stays bounded
    however slow the consumer is. The first task that fails ends the iteration with its error;
    what had not started never does. Whoever may leave the iteration early closes it
    (`contextlib.closing`): were its threads joined by the garbage collector, in whatever thread
    that runs, two of them could wait for each other for ever.
    """
    _keep_freed_memory()
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


def _keep_freed_memory() -> None:
    """Have malloc use the memory of one frame for the next: fresh pages cost a tenth of the time.

    glibc hands blocks above a threshold back to the kernel when they are freed, and raises the
    threshold to the largest that was (M_MMAP_THRESHOLD in mallopt(3)). So free a large one, which
    was never touched. Other libraries' malloc is not changed by it.
    """
    bytes(_LARGEST_BLOCK)


def own_buffer(size: int) -> memoryview:
    """Memory for a frame that this thread alone uses, again and again.

    Fresh pages cost as much as hashing. What an earlier call gave is overwritten.
    """
    if not hasattr(_own, "frame"):
        _own.frame = memoryview(bytearray(limits.FRAME_STORED))
    buffer: memoryview = _own.frame[:size]
    return buffer
