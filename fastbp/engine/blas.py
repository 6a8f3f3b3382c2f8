"""Hold BLAS to one thread while ours work: more threads change its bits, slow down small work, and spin afterwards.

Each library has one count per process: the first to enter saves the number of threads and sets 1, the last to leave
restores it. (Two overlapping threadpoolctl limits would leave the library at one thread for good.)
"""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import scipy.linalg.cython_blas  # noqa: F401  (loads the library that `libraries` looks for)

from .._types import Library

_lock = threading.RLock()
_held: dict[Library, tuple[int, int]] = {}      # how many hold it, its threads before
_found: list[Library] | None = None
_loaded: list[Library] | None = None


def libraries() -> list[Library]:
    """The threadpoolctl controllers of the BLAS that SciPy calls; found once, since a scan takes a millisecond."""
    global _found
    with _lock:     # two lists would be two counts for one library
        if _found is None:
            blas = _scan()
            _found = [library for library in blas if "scipy" in re.split(r"[/\\]", str(library.filepath))[-2]] or blas
        return _found


def all_libraries() -> list[Library]:
    """Those of every BLAS in the process, NumPy's too; found once."""
    global _loaded
    with _lock:
        if _loaded is None:
            ours = {library.filepath: library for library in libraries()}       # one controller per library
            _loaded = [ours.get(library.filepath, library) for library in _scan()]
        return _loaded


def _scan() -> list[Library]:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas").lib_controllers


def _set(library: Library, threads: int) -> None:
    """Set its number of threads. Since threadpoolctl 3.7 the first thread that does so controls OpenBLAS, and the calls
    of all others do nothing; here the lock makes them take turns."""
    release = getattr(library, "clear_controlling_thread", lambda force: None)
    release(force=True)
    library.set_num_threads(threads)
    release(force=True)


@contextmanager
def single_thread(everywhere: bool = False) -> Iterator[None]:
    """Hold SciPy's BLAS, or every BLAS, to one thread inside the block; blocks may overlap in several threads."""
    chosen = all_libraries() if everywhere else libraries()
    with _lock:
        for library in chosen:
            holders, threads = _held.get(library) or (0, library.get_num_threads())
            if not holders:
                _set(library, 1)
            _held[library] = holders + 1, threads
    try:
        yield
    finally:
        with _lock:
            for library in chosen:
                holders, threads = _held.pop(library)
                if holders > 1:
                    _held[library] = holders - 1, threads
                else:
                    _set(library, threads)


def _after_fork() -> None:
    """In a forked child: the threads that held BLAS stayed with the parent"""
    global _lock, _held
    _lock = threading.RLock()
    for library, (_, threads) in _held.items():
        _set(library, threads)
    _held = {}


if hasattr(os, "register_at_fork"):     # pragma: no branch  (systems that cannot fork have none)
    os.register_at_fork(after_in_child=_after_fork)
