"""Threads that take networks to train from one queue. Each makes compiled calls without the GIL."""

import time
from _thread import start_new_thread
from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

from .._stretch import Stretch
from ..training.stretch import Room
from .job import Stopped

WAIT = 0.05     # seconds between two reports of the calling thread while others work


class Workers:
    """The calling thread and n - 1 others, which train networks until all are done.

    Parameters
    ----------
    jobs : list of Job
        The longest come first, so that all workers end at about the same time.
    n : int
    keeps : bool
        Do the other networks continue after an error? Otherwise all stop.
    begun, ended : callable
        Called with each job before and after its training, in the thread that trains it.
    tick : callable
        Called by the calling thread now and then.
    """

    def __init__(
        self, jobs: Sequence[Any], n: int, keeps: bool, begun: Callable[[Any], None], ended: Callable[[Any], None],
        tick: Callable[[], None],
    ) -> None:
        self._queue = deque(sorted(jobs, key=lambda job: -job.operations))
        self._n, self._keeps, self._begun, self._ended, self._tick = min(n, len(jobs)), keeps, begun, ended, tick
        self.stopping = False
        self._under_way: list[Stretch | None] = [None] * max(1, self._n)
        self._failure: BaseException | None = None      # of a worker, outside training

    def run(self) -> None:
        """Train all networks. Ctrl-C and errors of this thread stop the others before they are raised."""
        others: list[Lock] = []
        try:
            for member in range(1, self._n):
                others.append(self._start(member))
            self._work(0)
            for ended in others:
                while not ended.acquire(timeout=WAIT):
                    self._tick()
                ended.release()
        finally:
            self.stop()
            for ended in others:
                _wait(ended)
        if self._failure is not None:
            raise self._failure

    def _start(self, member: int) -> Lock:
        """Start a thread; the lock is released when it ends."""
        running = Lock()
        running.acquire()

        def work() -> None:
            try:
                self._work(member)
            except BaseException as error:
                self._failure = error
                self.stop()
            finally:
                running.release()

        try:
            start_new_thread(work, ())
        except RuntimeError:    # the system grants no more threads
            running.release()
        return running

    def stop(self) -> None:
        """Ask all workers to end; networks then keep the result of their last finished step."""
        self.stopping = True
        for stretch in list(self._under_way):
            if stretch is not None:
                stretch.want_stop()

    def _work(self, member: int) -> None:
        room = Room()

        def look(stretch: Stretch | None) -> None:
            self._under_way[member] = stretch
            if self.stopping:
                raise Stopped
            if member == 0:
                self._tick()

        while not self.stopping:
            try:
                job = self._queue.popleft()
            except IndexError:
                return
            self._begun(job)
            try:
                with job.turn:
                    job.train(room, look)
            except Stopped:
                return
            except Exception as error:
                job.error = error
                if not self._keeps:
                    self.stop()
            finally:
                self._under_way[member] = None
            self._ended(job)


def _wait(ended: Lock) -> None:
    """Wait until another thread has ended, even if this one is interrupted meanwhile."""
    while True:
        try:
            ended.acquire()
            return
        except BaseException:
            continue


class Clock:
    """Called, it returns True if `seconds` have passed since it last did."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self._last = seconds, time.monotonic()

    def __call__(self) -> bool:
        now = time.monotonic()
        if now - self._last < self.seconds:
            return False
        self._last = now
        return True
