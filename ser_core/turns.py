"""Turns at heavy work: how much runs at once, who comes next, and what nobody waits for any more.

All readers' heavy work goes through one queue. A few jobs run at once, each in a thread of its own. Of the work of one
kind, readers take turns: whoever has asked for twelve things has one of them done before the next reader has one done.
An explanation, which a reader looks at a bar for, comes before the panels beside it, and those before what takes many
minutes: the longer work steps aside whenever it tells how far it is. After three turns that passed it by, it has one
itself, so that it gets done on the busiest day as well.

Source: fair queueing by rounds, Nagle 1987 ("On packet switches with infinite storage", IEEE Trans. Commun.).
"""

import itertools
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ser_core.errors import SerscopeError

EXPLANATION, PANEL, LONG = KINDS = range(3)
"""Kinds of work, the most urgent first."""

SLOTS = max(1, min(4, (os.cpu_count() or 2) // 2))
MOST_WAITING = 100
PATIENCE = 3
HELD_S = 2.0
AWAY_S = 90.0
SWEEP_S = 0.5


class BusyError(SerscopeError):
    """As much work waits as may wait."""


class StoppedError(Exception):
    """Nobody wants the work any more."""


@dataclass(eq=False)
class Job:
    """Work under way: the share done (0 … 1), what is being done, what is known so far, and the future result.

    ``session`` names the reader; setting ``stop`` ends the work at its next ``tell``, or before it begins.
    """

    share: float = 0.0
    said: str = "Starting"
    known: Any = None
    future: Future = field(default_factory=Future)
    stop: threading.Event = field(default_factory=threading.Event)
    drawn: bool = False
    kind: int = PANEL
    session: str = ""
    turns: "Turns | None" = None
    work: "Callable[[Job], Any] | None" = None
    round: int = 0
    number: int = 0
    begun: bool = False
    go: threading.Event = field(default_factory=threading.Event)
    held_until: float = 0.0
    away_since: float | None = None

    def tell(self, share: float, words: str) -> None:
        """Take in how far the work is; more urgent work goes first here.

        Raises:
            StoppedError: nobody wants the work any more.
        """
        if self.turns is not None:
            self.turns.step_aside(self)
        if self.stop.is_set():
            raise StoppedError
        self.share, self.said = share, words

    def learn(self, known: Any) -> None:
        """Take in what is known so far."""
        self.known = known

    @property
    def done(self) -> bool:
        """Whether there is a result or a fault."""
        return self.future.done()

    @property
    def result(self) -> Any:
        """What the work came to; None while there is nothing, and where it ended in a fault."""
        return self.future.result() if self.future.done() and self.future.exception() is None else None

    @property
    def long(self) -> bool:
        """Whether it is work of many minutes."""
        return self.kind == LONG

    @property
    def words(self) -> str:
        """What is being done, or how many come before it."""
        before = None if self.turns is None else self.turns.before(self)
        if before is None:
            return self.said
        return f"Waiting for a turn: {before} before you" if before else "Waiting for a turn: you are next"


class Turns:
    """A queue of readers' work, of which so much runs at once."""

    def __init__(
        self,
        slots: int = SLOTS,
        *,
        most_waiting: int = MOST_WAITING,
        here: Callable[[str], bool] = lambda session: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make an empty queue.

        Args:
            slots: jobs that run at once.
            most_waiting: jobs that may wait.
            here: whether the reader of that session looks at the page; work of one who does not is passed over, and
                dropped after ``AWAY_S``.
            clock: seconds that only grow.
        """
        self._free, self._most_waiting, self._here, self._clock = slots, most_waiting, here, clock
        self._lock = threading.RLock()
        self._waiting: list[Job] = []
        self._running: set[Job] = set()
        self._round = dict.fromkeys(KINDS, 0)
        self._passed = dict.fromkeys(KINDS, 0)
        self._numbers = itertools.count()
        self._swept = 0.0
        # A job that steps aside keeps its thread, and no other of its kind begins before it goes on.
        self._threads = ThreadPoolExecutor(slots * len(KINDS), thread_name_prefix="turn")

    def submit(self, work: Callable[[Job], Any], session: str = "", kind: int = PANEL) -> Job:
        """Return the job that does the work when its turn comes; ``work`` is given the job to tell how far it is.

        Raises:
            BusyError: as much waits as may wait.
        """
        job = Job(kind=kind, session=session, turns=self, work=work, number=next(self._numbers))
        with self._lock:
            self._sweep()
            if len(self._waiting) >= self._most_waiting:
                raise BusyError(
                    f"SERscope is busy: {len(self._waiting)} pieces of work wait already. Try again in a few minutes."
                )
            own = [each.round for each in self._waiting if each.session == session and each.kind == kind]
            job.round = max([self._round[kind], *(number + 1 for number in own)])
            self._waiting.append(job)
            self._give_turns()
        return job

    def before(self, job: Job) -> int | None:
        """Return how many jobs come before one that waits; None for one that does not."""
        with self._lock:
            self._sweep()
            self._give_turns()
            if job not in self._waiting:
                return None
            earlier = sum(_order(each) < _order(job) for each in self._waiting if self._here(each.session))
            return earlier + sum(each.kind <= job.kind for each in self._running)

    def counts(self) -> tuple[int, int]:
        """Return how many jobs wait, and how many run."""
        with self._lock:
            return len(self._waiting), len(self._running)

    def step_aside(self, job: Job) -> None:
        """Let more urgent work go first, and wait meanwhile; returns at once where there is none."""
        with self._lock:
            if self._clock() - self._swept > SWEEP_S:
                self._sweep()
            urgent = any(each.kind < job.kind and self._here(each.session) for each in self._waiting)
            if job not in self._running or not urgent or job.stop.is_set() or self._clock() < job.held_until:
                return
            job.go.clear()
            self._running.remove(job)
            self._waiting.append(job)
            self._free += 1
            self._give_turns()
        job.go.wait()

    def _sweep(self) -> None:
        """Drop what nobody wants any more."""
        now = self._swept = self._clock()
        for job in [*self._waiting, *self._running]:
            if self._here(job.session):
                job.away_since = None
            elif job.away_since is None:
                job.away_since = now
            elif now - job.away_since > AWAY_S:
                job.stop.set()
        for job in [job for job in self._waiting if job.stop.is_set()]:
            self._waiting.remove(job)
            if job.begun:
                job.go.set()
            else:
                job.work = None
                job.future.set_exception(StoppedError())

    def _give_turns(self) -> None:
        while self._free and (job := self._next()) is not None:
            self._waiting.remove(job)
            self._running.add(job)
            self._free -= 1
            let_in = self._passed[job.kind] >= PATIENCE
            job.held_until = self._clock() + HELD_S if let_in else 0.0
            self._passed[job.kind] = 0
            for kind in {each.kind for each in self._waiting if each.kind > job.kind}:
                self._passed[kind] += 1
            self._round[job.kind] = max(self._round[job.kind], job.round)
            if job.begun:
                job.go.set()
            else:
                job.begun = True
                self._threads.submit(self._run, job)

    def _next(self) -> Job | None:
        here = [job for job in self._waiting if self._here(job.session)]
        if not here:
            return None
        kinds = {job.kind for job in here}
        kind = max((kind for kind in kinds if self._passed[kind] >= PATIENCE), default=min(kinds))
        return min((job for job in here if job.kind == kind), key=_order)

    def _run(self, job: Job) -> None:
        found, fault = None, None
        try:
            if job.stop.is_set() or job.work is None:
                raise StoppedError
            found = job.work(job)
        except BaseException as raised:
            fault = raised
        # What the work holds (a model, a clip) goes with it.
        job.work = None
        with self._lock:
            if job in self._running:
                self._running.remove(job)
                self._free += 1
            self._sweep()
            self._give_turns()
        if fault is None:
            job.future.set_result(found)
        else:
            job.future.set_exception(fault)


def _order(job: Job) -> tuple[int, bool, int, int]:
    return job.kind, not job.begun, job.round, job.number
