"""The work is done by the calling thread, or by a crew of threads.

The number of threads never changes a bit. Each training owns its crew: two trainings that shared one, each waiting for
its own members, would wait for ever. Only the calling thread receives signals. It hands a whole job over and waits, so
that Ctrl-C can never cut a job between two members.
"""

import contextlib
import os
import time
from _thread import start_new_thread  # a Thread object would cost more, and swallow a Ctrl-C while it is collected
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from queue import SimpleQueue
from threading import Lock
from typing import Any, Self, TypeVar

from .._backprop import Team, lead
from .._types import Count
from . import checks, quota

Result = TypeVar("Result", bound=tuple[Any, ...])
Task = TypeVar("Task")

# Floating-point operations from which a second thread pays, measured on two cores: of a step; of a call whose members
# meet at barriers, and of one whose members sum on their own (both start their crew first).
SHARED = 2e6
SHARED_CALL = 5e8
SHARED_SUM = 1e8
LONG = 1e8  # operations of a step that would delay Ctrl-C too much in the calling thread
SLICE = 0.02  # seconds of compiled code between two looks for Ctrl-C
# Seconds that the calling thread works before it starts a crew that meets at barriers. A step of members that wait for
# a processor takes milliseconds, and threads of BLAS spin on one for 20 ms after their last product.
ALONE_FIRST = 0.05
TRIAL, LEAST = 0.005, 0.0005  # seconds of a trial of the other number of members, at most and at least
SETTLE = 0.0002  # seconds in which a crew comes together before its first trial
TERM = 1.0  # seconds that the faster number then works, at most
SHARE = 0.05  # part of all working time for trials: the loss if the other is always slower


def cores() -> int:
    """Processors that this process may use, by its affinity and by the quota of its control group; at least one."""
    n = len(_allowed()) or os.cpu_count() or 1
    return max(1, int(min(n, quota.processors())))


def members(n_threads: Count | None, operations: float, least: float = SHARED) -> int:
    """The number of threads for so many floating-point operations, at most n_threads."""
    limit = cores() if n_threads is None else min(cores(), checks.count(n_threads, "n_threads"))
    return limit if operations >= least else 1


def spread(member: int) -> None:
    """Move the calling thread to the processor of this member; the system may then move it on.

    The system may put a woken thread on the processor of the one that woke it, and leave it there for milliseconds. Two
    members that meet at barriers would then take turns on one processor while another is idle.
    """
    allowed = sorted(_allowed())
    with contextlib.suppress(OSError):
        if len(allowed) > 1:
            os.sched_setaffinity(0, {allowed[(os.getpid() + member) % len(allowed)]})
            os.sched_setaffinity(0, allowed)


def _allowed() -> set[int]:
    """The processors that the calling thread may run on; empty if the system does not tell."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


class _Job:
    """A call that another thread makes; its result, or its exception."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.result: Any = None
        self.error: BaseException | None = None
        self._running = Lock()
        self._running.acquire()
        self.finished = self._running.acquire   # waits for the end of `run`

    def run(self) -> None:
        try:
            self.result = self.function()
        except BaseException as error:
            self.error = error
        self._running.release()


def _work(inbox: SimpleQueue[_Job | None]) -> None:
    """Run the jobs of an inbox one after the other, until it gives None."""
    while (job := inbox.get()) is not None:
        job.run()


