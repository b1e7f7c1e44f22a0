"""Fair turns, without a model: the steps are told, one by one, when to end."""

import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runtime.engine.scheduler import Job, Scheduler, StoppedError, Turns


def nothing(_what: Any) -> None:
    pass


def comes_to(turns: Scheduler, active: int) -> bool:
    """Whether so many are at work soon: whoever ends is told before its place is free."""
    return any(turns.active == active or threading.Event().wait(0.01) for _ in range(1000))


def waiting_job(caller: str, *, long: bool = False) -> Job:
    return Job(caller, long, iter(()), nothing, nothing)


def test_callers_take_turns_whatever_they_have_waiting() -> None:
    turns = Turns()
    jobs = [waiting_job(caller) for caller in "aaaabbc"]
    for job in jobs:
        turns.add(job)
    taken = [turns.take(lambda _: True) for _ in jobs]
    assert [job.caller for job in taken if job] == list("abcabaa")
    assert len(turns) == 0
    assert turns.take(lambda _: True) is None


def test_what_may_not_go_keeps_its_place() -> None:
    turns = Turns()
    long, short = waiting_job("a", long=True), waiting_job("a")
    turns.add(long)
    turns.add(short)
    assert turns.take(lambda job: not job.long) is short
    assert turns.take(lambda job: not job.long) is None
    assert turns.take(lambda _: True) is long


def test_a_job_is_dropped_from_its_line_once() -> None:
    turns = Turns()
    job = waiting_job("a")
    turns.add(job)
    assert turns.drop(job)
    assert not turns.drop(job)
    assert len(turns) == 0


@pytest.fixture
def scheduler() -> Iterator[Callable[..., Scheduler]]:
    made: list[Scheduler] = []

    def make(workers: int, slots: int) -> Scheduler:
        made.append(Scheduler(workers, slots))
        return made[-1]

    yield make
    for one in made:
        assert one.close(10)


class Work:
    """Steps that wait to be let go, and note the order in which they were taken."""

    def __init__(self, name: str, steps: int, order: "queue.Queue[str]") -> None:
        self.name, self._steps, self._order = name, steps, order
        self.gate = threading.Semaphore(0)
        self.items: list[int] = []
        self.ended = threading.Event()
        self.error: Exception | None = None
        self.closed = False

    def job(self, caller: str, *, long: bool = False) -> Job:
        return Job(caller, long, self._run(), self.items.append, self._end)

    def _run(self) -> Iterator[int]:
        try:
            for number in range(self._steps):
                self._order.put(f"{self.name}{number}")
                assert self.gate.acquire(timeout=10)
                yield number
        finally:
            self.closed = True

    def _end(self, error: Exception | None) -> None:
        self.error = error
        self.ended.set()


@pytest.fixture
def order() -> "queue.Queue[str]":
    return queue.Queue()


def works(order: "queue.Queue[str]", **steps: int) -> list[Work]:
    return [Work(name, count, order) for name, count in steps.items()]


def open_gates(*some: Work) -> None:
    for work in some:
        work.gate.release(100)


def test_items_come_in_order_and_the_end_is_told(
    scheduler: Callable[..., Scheduler], order: "queue.Queue[str]"
) -> None:
    (work,) = works(order, a=5)
    open_gates(work)
    scheduler(1, 2).submit(work.job("a"))
    assert work.ended.wait(10)
    assert (work.items, work.error, work.closed) == ([0, 1, 2, 3, 4], None, True)


def test_an_error_is_handed_on_and_the_next_is_served(
    scheduler: Callable[..., Scheduler], order: "queue.Queue[str]"
) -> None:
    ends: queue.Queue[Exception | None] = queue.Queue()
    turns = scheduler(1, 2)
    turns.submit(Job("a", False, map(int, ["1", "x"]), nothing, ends.put))
    error = ends.get(timeout=10)
    assert isinstance(error, ValueError)
    (work,) = works(order, b=1)
    open_gates(work)
    turns.submit(work.job("b"))
    assert work.ended.wait(10)
    assert comes_to(turns, 0)


