"""The ways to take steps: in compiled code, by sweeps over single examples, by ranges of a batch, in Python.

Each takes the steps of `Batches` and returns the sums of m_b J and of m_b, over these batches and those before.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .. import _epoch
from .._backprop import Examples
from ..engine import checks, sums, threads
from ..engine.data import Data
from ..engine.plan import Plan

LARGE = 8  # a batch of more blocks is summed range by range
ONLINE = 2**23  # most parameters for the sweeps over single examples


class Batches(NamedTuple):
    """The examples of one call, their division into batches, and the sums so far."""

    examples: Examples
    m: int
    size: int
    """Examples of a batch; the last one may be shorter."""
    rates: NDArray[np.float64]
    """Learning rates of the steps; empty if the rule has its own."""
    scale: float
    """The unit of the examples' weights."""
    each: NDArray[np.float64]
    """(batches, 2) or empty: receives the mean cost and the penalty of each batch."""
    divisors: NDArray[np.float64] | None
    """(batches,): the divisor of Delta for each batch; None: its m_b."""
    total: float
    weight: float
    """Sums of m_b J and of m_b over the batches before these."""

    @classmethod
    def of(
        cls, steps: Any, data: Data, batch_size: int, order: NDArray[np.int64] | None, rates: ArrayLike | None,
        each: NDArray[np.float64], before: tuple[float, float],
    ) -> Self:
        """The arguments of `Steps.take`, checked; weights are in units of mean_weight."""
        m = data.m if order is None else len(order)
        size = min(batch_size, m)
        n = -(-m // size)
        given = steps.rates(n) if rates is None else checks.given_rates(rates, n, steps.compiled)
        if data.w is not None and steps.regularisation.batch_lam:
            w = data.w[:, 0] if order is None else data.w[order, 0]
            m_b = np.add.reduceat(w, np.arange(0, m, size), dtype=np.float64)
            steps.regularisation.check_batches(m_b, data.scale)
        divisors = None if steps.mean_weight is None else data.divisors(order, m, size)
        return cls(data.examples(order), m, size, given, data.scale, each, divisors, *before)


Way = Callable[[Any, Batches], tuple[float, float]]


def is_large(plan: Plan, batch_size: int, dtype: DTypeLike) -> bool:
    """Are batches of this size summed range by range?"""
    return batch_size > LARGE * sums.LOWEST and batch_size > LARGE * sums.height(plan, batch_size, dtype)


def is_online(steps: Any, batch_size: int) -> bool:
    """Can the fused sweeps take these steps? They copy theta once per call, too costly for the largest networks."""
    return bool(
        batch_size == 1 and steps.compiled == "sgd" and not steps.optimizer.slots and steps.regularisation.decay_alone
        and not steps.dropout and steps.free is None and steps.factors is None and steps.diagonal is None
        and steps.net.n_parameters <= ONLINE
    )


def way(steps: Any, batch_size: int, each: NDArray[np.float64]) -> Way:
    """The way to take these steps. batch_size decides, so a short piece goes the same way as a full one."""
    if steps.compiled is None:
        return python
    if is_online(steps, batch_size) and not len(each):
        return online
    return large if is_large(steps.plan, batch_size, steps.theta.dtype) else compiled


def compiled(steps: Any, batches: Batches) -> tuple[float, float]:
    """Take all steps in compiled code, which returns to Python at least every 20 ms."""
    examples, m, size, rates, scale, each, divisors, total, weight = batches
    code, theta, rule, before = steps.plan.code, steps.theta, steps.compiled_rule(scale), int(steps.taken[0])
    work = steps.workspace(size)
    batch, last = 0, -(-m // size)
    while batch < last:
        total, weight, batch, _ = steps.crew.in_step(
            lambda budget, team, n, apart, at=batch, rates=rates[steps.taken[0] - before :], so_far=(total, weight): (
                _epoch.steps(code, theta, examples, m, size, at, last, rule, rates, steps.Delta, work.block,
                             work.height, work.costs, each, so_far[0], so_far[1], budget, team, n, apart, divisors)
            )
        )
    return total, weight


def online(steps: Any, batches: Batches) -> tuple[float, float]:
    """Plain SGD with one example per step, by fused sweeps."""
    examples, m, _, rates, scale, _, divisors, total, weight = batches
    plan, rule, before = steps.net.plan, steps.compiled_rule(scale), int(steps.taken[0])
    work = sums.Workspace(plan, 1, steps.theta.dtype)
    work.block[:] = 0
    packed = sums.aligned(_epoch.packed_size(plan.code, steps.theta), steps.theta.dtype)
    stride = max(1, int(1e6 / sums.operations(plan, 1)))
    done = 0
    while done < m:
        total, weight, done = _epoch.online_steps(
            plan.code, steps.theta, examples, done, m, rule, rates[steps.taken[0] - before :], work.block,
            work.height, packed, total, weight, threads.SLICE, stride, divisors,
        )
    return total, weight


def large(steps: Any, batches: Batches) -> tuple[float, float]:
    """Batches of many blocks: Delta range by range, then the compiled step."""
    code, rule, before = steps.net.plan.code, steps.compiled_rule(batches.scale), int(steps.taken[0])

    def learn(m_b: float, divisor: float | None) -> float:
        rates = batches.rates[steps.taken[0] - before :]
        team, n, _ = steps.crew.who
        return _epoch.step(code, steps.theta, m_b, rule, rates, steps.Delta, divisor, team, n)

    return _accumulated(steps, batches, learn)


def python(steps: Any, batches: Batches) -> tuple[float, float]:
    """The update rule in Python, called once per batch."""
    return _accumulated(steps, batches, lambda m_b, divisor: steps.learn(m_b, batches.scale, divisor))


def _accumulated(
    steps: Any, batches: Batches, learn: Callable[[float, float | None], float],
) -> tuple[float, float]:
    """Sum Delta over each batch, then learn(m_b, divisor): it takes the step and returns the penalty before it."""
    examples, m, size, _, _, each, divisors, total, weight = batches
    height = sums.height(steps.plan, size, steps.theta.dtype)
    for first in range(0, m, size):
        last = min(first + size, m)
        m_b = examples.weight(first, last)
        if m_b == 0:    # nothing to learn from: no step
            continue
        steps.Delta[:] = 0
        steps.set_masks(first)
        cost = sums.accumulate_range(steps.plan, steps.theta, examples, first, last, height, steps.Delta, steps.crew)
        penalty = learn(m_b, None if divisors is None else float(divisors[first // size]))
        if len(each):
            each[first // size] = cost / m_b, penalty
        total += cost + m_b * penalty
        weight += m_b
    return total, weight
