"""Who does the work: the calling thread, or a crew of threads.

How many there are never changes a bit. Each training owns its crew for as long as it lasts: two trainings that shared
one, each waiting for its own members, would wait for ever.
"""

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait

from . import checks
from ._backprop import Team

# Floating-point operations of a step below which a second thread does not pay, and above which a step would keep
# Ctrl-C waiting too long in the calling thread; both measured on two cores.
SHARED = 2e7
LONG = 1e9
SLICE = 0.02  # seconds of compiled code between two looks for Ctrl-C


def cores():
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def members(n_threads, operations):
    """How many threads work on a step of so many floating-point operations, n_threads at most."""
    limit = cores() if n_threads is None else min(cores(), checks.count(n_threads, "n_threads"))
    return limit if operations >= SHARED else 1


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
        self._pool = ThreadPoolExecutor(n, "fastbp") if n > 1 or apart else None

    @property
    def budget(self):
        """Seconds that one run of `in_step` may take: a crew apart needs no limit, it is told to stop."""
        return SLICE if self._pool is None else 1e9

    def in_step(self, loop):
        """loop(team, member) by every member together, meeting at barriers; returns what it returns."""
        team = Team(self.n)
        if self._pool is None:
            return loop(team, 0)
        return self._wait([self._pool.submit(loop, team, member) for member in range(self.n)], team.want_stop)[0]

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
