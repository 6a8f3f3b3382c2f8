"""A bar that counts the epochs of all networks."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ..training.progress import on_terminal


@contextmanager
def bar(shown: bool, epochs: int) -> Iterator[Callable[[int], None]]:
    """A report(n) of n more epochs, for any thread: a bar of tqdm, or a line for each tenth.

    A failing stream ends the reports, never the training.
    """
    if not shown:
        yield lambda n: None
        return
    lock, done, tqdm = threading.Lock(), 0, None
    with suppress(Exception):
        tqdm = on_terminal(epochs, "epoch", sys.stderr)

    def report(n: int) -> None:
        nonlocal done
        with lock, suppress(Exception):
            before, done = done, done + n
            if tqdm is not None:
                tqdm.update(n)
            elif 10 * before // epochs != 10 * done // epochs:
                print(f"{done} of {epochs} epochs", file=sys.stderr, flush=True)

    yield report
    if tqdm is not None:
        with suppress(Exception):
            tqdm.close()