def test_long_ones_alternate_step_by_step(
    scheduler: Callable[..., Scheduler], order: "queue.Queue[str]"
) -> None:
    turns = scheduler(1, 4)
    first, second = works(order, a=3, b=3)
    turns.submit(first.job("a", long=True))
    assert order.get(timeout=10) == "a0"
    turns.submit(second.job("b", long=True))
    open_gates(first, second)
    assert first.ended.wait(10)
    assert second.ended.wait(10)
    assert [order.get(timeout=10) for _ in range(5)] == ["b0", "a1", "b1", "a2", "b2"]


def test_a_short_one_passes_long_ones_in_every_way(
    scheduler: Callable[..., Scheduler], order: "queue.Queue[str]"
) -> None:
    """Every worker and every slot that long ones may have is taken by one caller."""
    turns = scheduler(2, 4)
    long_ones = works(order, a=1, b=1, c=1, d=1, e=1)
    for work in long_ones:
        turns.submit(work.job("greedy", long=True))
    assert {order.get(timeout=10), order.get(timeout=10)} == {"a0", "b0"}
    (short,) = works(order, s=1)
    open_gates(short)
    turns.submit(short.job("greedy"))
    assert short.ended.wait(10)
    assert not any(work.ended.is_set() for work in long_ones)
    assert comes_to(turns, 3)
    assert turns.waiting == 2
    open_gates(*long_ones)
    assert all(work.ended.wait(10) for work in long_ones)


def test_no_more_are_begun_than_there_are_slots(
    scheduler: Callable[..., Scheduler], order: "queue.Queue[str]"
) -> None:
    turns = scheduler(2, 2)
    some = works(order, a=1, b=1, c=1)
    for work in some:
        turns.submit(work.job(work.name))
    assert {order.get(timeout=10), order.get(timeout=10)} == {"a0", "b0"}
    assert comes_to(turns, 2)
    assert turns.waiting == 1
    open_gates(*some)
    assert all(work.ended.wait(10) for work in some)


def test_what_waits_is_cancelled_at_once(
    scheduler: Callable[..., Scheduler], order: "queue.Queue[str]"
) -> None:
    turns = scheduler(1, 2)
    some = works(order, a=1, b=1, c=1)
    jobs = [work.job(work.name) for work in some]
    for job in jobs:
        turns.submit(job)
    assert {order.get(timeout=10), order.get(timeout=10)} == {"a0", "b0"}
    turns.cancel(jobs[2])
    assert turns.waiting == 0
    open_gates(*some)
    assert some[0].ended.wait(10)
    assert not some[2].ended.is_set()
    assert order.empty()


def test_closing_tells_every_job_that_it_was_stopped(
    scheduler: Callable[..., Scheduler], order: "queue.Queue[str]"
) -> None:
    turns = scheduler(1, 2)
    some = works(order, a=5, b=5, c=5)
    for work in some:
        turns.submit(work.job(work.name))
    assert {order.get(timeout=10), order.get(timeout=10)} == {"a0", "b0"}
    turns.abandon()
    assert all(work.ended.wait(10) for work in some)
    assert all(isinstance(work.error, StoppedError) for work in some)
    open_gates(*some)
    assert turns.close(10)
    assert [work.items for work in some] == [[], [], []]


def test_what_is_at_a_step_is_cancelled_after_it(
    scheduler: Callable[..., Scheduler], order: "queue.Queue[str]"
) -> None:
    turns = scheduler(1, 2)
    work, other = works(order, a=5, b=1)
    job = work.job("a")
    turns.submit(job)
    assert order.get(timeout=10) == "a0"
    turns.cancel(job)
    open_gates(work, other)
    turns.submit(other.job("b"))
    assert other.ended.wait(10)
    assert order.get(timeout=10) == "b0"
    for _ in itertools.repeat(None, 1000):
        if work.closed:
            break
        threading.Event().wait(0.01)
    assert (work.items, work.closed, work.ended.is_set()) == ([], True, False)
    assert comes_to(turns, 0)


