"""The sums over examples: costs, Delta, predictions.

The members of a crew take the ranges. Each range is summed block by block.
"""

import time
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .. import _backprop, _calls, _kernels
from .._backprop import Examples
from .._types import Count, Doubles, Floats
from . import blas, threads
from .plan import Plan
from .threads import Alone, Crew

SMALL = 2**18  # parameters up to which one row is predicted without giving up the GIL
FEW = 1e7  # floating-point operations up to which a call keeps the GIL and gains nothing from a second thread
RANGES = 8  # most ranges of a sum; each has its own Delta
LOWEST = 64  # examples: the full height of a block is at least this many
BLOCKS = 4  # the fewest blocks of a range, if there are several
MANY = 2**40  # examples: more than any block has
RANGE_MEMORY = 2**22  # parameters in the Deltas of all ranges together
EVEN = 1.15  # places for ranges / ranges: above this, members work on each block together
RUN = 64  # blocks added one by one; then the sums of such runs are added, so that rounding errors stay small
NO_COSTS = np.empty(0)
# For the annotations of functions that are made at every call: Python evaluates these each time, which takes 20 us, and
# CPython 3.11 crashes in `|` when memory runs out.
Places: TypeAlias = NDArray[np.int64]
Team: TypeAlias = _backprop.Crew | None