class Choice:
    """The number of members that work in step: n, or one.

    Members that meet at barriers wait for the slowest. On small steps, or on a busy machine, they can be slower than
    one alone. So both numbers are tried now and then, and the faster works.

    Parameters
    ----------
    n : int
    alone : float
        Seconds that one works before n are tried.
    """

    def __init__(self, n: int, alone: float) -> None:
        self.now, self.other = (1, n) if alone > 0 else (n, 1)
        self._worked, self._due = 0.0, alone if alone > 0 else TRIAL
        self._steps, self._seconds = 0.0, 0.0   # of `now`, since the last trial
        self._settled = 0.0     # seconds that the other has had to come together
        self._rest, self._rate = 0.0, 0.0   # no trial before `rest`; steps a second of the other in the last trial

    @property
    def trying(self) -> bool:
        """Is it time to try the other number?"""
        return self._worked >= self._due and self.now != self.other

    def next(self) -> tuple[int, float]:
        """(members, most seconds) of the next call"""
        if not self.trying:
            return self.now, max(LEAST, min(self._due - self._worked, TERM / 20))
        if self.other > 1 and not self._settled:
            return self.other, SETTLE
        return self.other, max(LEAST, min(TRIAL, SHARE * self._worked))

    def took(self, n: int, steps: float, seconds: float) -> None:
        """Learn that n members took so many seconds for so many steps."""
        self._worked += seconds
        if n == self.now:
            self._steps, self._seconds = self._steps + steps, self._seconds + seconds
            if steps < self._rate * seconds:    # slower than the other in its last trial
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
        Members; fewer if the system grants no more threads.
    apart : bool
        Keep the calling thread free to receive Ctrl-C, even with one member: for long steps.
    alone : float
        Seconds that one member works in step before more are tried; no thread is started until then, unless apart.
    """

    def __init__(self, n: int = 1, apart: bool = False, alone: float = 0.0) -> None:
        self.team = Team(1)     # of members that work on their own: its stop is a stop for all of them
        self.n = n
        self._apart, self._alone = apart, alone
        self._process = os.getpid()
        self._processors = len(_allowed())
        self._members: list[SimpleQueue[_Job | None]] = []      # their inboxes
        self._choice: Choice | None = None
        if alone == 0 or apart:
            self._start()

    def _start(self) -> None:
        """Start a thread for each member."""
        for _ in range(self.n if self.n > 1 or self._apart else 0):
            self._members.append(SimpleQueue())
            try:
                start_new_thread(_work, (self._members[-1],))
            except RuntimeError:    # the system grants no more threads
                self._members.pop()
                break
        self.n = max(1, len(self._members))

    def in_step(self, loop: Callable[[float, Team, int], Result]) -> Result:
        """loop(budget, team, member) by members that meet at barriers; returns its (…, steps done).

        `Choice` decides their number; the bits are the same.
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

        def part(member: int) -> Result:
            try:
                if spreads:
                    spread(member)
                return loop(budget, team, member)
            except BaseException:
                team.abandon()      # the others no longer wait for this member at the barrier
                raise

        if here:
            result = loop(min(budget, SLICE), team, 0)
        else:
            result = self._lead(lambda: self._by_all(part, n), team.want_stop)
        self._choice.took(n, result[-1], time.perf_counter() - begun)
        return result

    def deal(self, work: Callable[[Task, int], object], tasks: Iterable[Task]) -> None:
        """work(task, member) for each task, by any free member; long work must look at `team.stopping`."""
        queue = deque(tasks)

        def part(member: int) -> None:
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

    def _here(self) -> list[SimpleQueue[_Job | None]]:
        """The members, started if necessary; none in a forked child, since they stayed with the parent."""
        if self._process != os.getpid():
            self._members, self.n, self._apart = [], 1, False
        elif not self._members:
            self._start()
        return self._members

    def _by_all(self, part: Callable[[int], Any], n: int) -> Any:
        """part(member) by members 0 .. n - 1, called in the thread of member 0; returns the result of member 0."""
        others = [_Job(partial(part, member)) for member in range(1, n)]
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

    def _lead(self, function: Callable[[], Any], stop: Callable[[], None]) -> Any:
        """function() in the thread of member 0; Ctrl-C here calls stop() and waits for the end of function()."""
        job = _Job(function)
        lead(self._members[0].put, job, job.finished, stop)
        if job.error is not None:
            raise job.error
        return job.result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.__del__()

    def __del__(self) -> None:  # even if Ctrl-C came before `with` was entered
        for member in getattr(self, "_members", ()):
            member.put(None)


ALONE = Crew()


def some(n: int, apart: bool) -> Crew:
    """A crew of n for one call; without threads where none is needed."""
    return Crew(n, apart) if n > 1 or apart else ALONE


def crew(n_threads: Count | None, operations: float, steps: float) -> Crew:
    """The crew for steps of so many floating-point operations each."""
    n = members(n_threads, operations)
    return Crew(n if operations * steps >= SHARED_CALL else 1, apart=operations >= LONG, alone=ALONE_FIRST)
