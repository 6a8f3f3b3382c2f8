"""Passes whose delta(L) comes from outside: z(L) of examples, D and dJ/dX for G = dJ/dz(L) given by the caller."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import _derivatives
from .._backprop import Examples
from .._types import Count, Floats
from . import sums, threads
from .plan import Plan

FEW = 1e8   # operations up to which a call does not give up the GIL
KEPT = 2**26    # most bytes of the workspaces that are kept between a forward and a backward pass


def few(plan: Plan, dtype: DTypeLike, keeps: bool = False) -> _derivatives.Pass:
    """The passes over a few examples in compiled code, with the same bits as those below. They return None if `checks`
    must look at the arguments first, or if the examples exceed one block."""
    dtype = np.dtype(dtype)
    full = sums.height(plan, sums.MANY, dtype)
    most = min(full, max(sums.LOWEST, int(FEW / sums.operations(plan, 1)))) if plan.n_parameters <= sums.SMALL else 0
    return _derivatives.Pass(plan.code, dtype, most, keeps, np.ndarray, np.empty)


def room(plan: Plan, m: int, dtype: DTypeLike) -> Floats | None:
    """Workspaces that keep the forward pass of m examples; None if they would take more than KEPT bytes."""
    height, dtype = sums.height(plan, max(m, 1), dtype), np.dtype(dtype)
    size = -(-m // height) * height * plan.units
    return sums.aligned(size, dtype) if size * dtype.itemsize <= KEPT else None


def _works(plan: Plan, height: int, dtype: DTypeLike, crew: threads.Crew, n: int, kept: Floats | None) -> Floats:
    """A workspace for each of n members, or the kept ones."""
    return crew.room("work", n * height * plan.units, np.dtype(dtype), sums.aligned) if kept is None else kept


def forward(
    plan: Plan, theta: Floats, examples: Examples, m: int, *, first: int = 0, kept: Floats | None = None,
    n_threads: Count | None = None,
) -> Floats:
    """z(L) (m, K) of the examples from `first` on.

    kept : `room` for them, which keeps the pass for `backward`
    """
    z, none = np.empty((m, plan.layer_sizes[-1]), theta.dtype), np.empty(0, theta.dtype)
    operations, height = sums.operations(plan, m) / 3, sums.height(plan, max(m, 1), theta.dtype)
    cuts = sums.ranges(plan, first, first + m, height)
    n = threads.members(n_threads, operations, threads.SHARED_SUM)
    with threads.Crew(n, plan.large and operations >= threads.LONG, kept=plan.kept) as crew:
        n = min(crew.n, len(cuts) - 1)
        work = _works(plan, height, theta.dtype, crew, n, kept)

        def go(places: sums.Places, _: Floats, team: sums.Team, n: int, apart: bool) -> bool:
            return _derivatives.forward(plan.code, theta, examples, cuts, places, work, height, kept is not None, z,
                                        threads.SLICE, team, n, apart)

        sums.in_ranges(cuts, height, none, crew, n, n, go)
    return z


def back_through(plan: Plan, theta: Floats, examples: Examples, G: Floats) -> Any:
    """run(first, last, work) of `sums.trace_back` for delta(L) = G (m, K)."""
    none, no_rows = np.empty(0, theta.dtype), np.empty((0, plan.layer_sizes[0]), theta.dtype)

    def run(first: int, last: int, work: sums.Workspace) -> None:
        _derivatives.backward(plan.code, theta, examples, np.array([first, last]), np.array([[-1, 0]]), work.height,
                              work.block, work.height, False, G[first:last], False, none, none, no_rows, 1.0)

    return run


def backward(
    plan: Plan, theta: Floats, examples: Examples, m: int, G: Floats, *, of_h: bool = False, Delta: Floats,
    dX: Floats | None = None, first: int = 0, kept: Floats | None = None, n_threads: Count | None = None,
) -> None:
    """Delta += the sum over the examples of delta(l+1) [1, a(l)]' for delta(L) = G (m, K); dX (m, s_1) := dJ/dX.

    of_h : G is dJ/dh
    Delta : (n_parameters,), or empty
    kept : as given to `forward`; None runs the forward pass here. One backward pass uses it up.
    """
    rows = np.empty((0, plan.layer_sizes[0]), theta.dtype) if dX is None else dX
    height = sums.height(plan, max(m, 1), theta.dtype)
    cuts, run = sums.ranges(plan, first, first + m, height), sums.RUN * height
    n = threads.members(n_threads, sums.operations(plan, m), threads.SHARED_SUM)
    with threads.Crew(n, plan.large and sums.operations(plan, m) >= threads.LONG, kept=plan.kept) as crew:
        n = min(crew.n, len(cuts) - 1)
        work = _works(plan, height, theta.dtype, crew, n, kept)

        def go(places: sums.Places, others: Floats, team: sums.Team, n: int, apart: bool) -> bool:
            return _derivatives.backward(plan.code, theta, examples, cuts, places, run, work, height, kept is not None,
                                         G, of_h, Delta, others, rows, threads.SLICE, team, n, apart)

        sums.in_ranges(cuts, run, Delta, crew, n, n, go)
