"""Normal equations over examples: F = sum w cost, g = dF/dtheta and B'B = J_z' H+ J_z, for the free parameters.

H+ is the positive semidefinite part of the second derivative of the cost with respect to z(L). For half the squared
error B is the Jacobian of h, and g = B'r with r = h - y. Everything is float64, also for float32 networks.
docs/math.md has the formulas.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _normal
from .._backprop import Crew
from .._types import Count, Doubles, Floats
from . import memory, sums, threads
from .data import Data
from .frozen import Mask
from .plan import Plan

COSTS, NORMAL, ROWS = range(3)  # numbered as in src/_normal.pyx
FORMS = {   # (output, loss): the rows of S there; any other output with squared_error: 0
    ("sigmoid", "cross_entropy"): 1, ("exp", "poisson"): 1, ("softmax", "cross_entropy"): 2, ("identity", "huber"): 3,
}
FLAT = ("absolute_error", "quantile")   # losses without curvature
CHECKED = 4096  # free parameters from which the memory of the machine is checked
NONE = np.empty(0)
RANGES = 8      # most ranges of a sum; each has its own B'B
LEAST = 2048    # rows of B that make up a range: then zeroing and adding its B'B costs little
MEMORY = 2**26  # numbers in the B'B of all ranges together
LONG = 1e9      # operations that would delay Ctrl-C too much in the calling thread


def form(plan: Plan) -> int:
    """The form of the rows of S for this loss; a ValueError for a loss without curvature."""
    if plan.loss == "own":
        raise ValueError("loss is your own, and its curvature is unknown; Gauss-Newton methods take "
                         "squared_error, cross_entropy, poisson and huber")
    if plan.loss in FLAT:
        raise ValueError(f"loss {plan.loss!r} has no curvature (its second derivative is 0); Gauss-Newton methods take "
                         "squared_error, cross_entropy, poisson and huber")
    return FORMS.get((plan.output, plan.loss), 0)


def check_memory(n: int, matrices: int, what: str, instead: str) -> None:
    """Raise a ValueError if this many matrices of n^2 numbers exceed the memory of the machine."""
    if n < CHECKED:
        return
    needed, there = 8.0 * matrices * n * n, memory.machine()
    if needed > there:
        raise ValueError(f"{what} holds {matrices} matrices of n_parameters^2 numbers, {needed / 2**30:.1f} GB for {n} "
                         f"free parameters; this machine has {there / 2**30:.1f} GB. Fix some of them (free=), or take "
                         f"{instead}")


def places(free: Mask | None) -> NDArray[np.int64]:
    """The indices of the free parameters in theta; empty if all are free."""
    return np.empty(0, np.int64) if free is None else np.flatnonzero(free).astype(np.int64)


class NormalEquations:
    """The sums over the examples of one Data.

    Parameters
    ----------
    data : Data
    free : mask or None
    n_threads : int, optional
        At most this many; the result is bit-identical for any number.

    Attributes
    ----------
    n : int
        Free parameters.
    """

    def __init__(self, data: Data, free: Mask | None = None, n_threads: Count | None = None) -> None:
        plan, m = data.plan, data.m
        self.form, self.plan, self.data, self.places = form(plan), plan, data, places(free)
        self.n, self.K = len(self.places) or plan.n_parameters, plan.layer_sizes[-1]
        self.height = sums.height(plan, max(m, 1), np.float64)
        self._operations = float(m) * self.K * self.n * self.n
        n = max(1, min(RANGES, m * self.K // LEAST, MEMORY // self.n**2))
        blocks = -(-m // self.height)
        self._cuts = np.array([min(m, self.height * (blocks * i // n)) for i in range(n + 1)])
        self._members = min(n, threads.members(n_threads, self._operations, threads.SHARED_SUM))
        units, double = self._members * self.height * plan.units, np.dtype(np.float64)
        self._work, self._spare = sums.aligned(units, double), sums.aligned(units, double)
        self._room: tuple[Doubles, Doubles] | None = None   # rows; B'B of the ranges but the first

    def costs(self, theta: Doubles) -> float:
        """The sum of w cost"""
        total = np.zeros(1 + self.n)
        self._run(theta, COSTS, NONE, total)
        return float(total[0])

    def add(self, theta: Doubles, A: Doubles, total: Doubles) -> None:
        """total (1 + n,) += (sum of w cost, g); A (n n,) += B'B, at and right of the diagonal"""
        self._run(theta, NORMAL, A, total)

    def _run(self, theta: Doubles, what: int, A: Doubles, total: Doubles) -> None:
        plan, examples, cuts = self.plan, self.data.examples(), self._cuts
        each, (rows, others) = np.zeros((len(cuts) - 1, 1 + self.n)), self._rooms() if what == NORMAL else (NONE, NONE)
        long = (what == NORMAL and self._operations >= LONG) or sums.operations(plan, self.data.m) >= LONG
        with threads.Crew(self._members, long, kept=plan.kept) as crew:
            n = min(crew.n, self._members)

            def go(places: NDArray[np.int64], _: Floats, team: Crew | None, n: int, apart: bool) -> bool:
                return _normal.add(plan.code, theta, examples, cuts, places, self._work, self._spare, self.height,
                                   self.places, rows, A, others, each.reshape(-1), self.form, what, threads.SLICE, team,
                                   n, apart)

            sums.in_ranges(cuts, self.height, NONE, crew, n, n, go)
        for row in each:
            total += row

    def _rooms(self) -> tuple[Doubles, Doubles]:
        if self._room is None:
            self._room = (np.empty(self._members * self.height * (self.plan.n_parameters + 1)),
                          np.empty((len(self._cuts) - 2) * self.n**2))
        return self._room

    def triangle(self, theta: Doubles) -> tuple[Doubles, Doubles]:
        """((1 + n,) as `add`; R (any, n + 1) of the QR decomposition of [B, r]); r is 0 unless half squared error."""
        total, R = np.zeros(1 + self.n), np.empty((0, self.n + 1))
        for rows in self.blocks(theta, total):
            R = triangle(np.vstack([R, rows]))
        return total, R

    def blocks(self, theta: Doubles, total: Doubles) -> Any:
        """[B, r] of each block of examples, total (1 + n,) += as `add`; the next block overwrites the rows."""
        width = self.plan.n_parameters + 1
        buffer = np.empty(self.height * width * self.K)
        for first in range(0, self.data.m, self.height):
            last = min(first + self.height, self.data.m)
            _normal.add(self.plan.code, theta, self.data.examples(), np.array([first, last]), np.array([[-1, 0]]),
                        self._work, self._spare, self.height, self.places, buffer, NONE, NONE, total, self.form, ROWS,
                        1.0)
            yield buffer[: (last - first) * self.K * width].reshape(-1, width)[:, : self.n + 1]


def triangle(rows: Doubles) -> Doubles:
    """R of the QR decomposition"""
    R: Any = np.linalg.qr(rows, mode="r")
    return R
