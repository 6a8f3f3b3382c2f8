"""The work is done by the calling thread, or by a crew of threads.

The number of threads never changes a bit. Crews live on between calls: their threads spin for a moment, then sleep. A
call borrows one for itself: two calls that shared one, each waiting for its own members, would wait forever. Only the
calling thread runs Python and receives signals. It works as a member, in compiled calls of about 20 ms, so that Ctrl-C
can never cut a job between two members.
"""

import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import _backprop
from .._types import Count
from . import checks, quota

Result = TypeVar("Result", bound=tuple[Any, ...])
Make = Callable[[int, np.dtype[Any]], NDArray[Any]]

# Floating-point operations from which a second thread pays off, measured on two cores: of a step; of all steps of a
# call; of a sum over examples.
SHARED = 2e6
SHARED_CALL = 2e7
SHARED_SUM = 2e7
LONG = 4e8  # operations of a step that would delay Ctrl-C too much in the calling thread
SLICE = 0.02  # seconds of compiled code between two looks for Ctrl-C
# Seconds that the calling thread works before the members of a crew meet at barriers for the first time. A step of
# members that wait for a processor takes milliseconds, and threads of BLAS spin on one for 20 ms after their product.
ALONE_FIRST = 0.005
TRIAL, LEAST = 0.005, 0.0005  # most and least seconds of a trial of the other number of members
SETTLE = 0.0002  # seconds in which a crew comes together before its first trial
TERM = 1.0  # most seconds that the faster number then works
TRIALS = 0.05  # fraction of the working time for trials: it is lost if the other number is always slower
CREWS = 4  # most crews that are kept between calls
KEPT = 2**24  # most bytes of an array that is kept between calls
CHOICES = 8  # kinds of work for which the faster number of members is remembered


def cores() -> int:
    """Processors that this process may use, by its affinity and by the quota of its control group; at least one."""
    n = len(_allowed()) or os.cpu_count() or 1
    return max(1, int(min(n, quota.processors())))


def members(n_threads: Count | None, operations: float, least: float = SHARED) -> int:
    """The number of threads for this many floating-point operations, at most n_threads."""
    limit = None if n_threads is None else checks.count(n_threads, "n_threads")
    if operations < least or limit == 1:
        return 1
    return cores() if limit is None else min(cores(), limit)


