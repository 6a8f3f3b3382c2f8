"""Who does the work: the calling thread, or a crew of threads.

How many there are never changes a bit. Each training owns its crew for as long as it lasts: two trainings that shared
one, each waiting for its own members, would wait for ever. Signals reach the calling thread alone; it hands a job over
whole and waits, so that Ctrl-C can never cut a job between two members.
"""

import contextlib
import os
import time
from _thread import start_new_thread  # a Thread object would cost more, and swallow a Ctrl-C while it is collected
from collections import deque
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from threading import Lock
from typing import Self, TypeVar

from .._backprop import Team, lead
from .._types import Count
from . import checks, quota

Result = TypeVar("Result", bound=tuple[object, ...])
Task = TypeVar("Task")

# Floating-point operations of a step below which a second thread does not pay; of a whole call, which has to start its
# crew first: where members meet at barriers, and where each sums on its own; and of a step that would keep Ctrl-C
# waiting too long in the calling thread; measured on two cores.
SHARED = 2e6
SHARED_CALL = 5e8
SHARED_SUM = 1e8
LONG = 1e8
SLICE = 0.02  # seconds of compiled code between two looks for Ctrl-C
# Seconds that the calling thread works before it starts a crew that meets at barriers: a step of members that wait for
# a processor takes milliseconds, and threads of BLAS spin on one for 20 ms after their last product.
ALONE_FIRST = 0.05
# Seconds that the other number of members is tried for, at most and at least; that a crew has before to come together;
# that the better one then works, at most; and the share of all working time that trials may take: where the other is
# the slower, this is all that is lost.
TRIAL, LEAST, SETTLE, TERM, SHARE = 0.005, 0.0005, 0.0002, 1.0, 0.05


def cores() -> int:
    """Processors this process may run on and, by the quota of its control group, keep busy: one at least."""
    n = len(_allowed()) or os.cpu_count() or 1
    return max(1, int(min(n, quota.processors())))


def members(n_threads: Count | None, operations: float, least: float = SHARED) -> int:
    """How many threads work on so many floating-point operations, n_threads at most."""
    limit = cores() if n_threads is None else min(cores(), checks.count(n_threads, "n_threads"))
    return limit if operations >= least else 1


def spread(member: int) -> None:
    """Move the calling thread to the processor of this member, and leave it free to be moved on.

    A thread that is woken may be put where the one that woke it still runs, and there it stays for milliseconds: two
    members that meet at barriers would take turns on one processor while another stands idle.
    """
    allowed = sorted(_allowed())
    with contextlib.suppress(OSError):
        if len(allowed) > 1:
            os.sched_setaffinity(0, {allowed[(os.getpid() + member) % len(allowed)]})
            os.sched_setaffinity(0, allowed)


