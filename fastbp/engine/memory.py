"""Memory that is never moved: compiled code and the views of theta point into it for as long as a network lives."""

import math
import os
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .. import _kernels
from .._types import Array
from .quota import folders

LINE = 64  # bytes of a cache line


def fixed(n: int, dtype: DTypeLike) -> NDArray[Any]:
    """n zeros that begin at a cache line. NumPy refuses to resize them, since their memory is a bytearray's."""
    size = np.dtype(dtype).itemsize
    raw = bytearray(n * size + LINE)
    skip = -_kernels.address(raw) % LINE
    return np.frombuffer(raw, dtype, n, skip)


def fixed_copy(a: Array) -> Array:
    """A copy of a flat array in fixed memory; the array itself, or what it is a view of, if that lies there."""
    whole: Any = a.base if isinstance(a.base, np.ndarray) and a.base.nbytes == a.nbytes else a
    base = whole.base.obj if isinstance(whole.base, memoryview) else whole.base
    if isinstance(base, bytearray):
        return whole
    copy: Any = fixed(a.size, a.dtype)
    copy[:] = a
    return copy


def machine() -> float:
    """Bytes of memory of the machine, or of the smallest control group around this process; infinite if unknown."""
    sizes = [math.inf]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:   # pragma: no branch  (Windows has none)
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in (folder / name for folder in folders("memory") for name in ("memory.max", "memory.limit_in_bytes")):
        try:
            sizes.append(int(path.read_text()))
        except (OSError, ValueError):   # no such file, or "max"
            continue
    return min(sizes)