def _allowed() -> set[int]:
    """The processors that the calling thread may run on; empty if unknown."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


class Choice:
    """The number of members that work in step: n, or one.

    Members that meet at barriers wait for the slowest. On small steps, or on a busy machine, they can be slower than
    one alone. So both numbers are tried now and then, and the faster one works.

    Parameters
    ----------
    n : int
    alone : float
        Seconds for which one works before n are tried.
    """

    def __init__(self, n: int, alone: float) -> None:
        self.now, self.other = (1, n) if alone > 0 else (n, 1)
        self._worked, self._due = 0.0, alone if alone > 0 else TRIAL
        self._steps, self._seconds = 0.0, 0.0   # of `now`, since the last trial
        self._settled = 0.0     # seconds for which the other number has come together
        self._rest, self._rate = 0.0, 0.0   # no trial before `rest`; steps per second of the other in its last trial
        self._learning = threading.Lock()

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
        return self.other, max(LEAST, min(TRIAL, TRIALS * self._worked))

    def took(self, n: int, steps: float, seconds: float) -> None:
        """Record the time that n members took for these steps, unless another thread is recording."""
        if self._learning.acquire(blocking=False):      # in a forked child it may stay locked
            try:
                self._learn(n, steps, seconds)
            finally:
                self._learning.release()

    def _learn(self, n: int, steps: float, seconds: float) -> None:
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
        self._rest = self._worked + (self._settled + seconds) / TRIALS
        self._due = max(self._rest, self._worked + min(TERM, self._worked))
        self._steps, self._seconds, self._settled = 0, 0.0, 0.0


class Hands:
    """Threads with the arrays in which they work; one call uses them at a time."""

    def __init__(self) -> None:
        self.threads = _backprop.Crew()
        self._allowed: set[int] | None = None   # processors of its threads; None: it has none yet
        self._rooms: dict[str, NDArray[Any]] = {}

    def reach(self, n: int) -> int:
        """Start threads until there are n, or as many as the system grants; returns their number."""
        if n and self._allowed is None:
            self._allowed = _allowed()
        return min(n, self.threads.reach(n))

    def fit(self) -> bool:
        """Are the threads in this process, and may they run where the calling thread may?"""
        return self.threads.here and (self._allowed is None or self._allowed == _allowed())

    def room(self, name: str, n: int, dtype: np.dtype[Any], make: Make) -> NDArray[Any]:
        """An array of n values, with any content; kept under this name for the next call that asks for the same."""
        array = self._rooms.get(name)
        if array is None or len(array) != n or array.dtype != dtype:
            array = make(n, dtype)
            self._rooms.pop(name, None)
            if array.nbytes <= KEPT:
                self._rooms[name] = array
        return array


class Pool:
    """The hands that no call is using. The networks that have used the pool own it; it is freed with the last of them.
    """

    def __init__(self) -> None:
        self._free: list[Hands] = []

    def take(self) -> Hands:
        """Hands for one call."""
        while True:
            try:
                hands = self._free.pop()
            except IndexError:
                return Hands()
            if hands.fit():
                return hands

    def put_back(self, hands: Hands) -> None:
        """Keep them for the next call, unless there are enough."""
        if len(self._free) < CREWS:
            self._free.append(hands)


_pool: weakref.ref[Pool] | None = None
_making = threading.Lock()      # of the pool


def _forget_pool() -> None:
    """In a forked child: the threads stayed with the parent"""
    global _pool, _making
    _pool, _making = None, threading.Lock()


if hasattr(os, "register_at_fork"):     # pragma: no branch  (systems that cannot fork have none)
    os.register_at_fork(after_in_child=_forget_pool)


class Kept:
    """What is kept between the calls of a network: the pool, and which number of members was faster."""

    def __init__(self) -> None:
        self._pool: Pool | None = None
        self._choices: dict[tuple[str, int, float], Choice] = {}

    @property
    def pool(self) -> Pool:
        """The one pool of this process."""
        global _pool
        found = None if _pool is None else _pool()
        if found is None:
            with _making:       # only one thread may make it
                found = None if _pool is None else _pool()
                if found is None:
                    found = Pool()
                    _pool = weakref.ref(found)
        self._pool = found
        return found

    def choice(self, work: str, n: int, operations: float) -> Choice:
        """The choice between n members and one for this work of so many operations."""
        if len(self._choices) > CHOICES:
            self._choices.clear()
        alone = 0.0 if operations >= SHARED_SUM else ALONE_FIRST
        return self._choices.setdefault((work, n, operations), Choice(n, alone))

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        """A copy starts empty."""
        return type(self), ()


class Crew:
    """n members for one call: the calling thread and n - 1 others.

    Parameters
    ----------
    n : int
        Members; fewer if the system grants no more threads.
    apart : bool
        For long steps: keep the calling thread out of the work, free to receive Ctrl-C, even with one member.
    choice : Choice, optional
        Decides whether all members or only one take steps; None makes a new one.
    kept : Kept, optional
        The owner of the threads; without it they start and end with the crew.
    """

    def __init__(self, n: int = 1, apart: bool = False, choice: Choice | None = None, kept: Kept | None = None) -> None:
        self._pool = None if kept is None else kept.pool
        self._hands = Hands() if self._pool is None else self._pool.take()
        threads = self._hands.reach(n if apart else n - 1)
        self.apart = apart and threads > 0
        self.n = threads if self.apart else threads + 1
        self._choice = choice

    @property
    def who(self) -> tuple[_backprop.Crew | None, int, bool]:
        """(threads, members, apart) for a compiled call; in a forked child the caller alone."""
        if not self._hands.threads.here:
            self.n, self.apart = 1, False
            return None, 1, False
        return self._hands.threads, self.n, self.apart

    def room(self, name: str, n: int, dtype: np.dtype[Any], make: Make) -> NDArray[Any]:
        """`Hands.room`"""
        return self._hands.room(name, n, dtype, make)

    def in_step(self, loop: Callable[[float, Any, int, bool], Result]) -> Result:
        """loop(budget, threads, members, apart) by members that meet at barriers; returns its (…, steps done).

        The choice decides their number; the bits are the same.
        """
        threads, n, apart = self.who
        if n == 1:
            return loop(SLICE, threads, n, apart)
        if self._choice is None:
            self._choice = Choice(n, 0.0)
        n, budget = self._choice.next()
        begun = time.perf_counter()
        result = loop(min(budget, SLICE), threads, min(n, self.n), apart)
        self._choice.took(n, result[-1], time.perf_counter() - begun)
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """From now on the calling thread works alone."""
        hands, self._hands, self.n, self.apart = self._hands, Hands(), 1, False
        if self._pool is not None:
            self._pool.put_back(hands)


class Alone:
    """The calling thread, without a crew; it may be used in several threads at once."""

    n, apart, who = 1, False, (None, 1, False)

    def room(self, name: str, n: int, dtype: np.dtype[Any], make: Make) -> NDArray[Any]:
        """A new array."""
        return make(n, dtype)

    def in_step(self, loop: Callable[[float, Any, int, bool], Result]) -> Result:
        """`Crew.in_step`"""
        return loop(SLICE, None, 1, False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to return."""


ALONE = Alone()


def crew(kept: Kept, n_threads: Count | None, operations: float, steps: float) -> Crew:
    """The crew for steps of this many floating-point operations each."""
    n = members(n_threads, operations)
    if operations * steps < SHARED_CALL:
        n = 1
    return Crew(n, operations >= LONG, kept.choice("step", n, operations) if n > 1 else None, kept)
