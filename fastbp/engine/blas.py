"""Hold SciPy's BLAS to one thread while ours work: more threads change its bits and slow small work down.

The process has one count: the first to enter saves the number of threads and sets 1, the last to leave restores it.
(Two overlapping threadpoolctl limits would leave the library at one thread for good.)
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import scipy.linalg.cython_blas  # noqa: F401  (loads the library that `libraries` looks for)

from .._types import Library

_lock = threading.Lock()
_holders = 0
_saved: list[tuple[Library, int]] = []
_found: list[Library] | None = None


def libraries() -> list[Library]:
    """The threadpoolctl controllers of the BLAS that SciPy calls; found once, since a scan takes a millisecond."""
    global _found
    if _found is None:
        from threadpoolctl import ThreadpoolController

        blas = ThreadpoolController().select(user_api="blas").lib_controllers
        _found = [library for library in blas if "scipy" in str(library.filepath).rsplit("/", 2)[-2]] or blas
    return _found


@contextmanager
def single_thread() -> Iterator[None]:
    """Hold SciPy's BLAS to one thread inside the block; blocks may overlap in several Python threads."""
    global _holders, _saved
    with _lock:
        if _holders == 0:
            _saved = [(library, library.get_num_threads()) for library in libraries()]
            for library, _ in _saved:
                library.set_num_threads(1)
        _holders += 1
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if _holders == 0:
                for library, threads in _saved:
                    library.set_num_threads(threads)


def _after_fork() -> None:
    """In a forked child: the threads that held BLAS stayed with the parent"""
    global _lock, _holders, _saved
    _lock = threading.Lock()
    if _holders:
        for library, threads in _saved:
            library.set_num_threads(threads)
    _holders, _saved = 0, []


if hasattr(os, "register_at_fork"):     # pragma: no branch  (systems that cannot fork have none)
    os.register_at_fork(after_in_child=_after_fork)
