"""The sums over examples: costs, Delta, predictions.

The members of a crew take the ranges; a range is summed block by block.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .. import _backprop, _calls, _kernels
from .._backprop import Examples
from .._types import Count, Doubles, Floats
from . import blas, threads
from .plan import Plan
from .threads import Crew

SMALL = 2**18  # parameters up to which one row is predicted without giving up the GIL
FEW = 1e7  # floating-point operations up to which a call neither gives up the GIL nor gains by a second thread
RANGES = 8  # the most ranges of a sum; each has a Delta of its own
LOWEST = 64  # examples: the full height of a block is at least so many
BLOCKS = 4  # the fewest blocks of a range, if there are several
MANY = 2**40  # examples: more than any block has
RANGE_MEMORY = 2**22  # parameters in the Deltas of all ranges together
RUN = 64  # blocks that are added one by one; then the sums of such runs are added, so that rounding errors stay small
NO_COSTS = np.empty(0)


class Workspace:
    """The buffers of one member of a crew: a block of examples, the costs of its panels."""

    def __init__(self, plan: Plan, m: int, dtype: DTypeLike) -> None:
        dtype = np.dtype(dtype)
        self.height = height(plan, m, dtype)
        self.block: Floats = aligned(self.height * plan.units, dtype)
        self.costs = np.empty(self.height // _backprop.panel(np.empty(0, dtype)))


def height(plan: Plan, m: int, dtype: DTypeLike) -> int:
    """Examples of a block, if there are m or more in all."""
    return plan.block(m, np.dtype(dtype).itemsize, _backprop.panel(np.empty(0, dtype)))


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
    """Would Ctrl-C have to wait for a block of examples? Then another thread computes it and can be stopped."""
    return plan.large and operations(plan, m) >= threads.LONG


def ranges(plan: Plan, first: int, last: int, height: int) -> list[tuple[int, int]]:
    """The examples first .. last in ranges of whole blocks; their number depends on the sizes alone."""
    blocks = -(-(last - first) // height)
    n = max(1, min(RANGES, blocks // BLOCKS, RANGE_MEMORY // plan.n_parameters))
    cuts = [min(last, first + height * (blocks * i // n)) for i in range(n + 1)]
    return list(pairwise(cuts))


def accumulate(
    plan: Plan, theta: Floats, examples: Examples, m: int, Delta: Floats, n_threads: Count | None = None,
    each: Doubles = NO_COSTS,
) -> float:
    """Delta += the sum over the m examples; returns the sum of their costs. Delta of length 0: costs alone.

    each : (panels,), receives the costs of each panel of examples.
    """
    n = threads.members(n_threads, operations(plan, m), threads.SHARED_SUM)
    with threads.Crew(n, apart=_long(plan, m)) as crew:
        work = [Workspace(plan, m, theta.dtype) for _ in range(n)]
        return accumulate_range(plan, theta, examples, 0, m, work, Delta, crew, each)


def accumulate_range(
    plan: Plan, theta: Floats, examples: Examples, first: int, last: int, work: Sequence[Workspace], Delta: Floats,
    crew: Crew = threads.ALONE, each: Doubles = NO_COSTS,
) -> float:
    """The same over the examples first .. last, by a crew with a workspace for each member.

    Any free member takes the next range; the sums of the ranges are added in their order.
    """
    costs = [0.0] * RANGES

    def sum_up(i: int, member: int, begin: int, end: int, into: Floats) -> int:
        own = work[member]
        costs[i], done = _backprop.accumulate(
            plan.code, theta, examples, begin, end, own.block, own.height, own.costs, each, into, costs[i],
            threads.SLICE, crew.team,
        )
        return done

    in_ranges(plan, first, last, work[0].height, Delta, crew, sum_up)
    return sum(costs)


def in_ranges(
    plan: Plan, first: int, last: int, height: int, Delta: Floats, crew: Crew,
    sum_up: Callable[[int, int, int, int, Floats], int],
) -> None:
    """Delta += the sum over the examples first .. last, in the order that the sizes alone decide.

    sum_up(i, member, begin, end, into) works for range i: into += the sum over the examples begin .. end, or over the
    first ones of them; returns the first one not done. Delta may be empty.
    """
    cuts, run = ranges(plan, first, last, height), RUN * height
    Deltas = [Delta] + [np.zeros_like(Delta) for _ in cuts[1:]]

    def sum_range(i: int, member: int) -> None:
        (begin, end), into = cuts[i], Deltas[i]
        at, partial = begin, np.zeros_like(Delta) if end - begin > run else into
        while at < end and not crew.team.stopping:
            stop = min(at - (at - begin) % run + run, end)      # the end of the current run
            at = sum_up(i, member, at, stop, partial)
            if at == stop and partial is not into:
                into += partial
                partial[:] = 0

    crew.deal(sum_range, range(len(cuts)))
    for other in Deltas[1:]:
        Delta += other


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

    def predict_all(first: int, _: int) -> None:
        while first < m and not crew.team.stopping:
            first = _backprop.predict(
                plan.code, theta, examples, first, m, work.block, work.height, out, threads.SLICE, crew.team
            )

    with threads.Crew(1, apart=True) if _long(plan, m) else threads.ALONE as crew:
        crew.deal(predict_all, [0])


def row_predictor(plan: Plan, theta: Floats) -> Callable[[object, object], Floats | None]:
    """predict(x, out): the compiled h(x) of one example; None if `checks` has to look at x and out first."""
    if plan.n_parameters > SMALL:
        return lambda x, out: None
    return _backprop.Predictor(plan.code, theta, height(plan, 1, theta.dtype), np.ndarray, np.empty).predict


def are_few(plan: Plan, m: int) -> bool:
    """May the evaluator take m examples?"""
    return plan.n_parameters <= SMALL and operations(plan, m) <= FEW


def evaluator(plan: Plan, dtype: DTypeLike) -> _calls.Evaluator:
    """J, D and h of a few examples in compiled code, with the bits of the sums above. It returns None if `checks` has
    to look at the arguments first, as for more examples than a single range of `accumulate_range` has."""
    dtype = np.dtype(dtype)
    full = height(plan, MANY, dtype)
    most = min(int(FEW / operations(plan, 1)), (2 * BLOCKS - 1) * full) if are_few(plan, 1) else 0
    # an own loss has targets of its own: none are in this range
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
            plan.code, theta, examples, first, last, work.block, work.height, layers[-1], 1.0, threads.ALONE.team
        )
        for l in range(hidden):
            _backprop.layer(plan.code[3, l + 1], work.block, work.height, layers[l][first:last])
    return layers


def trace_back(
    plan: Plan, theta: Floats, examples: Examples, m: int, run: Callable[[int, int, Workspace], object] | None = None,
) -> list[Floats]:
    """[delta(2), ..., delta(L)], each (m, s_l).

    run(first, last, work) leaves them in the workspace; None: by the loss of the plan.
    """
    layers = [np.empty((m, s), theta.dtype) for s in plan.layer_sizes[1:]]
    Delta, work = np.zeros_like(theta), Workspace(plan, m, theta.dtype)
    for first in range(0, m, work.height):
        last = min(first + work.height, m)
        if run is None:
            accumulate_range(plan, theta, examples, first, last, [work], Delta)
        else:
            run(first, last, work)
        for l, layer in enumerate(layers, 1):
            _backprop.layer(plan.code[5, l], work.block, work.height, layer[first:last])
    return layers