def _allowed():
    """The processors that the calling thread may run on, where the system tells."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()


class _Job:
    """A call that another thread makes; its result, or what it raised."""

    def __init__(self, function):
        self.function, self.result, self.error = function, None, None
        self._running = Lock()
        self._running.acquire()
        self.finished = self._running.acquire   # waits until it is

    def run(self):
        try:
            self.result = self.function()
        except BaseException as error:
            self.error = error
        self._running.release()


def _work(inbox):
    """Runs the jobs of an inbox one after the other, until it finds None there."""
    while (job := inbox.get()) is not None:
        job.run()


class Choice:
    """How many members work in step: n, or one.

    Who meets at barriers waits for the slowest, and on small steps, or on a machine with other work to do, that can be
    slower than one alone. So each is tried now and then, and the faster works.

    Parameters
    ----------
    n : int
    alone : float
        Seconds that one works before n are tried.
    """

    def __init__(self, n: int, alone: float) -> None:
        self.now, self.other = (1, n) if alone > 0 else (n, 1)
        self._worked, self._due = 0.0, alone if alone > 0 else TRIAL
        self._steps, self._seconds = 0, 0.0     # of `now`, since the last trial
        self._settled = 0.0     # seconds that the other has had to come together
        self._rest, self._rate = 0.0, 0.0   # until when there may be no trial; steps a second of the other in the last

    @property
    def trying(self) -> bool:
        """Is the other to be tried now?"""
        return self._worked >= self._due and self.now != self.other

    def next(self) -> tuple[int, float]:
        """(members, seconds at most) of the next call"""
        if not self.trying:
            return self.now, max(LEAST, min(self._due - self._worked, TERM / 20))
        if self.other > 1 and not self._settled:
            return self.other, SETTLE
        return self.other, max(LEAST, min(TRIAL, SHARE * self._worked))

    def took(self, n: int, steps: float, seconds: float) -> None:
        """So many members took so many seconds over so many steps."""
        self._worked += seconds
        if n == self.now:
            self._steps, self._seconds = self._steps + steps, self._seconds + seconds
            if steps < self._rate * seconds:    # slower than the other was
                self._due = min(self._due, self._rest)
            return
        if n > 1 and not self._settled:
            self._settled = seconds
            return
        self._rate = steps / seconds
        if steps * self._seconds > self._steps * seconds:
            self.now, self.other = self.other, self.now
            self._rate = self._steps / self._seconds
        self._rest = self._worked + (self._settled + seconds) / SHARE
        self._due = max(self._rest, self._worked + min(TERM, self._worked))
        self._steps, self._seconds, self._settled = 0, 0.0, 0.0


class Crew:
    """n threads, or the calling thread itself.

    Parameters
    ----------
    n : int
        Members; fewer where the system grants no more threads.
    apart : bool
        Keep the calling thread free to receive Ctrl-C, even with one member: for steps that take long.
    alone : float
        Seconds that one works in step before there are more; until then, unless apart, no thread is started.
    """

    def __init__(self, n: int = 1, apart: bool = False, alone: float = 0.0) -> None:
        self.team = Team(1)     # of each member that works on its own: asked to stop when all are
        self.n = n
        self._apart, self._alone = apart, alone
        self._process = os.getpid()
        self._processors = len(_allowed())
        self._members = []      # their inboxes
        self._choice = None
        if alone == 0 or apart:
            self._start()

    def _start(self):
        """Threads for the members"""
        for _ in range(self.n if self.n > 1 or self._apart else 0):
            self._members.append(SimpleQueue())
            try:
                start_new_thread(_work, (self._members[-1],))
            except RuntimeError:    # no more threads to be had
                self._members.pop()
                break
        self.n = max(1, len(self._members))

    def in_step(self, loop: Callable[[float, Team, int], Result]) -> Result:
        """loop(budget, team, member) by members together, meeting at barriers; returns its (…, steps done).

        By as many as are the faster; the bits are the same.
        """
        if self.n == 1 and not self._apart:
            return loop(SLICE, Team(1), 0)
        if self._choice is None:
            self._choice = Choice(self.n, self._alone)
        n, budget = self._choice.next()
        here = n == 1 and not self._apart       # in the calling thread
        if not here and not self._here():
            return loop(SLICE, Team(1), 0)
        n, begun, team = min(n, self.n), time.perf_counter(), Team(n)
        spreads = n > 1 and (self._choice.trying or n >= self._processors)

        def part(member):
            try:
                if spreads:
                    spread(member)
                return loop(budget, team, member)
            except BaseException:
                team.abandon()      # nobody waits for this member at the barrier
                raise

        if here:
            result = loop(min(budget, SLICE), team, 0)
        else:
            result = self._lead(lambda: self._by_all(part, n), team.want_stop)
        self._choice.took(n, result[-1], time.perf_counter() - begun)
        return result

    def share(self, work: Callable[[Task, int], object], tasks: Iterable[Task]) -> None:
        """work(task, member) for each of the tasks, by whichever member is free; long work looks at `team`."""
        queue = deque(tasks)

        def part(member):
            while not self.team.stopping:
                try:
                    task = queue.popleft()
                except IndexError:
                    return
                work(task, member)

        if not self._here():
            part(0)
        else:
            self.team = Team(1)
            self._lead(lambda: self._by_all(part, self.n), self.team.want_stop)

    def _here(self):
        """The members, started if need be; none in a child that was forked meanwhile: they stayed with the parent."""
        if self._process != os.getpid():
            self._members, self.n, self._apart = [], 1, False
        elif not self._members:
            self._start()
        return self._members

    def _by_all(self, part, n):
        """part(member) by members 0 .. n - 1, in the thread of member 0; returns what it returned there."""
        others = [_Job(lambda member=member: part(member)) for member in range(1, n)]
        for job, member in zip(others, self._members[1:n], strict=True):
            member.put(job)
        own = _Job(lambda: part(0))
        own.run()
        for job in others:
            job.finished()
        for job in (own, *others):
            if job.error is not None:
                raise job.error
        return own.result

    def _lead(self, function, stop):
        """function() in the thread of member 0; Ctrl-C here tells it to stop and waits until it has."""
        job = _Job(function)
        lead(self._members[0].put, job, job.finished, stop)
        if job.error is not None:
            raise job.error
        return job.result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.__del__()

    def __del__(self) -> None:  # also where Ctrl-C struck before it was entered
        for member in getattr(self, "_members", ()):
            member.put(None)


ALONE = Crew()


def crew(n_threads: Count | None, operations: float, steps: float) -> Crew:
    """The crew for so many steps of so many floating-point operations each."""
    n = members(n_threads, operations)
    return Crew(n if operations * steps >= SHARED_CALL else 1, apart=operations >= LONG, alone=ALONE_FIRST)
