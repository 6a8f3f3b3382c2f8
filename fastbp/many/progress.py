"""The progress of `train_many`: a tqdm bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ..training.progress import on_terminal

EVERY = 1.0     # seconds between two lines


class Report:
    """Counts the finished networks, and shows nothing."""

    def __init__(self, done: int) -> None:
        self._before, self._ended = done, list[int]()

    @property
    def done(self) -> int:
        return self._before + len(self._ended)

    def ended(self, job: Any) -> None:
        self._ended.append(job.i)       # atomic, in any thread

    def tick(self) -> None: ...


class Lines(Report):
    """Lines of text, at most one per second, by the calling thread."""

    def __init__(self, total: int, done: int) -> None:
        super().__init__(done)
        self.total, self._shown, self._since = total, -1, time.monotonic()

    def tick(self) -> None:
        if self.done != self._shown and time.monotonic() - self._since >= EVERY:
            self.show()

    def show(self) -> None:
        self._since, self._shown = time.monotonic(), self.done
        with suppress(Exception):   # a closed or broken stream
            print(f"{self.done} of {self.total} networks", file=sys.stderr, flush=True)


class Bar(Report):
    """A tqdm bar."""

    def __init__(self, shown: Any, done: int) -> None:
        super().__init__(done)
        self._bar, self._shown = shown, done

    def tick(self) -> None:
        done = self.done
        if done > self._shown:
            with suppress(Exception):
                self._bar.update(done - self._shown)
            self._shown = done


@contextmanager
def shown(total: int, done: int, progress: bool) -> Iterator[Report]:
    """A report on `total` networks, of which `done` are finished."""
    if not progress:
        yield Report(done)
        return
    bar = None
    with suppress(Exception):
        bar = on_terminal(total, "network", sys.stderr, done)
    if bar is None:
        lines = Lines(total, done)
        yield lines
        lines.show()
        return
    report = Bar(bar, done)
    try:
        yield report
        report.tick()
    finally:
        with suppress(Exception):
            bar.close()
