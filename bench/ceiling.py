"""The machine's ceiling in this run: multiply-adds per second, and bytes per second of the caches and of memory.

It is a worker like the peers, on one core, but takes no turns. ceiling.c is compiled with -O3 -march=native.
"""

import ctypes
import time
from pathlib import Path

import numpy as np

from . import compiler

LABELS = ("ceiling",)
SIZES = {"L1": 32 * 2**10, "L2": 2**20, "L3": 16 * 2**20}  # bytes, if the system does not report them
MEMORY = 64 * 2**20  # bytes at least, too large for any cache
LEVELS = (*SIZES, "memory")
ROUNDS = 100_000  # of 12 vectors: about 0.2 ms
SHORTEST = 2e-3  # s
SHORTEST_COPY = 32 * 2**20  # bytes that a turn of a sweep moves


def version(_n_threads):
    """Name the compiler, and the size of the vectors it makes."""
    return f"{compiler.version()} ({functions().width() * 8} bit vectors)"


def functions():
    """Return the compiled C."""
    found = compiler.library(Path(__file__).with_suffix(".c").read_text())
    found.float32.restype = found.float64.restype = ctypes.c_double
    return found


def cache_sizes(folder=Path("/sys/devices/system/cpu/cpu0/cache")):
    """Return the bytes of a core's L1 (data), L2 and L3, as Linux reports them."""
    sizes = dict(SIZES)
    for index in folder.glob("index*"):
        level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction" and f"L{level}" in sizes and size.endswith("K"):
            sizes[f"L{level}"] = 1024 * int(size[:-1])
    return sizes


def best(run, work, times=5):
    """Return the largest work / seconds of a few turns."""
    rates = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        rates.append(work / (time.perf_counter() - start))
    return max(rates)


def flops(dtype, times=5):
    """Return the operations per second of one core; a multiply-add counts as two."""
    run = getattr(functions(), dtype)
    work = run(ctypes.c_long(ROUNDS))
    once = work / best(lambda: run(ctypes.c_long(ROUNDS)), work, 3)
    rounds = ctypes.c_long(ROUNDS * max(1, round(SHORTEST / once)))
    return best(lambda: run(rounds), run(rounds), times)


def bandwidths():
    """Return by level the bytes per second of one core: read and written in place ("update"), or only read ("read")."""
    made, sizes = functions(), cache_sizes()
    found = {}
    for level in LEVELS:
        size = max(MEMORY, 2 * sizes["L3"]) if level == "memory" else sizes[level] // 2
        buffer = np.zeros(size // 8 + 64)
        start = -buffer.ctypes.data % 256 // 8  # a whole cache line, and four of the widest vectors
        array = buffer[start : start + size // 256 * 32]
        vectors, turns = array.nbytes // made.width(), max(1, SHORTEST_COPY // array.nbytes)
        call = ctypes.c_void_p(array.ctypes.data), ctypes.c_long(vectors), ctypes.c_long(turns)
        found[level] = {
            "update": best(lambda call=call: made.update(*call), 2 * turns * array.nbytes),
            "read": best(lambda call=call: made.read_only(*call), turns * array.nbytes),
        }
    return found


def measure():
    """Return all of it."""
    return {"flops": {dtype: flops(dtype, 9) for dtype in ("float32", "float64")}, "sizes": cache_sizes(),
            "bandwidths": bandwidths()}  # fmt: skip
