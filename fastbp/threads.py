"""Who does the work: the calling thread, or a crew of threads.

How many there are never changes a bit. Each training owns its crew for as long as it lasts: two trainings that shared
one, each waiting for its own members, would wait for ever.
"""

import os
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Barrier

from . import checks
from ._backprop import Team

# Floating-point operations of a step below which a second thread does not pay, of a single call that has to start its
# crew first, and above which a step would keep Ctrl-C waiting too long in the calling thread; measured on two cores.
SHARED = 2e6
SHARED_ONCE = 1e8
LONG = 1e9
SLICE = 0.02  # seconds of compiled code between two looks for Ctrl-C
TRIAL, TERM = 0.005, 1.0  # seconds that a number of members is tried for, and that the better one then works


def cores():
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def members(n_threads, operations, least=SHARED):
    """How many threads work on so many floating-point operations, n_threads at most."""
    limit = cores() if n_threads is None else min(cores(), checks.count(n_threads, "n_threads"))
    return limit if operations >= least else 1


class Crew:
    """n threads, or the calling thread itself.

    Parameters
    ----------
    n : int
        Members.
    apart : bool
        Keep the calling thread free to receive Ctrl-C, even with one member: for steps that take long.
    """

    def __init__(self, n=1, apart=False):
        self.n = n
        self.stopped = False
        self._rates = {}        # steps per second by number of members, of the last trial
        self._until = 0.0       # when the next trial is due
        self._pool = None
        if n > 1 or apart:
            self._pool = ThreadPoolExecutor(n, "fastbp")
            all_here = Barrier(n)       # started now, not in the first trial
            wait([self._pool.submit(all_here.wait) for _ in range(n)])

    def in_step(self, loop):
        """loop(budget, team, member) by members together, meeting at barriers; returns its (…, steps done) of each.

        Members that meet at barriers wait for the slowest, and on a machine with other work to do that can be slower
        than one alone. So both are tried, again every second, and the faster goes on: the bits are the same.
        """
        if self._pool is None:
            return loop(SLICE, Team(1), 0)
        now = time.perf_counter()
        if now >= self._until:
            self._rates, self._until = {}, now + TERM
        if self.n > 1 and len(self._rates) < 2:
            n, budget = (1 if self._rates else self.n), TRIAL
        else:
            n, budget = max(self._rates, key=self._rates.get, default=1), TERM / 20
        team = Team(n)
        result = self._wait([self._pool.submit(loop, budget, team, member) for member in range(n)], team.want_stop)[0]
        if self.n > 1 and n not in self._rates:
            self._rates[n] = result[-1] / (time.perf_counter() - now)
        return result

    def share(self, work, tasks):
        """work(task, member) for each of the tasks, by whichever member is free; long work looks at `stopped`."""
        queue = deque(tasks)

        def member(number):
            while not self.stopped:
                try:
                    task = queue.popleft()
                except IndexError:
                    return
                work(task, number)

        if self._pool is None:
            member(0)
        else:
            self._wait([self._pool.submit(member, number) for number in range(self.n)], self._stop)

    def _stop(self):
        self.stopped = True

    def _wait(self, futures, stop):
        try:
            wait(futures)
        except BaseException:   # Ctrl-C: leave at the end of a step
            stop()
            wait(futures)
            raise
        finally:
            self.stopped = False
        return [future.result() for future in futures]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._pool is not None:
            self._pool.shutdown()


ALONE = Crew()


def crew(n_threads, operations):
    """The crew for steps of so many floating-point operations."""
    return Crew(members(n_threads, operations), apart=operations >= LONG)
