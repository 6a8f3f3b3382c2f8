"""Online training by plain C loops, carefully written, with -O3 -march=native -ffast-math."""

import ctypes
import itertools
from pathlib import Path

import numpy as np

from . import compiler
from .numpy_network import views

LABELS = ("C",)
KNOWN = {"sigmoid", "relu"}


def version(_n_threads):
    """Name the compiler."""
    return f"C: {compiler.version()}, -O3 {' '.join(compiler.march())} -ffast-math"


def epoch(workload):
    """Return the C function of an epoch: layer by layer, with their sizes as numbers."""
    sizes, g = workload.layer_sizes, workload.functions
    pairs = list(itertools.pairwise(sizes))
    L, at, lines = len(pairs), 0, []
    for l, (k, n) in enumerate(pairs):
        lines += [f"    real *W{l} = theta + {at};", f"    static real a{l + 1}[{n}], d{l + 1}[{n}];"]
        at += k * n
    for l, (_, n) in enumerate(pairs):
        lines.append(f"    real *b{l} = theta + {at};")
        at += n
    lines.append("    for (long i = 0; i < m; i++) {")
    lines.append(f"        const real *a0 = X + i * {sizes[0]}, *y = Y + i * {sizes[-1]};")
    for l, (k, n) in enumerate(pairs):
        lines += [f"        product({n}, {k}, W{l}, b{l}, a{l}, a{l + 1});", f"        {g[l]}({n}, a{l + 1});"]
    lines.append(f"        difference({sizes[-1]}, a{L}, y, d{L});")
    if workload.loss == "squared_error":
        lines.append(f"        times_{g[-1]}({sizes[-1]}, a{L}, d{L});")
    for l in range(L - 1, 0, -1):
        k, n = pairs[l]
        lines.append(f"        update_below({n}, {k}, W{l}, b{l}, a{l}, d{l + 1}, eta, d{l});")
        lines.append(f"        times_{g[l - 1]}({k}, a{l}, d{l});")
    lines += [f"        update({sizes[1]}, {sizes[0]}, W0, b0, a0, d1, eta);", "    }"]
    head = "void epoch(real *theta, const real *X, const real *Y, long m, real eta)"
    return "\n".join(["", head, "{", *lines, "}", ""])


class Online:
    """One epoch, one call."""

    def __init__(self, problem):
        self.problem, workload = problem, problem.workload
        kind = {"float32": ("float", "expf"), "float64": ("double", "exp")}[str(problem.dtype)]
        defines = "#define REAL {}\n#define EXP {}\n".format(*kind)
        source = defines + Path(__file__).with_name("online.c").read_text() + epoch(workload)
        self.function = compiler.library(source, "-ffast-math").epoch
        self.theta = np.empty(workload.n_parameters, problem.dtype)
        self.views = views(self.theta, workload.layer_sizes)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (self.theta, problem.X, problem.Y)]
        real = np.ctypeslib.as_ctypes_type(problem.dtype)
        self.arguments = (*pointers, ctypes.c_long(problem.m), real(workload.learning_rate))

    def reset(self):
        """Take the start weights."""
        L = len(self.views) // 2
        for W, b, T in zip(self.views[:L], self.views[L:], self.problem.Theta, strict=True):
            W[:], b[:] = T[:, 1:], T[:, 0]

    def run(self):
        """Train in the order given."""
        self.function(*self.arguments)

    def outcome(self):
        """Return Theta."""
        L = len(self.views) // 2
        return [np.column_stack([b, W]) for W, b in zip(self.views[:L], self.views[L:], strict=True)]


def prepare(problem, _label):
    """Return the prepared workload; None if it is not online."""
    known = set(problem.workload.functions) <= KNOWN
    return Online(problem) if problem.workload.online and known else None
