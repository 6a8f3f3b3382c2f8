"""Who does the work: the calling thread, or a crew of threads that go through one compiled loop together.

How many there are never changes a bit (src/_backprop.pxd). Each training owns its crew for as long as it lasts: two
trainings that shared one, each waiting at its barrier, would wait for ever.
"""

import os
from concurrent.futures import ThreadPoolExecutor, wait

from . import checks
from ._backprop import Team

# Floating-point operations of a step below which a second thread does not pay, and above which a step may keep
# Ctrl-C waiting: measured on two cores (bench: growth).
SHARED = 2e7
LONG = 1e9


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
        Members that work in step.
    apart : bool
        Keep the calling thread free to receive Ctrl-C, even with one member: for steps that take long.
    """

    def __init__(self, n=1, apart=False):
        self.n = n
        self._pool = ThreadPoolExecutor(n, "fastbp") if n > 1 or apart else None

    @property
    def budget(self):
        """Seconds of compiled code between two looks for Ctrl-C: a crew apart needs none."""
        return 0.02 if self._pool is None else 1e9

    def run(self, loop):
        """loop(team, member) by every member together; returns what member 0 got."""
        team = Team(self.n)
        if self._pool is None:
            return loop(team, 0)
        tasks = [self._pool.submit(loop, team, member) for member in range(self.n)]
        try:
            wait(tasks)
        except BaseException:   # Ctrl-C: leave at the end of a step
            team.want_stop()
            wait(tasks)
            raise
        return [task.result() for task in tasks][0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._pool is not None:
            self._pool.shutdown()


def crew(n_threads, operations):
    """The crew for steps of so many floating-point operations."""
    n = members(n_threads, operations)
    return Crew(n, apart=operations >= LONG)
