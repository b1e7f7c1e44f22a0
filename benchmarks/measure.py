"""Run a command as a process of its own: how long it took, and how much memory at its peak."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Contender:
    """One way to do a job, and what its runs took.

    Attributes:
        name: for the table.
        command: an argument list, or a line for the shell.
        size: bytes of the job, for MB/s.
        before: makes room, untimed, before each run.
        seconds: wall clock of each run.
        work: seconds of processor time that each run took, of all its processes together.
        peak: largest resident set of any one of its processes, in bytes.
    """

    name: str
    command: Sequence[str | Path] | str
    size: int
    before: Callable[[], None] = lambda: None
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    seconds: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)
    peak: int = 0

    def run(self) -> None:
        """One run. What earlier runs wrote is on the disk before it starts, not in its way."""
        self.before()
        os.sync()
        run = timed(self.command, self.environment)
        self.seconds.append(run.seconds)
        self.work.append(run.work)
        self.peak = max(self.peak, run.peak)

    @property
    def best(self) -> float:
        """The fastest run, the one that other work on the machine disturbed least."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """The run in the middle."""
        return statistics.median(self.seconds)

    @property
    def rate(self) -> float:
        """MB/s of the fastest run."""
        return self.size / self.best / 1e6

    def times(self, other: Contender) -> float:
        """How many times as fast as `other`."""
        return other.best / self.best


@dataclass(frozen=True)
class Run:
    """What one run took: wall clock and processor time in seconds, peak resident bytes."""

    seconds: float
    work: float
    peak: int


def timed(command: Sequence[str | Path] | str, environment: Mapping[str, str]) -> Run:
    """Run a command that must succeed.

    Linux hands a parent's peak down to the child that it forks, so whoever calls this must be
    small: the bench itself imports nothing of airgap's and holds no data.
    """
    arguments = ["sh", "-ec", command] if isinstance(command, str) else list(map(str, command))
    start = time.perf_counter()
    process = subprocess.Popen(
        arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _pid, status, usage = os.wait4(process.pid, 0)
    taken = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    complaint = process.stderr.read().decode() if process.stderr else ""
    if process.returncode:
        raise SystemExit(f"{command}: exit code {process.returncode}\n{complaint}")
    return Run(taken, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def output_of(*command: str | Path, environment: Mapping[str, str] | None = None) -> str:
    """What a command that must succeed prints."""
    done = subprocess.run(
        list(map(str, command)), env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def interleaved(contenders: Sequence[Contender], runs: int) -> None:
    """Run each in turn, again and again, so that a slow minute is everybody's.

    The first round is thrown away: it brings everything into the page cache, for both sides.
    """
    for number in range(runs + 1):
        for contender in contenders:
            contender.run()
            if number == 0:
                contender.seconds.clear()
                contender.work.clear()
