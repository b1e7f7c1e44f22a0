"""How much is taken in at once: a place is taken before a body is read, given back at the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from runtime.server import errors
from runtime.server.limits import Limits


class Places:
    """Requests in the house, in all and by caller. Used by the event loop's thread alone."""

    def __init__(self, limits: Limits) -> None:
        self._most = limits.queue + limits.concurrency
        self._per_caller = limits.per_caller
        self._taken: Counter[str] = Counter()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def taken(self) -> int:
        """Requests in the house."""
        return self._taken.total()

    @contextmanager
    def one(self, caller: str) -> Iterator[None]:
        """A place until the block ends. Raises ApiError 429 where there is none."""
        if self.taken >= self._most:
            raise errors.too_many("The queue is full", "queue_full")
        if self._taken[caller] >= self._per_caller:
            raise errors.too_many(
                f"You have {self._per_caller} requests waiting or at work", "caller_queue_full"
            )
        self._taken[caller] += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._taken[caller] -= 1
            if not self._taken[caller]:
                del self._taken[caller]
            if not self._taken:
                self._empty.set()

    async def emptied(self) -> None:
        """Wait until nobody is in the house."""
        await self._empty.wait()
