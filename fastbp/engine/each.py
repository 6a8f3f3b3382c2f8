"""First derivatives of each example: dcost/dtheta, its norm, and the Jacobians of h.

Work goes block by block: each thread needs two workspaces beyond the result, about 1 MB unless the network is large.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _each
from .._backprop import Examples
from .._types import Count, Doubles, Floats
from . import sums, threads
from .data import Data
from .plan import Plan

GRADIENTS, NORMS, BY_THETA, BY_X = range(4)     # numbered as in src/_each.pyx
LEAST, MOST = 1e-280, 1e280     # squares in between have all their digits
SOME = 2**18    # gradient values computed at a time if all together take too much memory


def _run(
    plan: Plan, theta: Floats, examples: Examples, m: int, what: int, out: NDArray[Any], n_threads: Count | None,
) -> None:
    """out := the derivatives of all examples; any free member of a crew takes the next range of them.

    Norms need no second workspace.
    """
    passes = plan.layer_sizes[-1] if what >= BY_THETA else 1
    operations = passes * sums.operations(plan, m)
    n, height = threads.members(n_threads, operations, threads.SHARED_SUM), sums.height(plan, max(m, 1), theta.dtype)
    cuts, none = sums.ranges(plan, 0, m, height), np.empty(0, theta.dtype)
    with threads.Crew(n, plan.large and operations >= threads.LONG, kept=plan.kept) as crew:
        n = min(crew.n, len(cuts) - 1)
        work = crew.room("work", n * height * plan.units, theta.dtype, sums.aligned)
        spare = work if what == NORMS else crew.room("spare", len(work), theta.dtype, sums.aligned)

        def go(places: sums.Places, _: Floats, team: sums.Team, n: int, apart: bool) -> bool:
            return _each.each(plan.code, theta, examples, cuts, places, work, spare, height, what, out, threads.SLICE,
                              team, n, apart)

        sums.in_ranges(cuts, height, none, crew, n, n, go)


def gradients(
    plan: Plan, theta: Floats, examples: Examples, m: int, out: Floats, n_threads: Count | None = None,
) -> None:
    """out (m, n_parameters) := dcost_i/dtheta"""
    _run(plan, theta, examples, m, GRADIENTS, out, n_threads)


def jacobian(
    plan: Plan, theta: Floats, examples: Examples, m: int, out: Floats, by_X: bool, n_threads: Count | None = None,
) -> None:
    """out (m, K, n_parameters) := dh/dtheta, or (m, K, s_1) := dh/dX"""
    rows = out.reshape(m * plan.layer_sizes[-1], out.shape[2])
    _run(plan, theta, examples, m, BY_X if by_X else BY_THETA, rows, n_threads)


def norms(plan: Plan, theta: Floats, data: Data, n_threads: Count | None = None) -> Doubles:
    """``|dcost_i/dtheta|`` (m,). Where squares leave the range of float64, the gradients themselves are computed, some
    at a time; squares of float32 never leave it."""
    squares = np.empty(data.m)
    _run(plan, theta, data.examples(), data.m, NORMS, squares, n_threads)
    with np.errstate(invalid="ignore"):
        found = np.sqrt(squares)
    if theta.dtype == np.float32:
        return found
    odd, some = np.flatnonzero(~((squares > LEAST) & (squares < MOST))), max(1, SOME // plan.n_parameters)
    for i in range(0, len(odd), some):
        rows = odd[i : i + some]
        D = np.empty((len(rows), plan.n_parameters), theta.dtype)
        gradients(plan, theta, data.examples(rows), len(rows), D, n_threads)
        found[rows] = _norms_of(D)
    return found


def _norms_of(D: Floats) -> Doubles:
    """The norms of rows of any size."""
    largest = np.abs(D).max(axis=1, keepdims=True)
    whole = np.isfinite(largest) & (largest > 0)
    with np.errstate(under="ignore", over="ignore", invalid="ignore"):
        sizes = np.sqrt(np.sum(np.square(np.where(whole, D, 0) / np.where(whole, largest, 1)), axis=1, keepdims=True))
        return np.where(whole, sizes * largest, largest)[:, 0]