class Awaiting:
    """A job of one short step, something aside, and one more step; as diarization is."""

    def __init__(self, turns: Scheduler, name: str, order: "queue.Queue[str]") -> None:
        self._turns, self._name, self._order = turns, name, order
        self.gate = threading.Semaphore(0)
        self.items: queue.Queue[Any] = queue.Queue()
        self.ended: queue.Queue[Exception | None] = queue.Queue()
        self.closed = threading.Event()

    def job(self, caller: str) -> Job:
        return Job(caller, True, self._run(), self.items.put, self.ended.put)

    def _run(self) -> Iterator[Any]:
        promise = self._turns.aside(self._aside)
        try:
            yield "begun"
            yield promise
            yield promise.result()
        finally:
            promise.cancel()
            self.closed.set()

    def _aside(self) -> str:
        self._order.put(self._name)
        assert self.gate.acquire(timeout=10)
        return f"done {self._name}"


def test_who_waits_for_work_aside_holds_up_nobody(
    scheduler: Callable[..., Scheduler], order: "queue.Queue[str]"
) -> None:
    turns = scheduler(1, 4)
    waiting = Awaiting(turns, "a", order)
    turns.submit(waiting.job("a"))
    assert order.get(timeout=10) == "a"
    (long,) = works(order, l=3)
    open_gates(long)
    turns.submit(long.job("b", long=True))
    assert long.ended.wait(10), "the only worker for long jobs is free"
    assert comes_to(turns, 1), "it keeps its place, and its recording with it"
    waiting.gate.release()
    assert [waiting.items.get(timeout=10) for _ in range(2)] == ["begun", "done a"]
    assert waiting.ended.get(timeout=10) is None


def test_work_aside_is_done_one_at_a_time_in_the_order_it_came(
    scheduler: Callable[..., Scheduler], order: "queue.Queue[str]"
) -> None:
    turns = scheduler(3, 8)
    some = [Awaiting(turns, name, order) for name in "abc"]
    for one in some:
        turns.submit(one.job("x"))
        assert one.items.get(timeout=10) == "begun"
    for one in some:
        assert order.get(timeout=10) == one._name
        assert order.empty()
        one.gate.release()
        assert one.ended.get(timeout=10) is None


def test_an_error_aside_is_the_jobs_own(scheduler: Callable[..., Scheduler]) -> None:
    turns = scheduler(1, 2)

    def steps() -> Iterator[Any]:
        promise = turns.aside(lambda: int("x"))
        yield promise
        yield promise.result()

    ends: queue.Queue[Exception | None] = queue.Queue()
    turns.submit(Job("a", False, steps(), nothing, ends.put))
    assert isinstance(ends.get(timeout=10), ValueError)
    assert comes_to(turns, 0)


def test_who_goes_while_waiting_for_work_aside_leaves_at_once(
    scheduler: Callable[..., Scheduler], order: "queue.Queue[str]"
) -> None:
    turns = scheduler(1, 3)
    first, second = Awaiting(turns, "a", order), Awaiting(turns, "b", order)
    jobs = [first.job("a"), second.job("b")]
    for job, one in zip(jobs, (first, second), strict=True):
        turns.submit(job)
        assert one.items.get(timeout=10) == "begun"
    assert order.get(timeout=10) == "a"
    turns.cancel(jobs[1])
    assert second.closed.wait(10)
    turns.cancel(jobs[0])
    assert first.closed.wait(10)
    assert comes_to(turns, 0)
    first.gate.release()
    assert turns.close(10)
    assert order.empty(), "what nobody waits for is not begun"
    assert first.ended.empty()


def test_closing_tells_who_waits_for_work_aside(
    scheduler: Callable[..., Scheduler], order: "queue.Queue[str]"
) -> None:
    turns = scheduler(1, 3)
    first, second = Awaiting(turns, "a", order), Awaiting(turns, "b", order)
    for one in (first, second):
        turns.submit(one.job("x"))
        assert one.items.get(timeout=10) == "begun"
    assert order.get(timeout=10) == "a"
    turns.abandon()
    assert all(isinstance(one.ended.get(timeout=10), StoppedError) for one in (first, second))
    assert not turns.close(0.05), "what is being done aside cannot be stopped, and that is said"
    first.gate.release()
    assert turns.close(10)
    assert order.empty()
