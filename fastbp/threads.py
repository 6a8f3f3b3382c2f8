"""Who does the work: the calling thread, or a crew of threads.

How many there are never changes a bit. Each training owns its crew for as long as it lasts: two trainings that shared
one, each waiting for its own members, would wait for ever. Signals reach the calling thread alone; it hands a job over
whole and waits, so that Ctrl-C can never cut a job between two members.
"""

import os
import time
from _thread import start_new_thread  # a Thread object would cost more, and swallow a Ctrl-C while it is collected
from collections import deque
from queue import SimpleQueue
from threading import Lock

from . import checks, quota
from ._backprop import Team, lead

# Floating-point operations of a step below which a second thread does not pay; of a whole call, which has to start its
# crew first: where members meet at barriers, and where each sums on its own; and of a step that would keep Ctrl-C
# waiting too long in the calling thread; measured on two cores.
SHARED = 2e6
SHARED_CALL = 5e8
SHARED_SUM = 1e8
LONG = 1e8
SLICE = 0.02  # seconds of compiled code between two looks for Ctrl-C
TRIAL, TERM = 0.005, 1.0  # seconds that a number of members is tried for, and that the better one then works


def cores():
    """Processors this process may run on and, by the quota of its control group, keep busy: one at least."""
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(n, quota.processors())))


def members(n_threads, operations, least=SHARED):
    """How many threads work on so many floating-point operations, n_threads at most."""
    limit = cores() if n_threads is None else min(cores(), checks.count(n_threads, "n_threads"))
    return limit if operations >= least else 1


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


class Crew:
    """n threads, or the calling thread itself.

    Parameters
    ----------
    n : int
        Members; fewer where the system grants no more threads.
    apart : bool
        Keep the calling thread free to receive Ctrl-C, even with one member: for steps that take long.
    """

    def __init__(self, n=1, apart=False):
        self.team = Team(1)     # of each member that works on its own: asked to stop when all are
        self._rates = {}        # steps per second by number of members, of the last trial
        self._until = 0.0       # when the next trial is due
        self._process = os.getpid()
        self._members = []      # their inboxes
        for _ in range(n if n > 1 or apart else 0):
            self._members.append(SimpleQueue())
            try:
                start_new_thread(_work, (self._members[-1],))
            except RuntimeError:    # no more threads to be had
                self._members.pop()
                break
        self.n = max(1, len(self._members))

    def in_step(self, loop):
        """loop(budget, team, member) by members together, meeting at barriers; returns its (…, steps done) of each.

        Members that meet at barriers wait for the slowest, and on a machine with other work to do that can be slower
        than one alone. So both are tried, again every second, and the faster goes on: the bits are the same.
        """
        if not self._here():
            return loop(SLICE, Team(1), 0)
        now = time.perf_counter()
        if now >= self._until:
            self._rates, self._until = {}, now + TERM
        if self.n > 1 and len(self._rates) < 2:
            n, budget = (1 if self._rates else self.n), TRIAL
        else:
            n, budget = max(self._rates, key=self._rates.get, default=1), TERM / 20
        team = Team(n)

        def part(member):
            try:
                return loop(budget, team, member)
            except BaseException:
                team.abandon()      # nobody waits for this member at the barrier
                raise

        result = self._lead(lambda: self._by_all(part, n), team.want_stop)
        if self.n > 1 and n not in self._rates:
            self._rates[n] = result[-1] / (time.perf_counter() - now)
        return result

    def share(self, work, tasks):
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
        """The members; none in a child that was forked while they worked: they stayed with the parent."""
        if self._members and self._process != os.getpid():
            self._members, self.n = [], 1
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

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.__del__()

    def __del__(self):      # also where Ctrl-C struck before it was entered
        for member in getattr(self, "_members", ()):
            member.put(None)


ALONE = Crew()


def crew(n_threads, operations, steps):
    """The crew for so many steps of so many floating-point operations each."""
    n = members(n_threads, operations)
    return Crew(n if operations * steps >= SHARED_CALL else 1, apart=operations >= LONG)