class Workspace:
    """A block of examples, and the costs of its panels."""

    def __init__(self, plan: Plan, m: int, dtype: DTypeLike) -> None:
        dtype = np.dtype(dtype)
        self.height = height(plan, m, dtype)
        self.block: Floats = aligned(self.height * plan.units, dtype)
        self.costs = np.empty(self.height // panel(dtype))


def height(plan: Plan, m: int, dtype: DTypeLike) -> int:
    """Examples of a block, if there are m or more in all."""
    dtype = np.dtype(dtype)
    return plan.block(m, dtype.itemsize, panel(dtype))


@cache
def panel(dtype: np.dtype[Any]) -> int:
    """Examples of a panel; heights of blocks are multiples of it."""
    return _backprop.panel(np.empty(0, dtype))


def aligned(n: int, dtype: np.dtype[Any]) -> Floats:
    """n values that begin at a cache line"""
    line = 64 // dtype.itemsize
    buffer = np.empty(n + line, dtype)
    skip = -(_kernels.address(buffer) // dtype.itemsize) % line
    return buffer[skip : skip + n]


def operations(plan: Plan, m: int) -> float:
    """Approximate number of floating-point operations of forward, delta and Delta over m examples."""
    return 6.0 * m * plan.n_parameters


def _long(plan: Plan, m: int) -> bool:
    """Would Ctrl-C have to wait for a block of examples? If so, another thread computes it and can be stopped."""
    return plan.large and operations(plan, m) >= threads.LONG


def ranges(plan: Plan, first: int, last: int, height: int) -> NDArray[np.int64]:
    """Where the examples first .. last are cut into ranges of whole blocks; their number depends only on the sizes."""
    blocks = -(-(last - first) // height)
    n = max(1, min(RANGES, blocks // BLOCKS, RANGE_MEMORY // plan.n_parameters))
    return np.array([min(last, first + height * (blocks * i // n)) for i in range(n + 1)])


def accumulate(
    plan: Plan, theta: Floats, examples: Examples, m: int, Delta: Floats, n_threads: Count | None = None,
    each: Doubles = NO_COSTS,
) -> float:
    """Delta += the sum over the m examples; returns the sum of their costs. Delta of length 0: only costs.

    each : (panels,), receives the costs of each panel of examples.
    """
    n = threads.members(n_threads, operations(plan, m), threads.SHARED_SUM)
    with threads.Crew(n, _long(plan, m), kept=plan.kept) as crew:
        return accumulate_range(plan, theta, examples, 0, m, height(plan, m, theta.dtype), Delta, crew, each)


def accumulate_range(
    plan: Plan, theta: Floats, examples: Examples, first: int, last: int, height: int, Delta: Floats,
    crew: Crew | Alone = threads.ALONE, each: Doubles = NO_COSTS,
) -> float:
    """The same over the examples first .. last by a crew, in blocks of this height.

    Any free member takes the next range; the sums of the ranges are added in their order. If there are too few ranges
    for the members, all work on each block together, unless that has been slower.
    """
    cuts, run, (_, n, _) = ranges(plan, first, last, height), RUN * height, crew.who
    R = len(cuts) - 1
    choice = _choice(plan, R, n, operations(plan, last - first))
    meet, begun = choice is not None and choice.next()[0] > 1, time.perf_counter()
    n = n if meet else min(n, R)
    seats, panels = 1 if meet else n, height // _backprop.panel(theta)
    costs = np.zeros(R)
    work = crew.room("work", seats * height * plan.units, theta.dtype, aligned)
    of_panels = crew.room("costs", seats * panels, costs.dtype, np.empty)

    def go(places: Places, others: Floats, team: Team, n: int, apart: bool) -> bool:
        return _backprop.accumulate(
            plan.code, theta, examples, cuts, places, costs, run, work, height, of_panels, each, Delta, others,
            threads.SLICE, team, n, meet, apart,
        )

    in_ranges(cuts, run, Delta, crew, n, seats, go)
    if choice is not None:
        choice.took(crew.n if meet else 1, 1, time.perf_counter() - begun)
    return sum(costs.tolist())


def in_ranges(
    cuts: NDArray[np.int64], run: int, Delta: Floats, crew: Crew | Alone, n: int, seats: int,
    go: Callable[[Places, Floats, Team, int, bool], bool],
) -> None:
    """Work through ranges of examples by several members, each in a seat of its own; Delta may be empty.

    go(places, others, threads, members, apart) works for a moment in compiled code and returns True when all is done.
    others holds the Deltas of the other ranges and, if one is longer than `run` examples, of the run of each seat.
    """
    places, others = np.array([[-1, 0]] * seats), 0
    if len(Delta):
        others = (len(cuts) - 2 + seats * bool(max(np.diff(cuts)) > run)) * _backprop.spaced(len(Delta))
    Deltas = crew.room("Deltas", others, Delta.dtype, aligned)
    complete = False
    while not complete:
        team, most, apart = crew.who
        complete = go(places, Deltas, team, min(n, most), apart)


def _choice(plan: Plan, R: int, n: int, operations: float) -> threads.Choice | None:
    """Do all members sum each block together, or does each (1) sum its own ranges? None: there are enough ranges."""
    if n == 1 or operations < threads.SHARED_SUM or -(-R // n) * n <= EVEN * R:
        return None
    return plan.kept.choice("sum", n, operations)


def accumulate_per_example(plan: Plan, theta: Floats, examples: Examples, m: int, Delta: Floats) -> float:
    """The same sums by the textbook's loop, one example at a time."""
    work = Workspace(plan, 1, theta.dtype)
    cost, first = 0.0, 0
    with blas.single_thread():
        while first < m:
            cost, first = _backprop.accumulate_per_example(
                plan.code, theta, examples, first, m, work.block, work.height, Delta, cost, threads.SLICE
            )
    return cost


def predict(
    plan: Plan, theta: Floats, X: NDArray[np.generic], out: Floats, order: NDArray[np.int64] | None = None,
) -> None:
    """out (m, K) := h(x) for each row of X, or for those of the indices `order`."""
    examples, m = _backprop.Examples(X, order=order), len(out)
    work = Workspace(plan, m, theta.dtype)

    first = 0
    with threads.Crew(1, apart=True, kept=plan.kept) if _long(plan, m) else threads.ALONE as crew:
        while first < m:
            team, _, apart = crew.who
            first = _backprop.predict(
                plan.code, theta, examples, first, m, work.block, work.height, out, threads.SLICE, team, apart
            )


def row_predictor(plan: Plan, theta: Floats) -> Callable[[object, object], Floats | None]:
    """predict(x, out): the compiled h(x) of one example; None if `checks` has to look at x and out first."""
    if plan.n_parameters > SMALL:
        return lambda x, out: None
    return _backprop.Predictor(plan.code, theta, height(plan, 1, theta.dtype), np.ndarray, np.empty).predict


def are_few(plan: Plan, m: int) -> bool:
    """May the evaluator take m examples?"""
    return plan.n_parameters <= SMALL and operations(plan, m) <= FEW


def evaluator(plan: Plan, dtype: DTypeLike) -> _calls.Evaluator:
    """J, D and h of a few examples in compiled code, with the same bits as the sums above. It returns None if `checks`
    must look at the arguments first, or if the examples exceed a single range of `accumulate_range`."""
    dtype = np.dtype(dtype)
    full = height(plan, MANY, dtype)
    most = min(int(FEW / operations(plan, 1)), (2 * BLOCKS - 1) * full) if are_few(plan, 1) else 0
    # an own loss takes other targets: none are in this range
    lowest, highest = (plan.lowest, plan.highest) if plan.own is None else (np.inf, -np.inf)
    return _calls.Evaluator(
        plan.code, dtype, most, full, lowest, highest,
        (plan.output, plan.loss) == ("softmax", "cross_entropy"), plan.output == "softmax", np.ndarray, np.empty,
    )


def trace(plan: Plan, theta: Floats, X: NDArray[np.generic]) -> list[Floats]:
    """[a(2), ..., a(L)], each (m, s_l), for the rows of X."""
    hidden = len(plan.layer_sizes) - 2
    layers = [np.empty((len(X), s), theta.dtype) for s in plan.layer_sizes[1:]]
    if len(X) == 0:
        return layers
    examples = _backprop.Examples(X)
    work = Workspace(plan, len(X), theta.dtype)
    for first in range(0, len(X), work.height):
        last = min(first + work.height, len(X))
        _backprop.predict(
            plan.code, theta, examples, first, last, work.block, work.height, layers[-1], 1.0
        )
        for l in range(hidden):
            _backprop.layer(plan.code[3, l + 1], work.block, work.height, layers[l][first:last])
    return layers


def trace_back(
    plan: Plan, theta: Floats, examples: Examples, m: int, run: Callable[[int, int, Workspace], object] | None = None,
) -> list[Floats]:
    """[delta(2), ..., delta(L)], each (m, s_l).

    run(first, last, work) leaves them in the workspace; None uses the loss of the plan.
    """
    layers = [np.empty((m, s), theta.dtype) for s in plan.layer_sizes[1:]]
    Delta, work, room = np.zeros_like(theta), Workspace(plan, m, theta.dtype), np.empty(0, theta.dtype)
    for first in range(0, m, work.height):
        last = min(first + work.height, m)
        if run is None:
            _backprop.accumulate(
                plan.code, theta, examples, np.array([first, last]), np.array([[-1, 0]]), np.zeros(1), m,
                work.block, work.height, work.costs, NO_COSTS, Delta, room, 1.0,
            )
        else:
            run(first, last, work)
        for l, layer in enumerate(layers, 1):
            _backprop.layer(plan.code[5, l], work.block, work.height, layer[first:last])
    return layers
