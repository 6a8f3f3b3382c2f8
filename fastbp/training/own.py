"""Steps of a network whose loss is a Python function: z(L) of a batch, the loss, a backward pass, the update."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _epoch, _kernels
from .._backprop import Examples
from .._types import Floats
from ..engine import checks, outside
from ..engine.data import Data
from ..engine.own import MOVED
from .kinds import Batches


def is_finite(z: Floats) -> bool:
    return _kernels.first_nonfinite(z, checks.LARGEST) < 0


class OwnSteps:
    """Steps along the slopes of an own loss.

    Few examples go through one prepared pass, more through the passes of `engine.outside`; the bits are the same.
    """

    def __init__(self, steps: Any) -> None:
        self.steps = steps
        self._few = outside.few(steps.plan, steps.theta.dtype, keeps=True)

    def quick(self, X: NDArray[Any], Y: NDArray[Any], stepper: _epoch.Stepper) -> float | None:
        """Take one step for `Steps.quick`; None, with nothing done, if the arrays must be checked first."""
        steps = self.steps
        if X.ndim != 2 or Y.ndim == 0 or len(X) != len(Y) or steps.regularisation.batch_lam or steps.unit != 1:
            return None
        masks = self._masks()
        z = self._few.forward(X, steps.theta, *masks)
        if z is None:
            return None
        m, K = len(X), steps.plan.layer_sizes[-1]
        cost, slopes = steps.plan.own(z, Y.copy(), None)
        if not self._few.step(X, slopes, steps.theta, stepper.rule, stepper.rate, m, *masks, m, "loss", True):
            G = steps.plan.own.slopes(slopes, m, K, steps.theta.dtype)
            if not self._few.step(X, G, steps.theta, stepper.rule, stepper.rate, m, *masks, m, "loss", True):
                raise ValueError(MOVED)
        return cost / m + float(stepper.rule.penalty)

    def take(self, batches: Batches, data: Data, order: NDArray[np.int64] | None) -> tuple[float, float]:
        """The steps of `Steps.take`."""
        examples, m, size, _, scale, each, divisors, total, weight = batches
        steps, rows = self.steps, Examples(data.X, order=order)
        rule = None if steps.compiled is None else steps.compiled_rule(scale)
        began = int(steps.taken[0])
        for first in range(0, m, size):
            last = min(first + size, m)
            m_b = examples.weight(first, last)
            if m_b == 0:    # nothing to learn from: no step
                continue
            divisor = m_b if divisors is None else float(divisors[first // size])
            z = self._few.forward(rows, steps.theta, *self._masks(), first, last)
            cost, slopes = math.nan, None
            if z is None:
                cost = self._many(rows, first, last, data, order)
            elif is_finite(z):
                cost, slopes = steps.plan.own(z, *data.batch(first, last, order))
            if math.isnan(cost):    # theta has diverged; the end of the epoch detects it
                return math.nan, weight + m_b
            cost /= scale
            rates = batches.rates[int(steps.taken[0]) - began :]
            if slopes is None:
                penalty = self._learn(rule, rates, m_b, scale, divisor)
            else:
                penalty = self._step(rows, first, last, slopes, rule, rates, m_b, scale, divisor)
            if len(each):
                each[first // size] = cost / m_b, penalty
            total += cost + m_b * penalty
            weight += m_b
        return total, weight

    def _masks(self) -> tuple[int, int]:
        """Seed and step of the masks of the next step."""
        return (self.steps.dropout_seed, int(self.steps.taken[0])) if self.steps.dropout else (0, 0)

    def _many(self, rows: Examples, first: int, last: int, data: Data, order: NDArray[np.int64] | None) -> float:
        """Delta := the sum over a batch of many examples; returns the sum of their costs, in units of the caller.

        Returns NaN, with nothing done, if z(L) is not finite.
        """
        steps, m, dtype = self.steps, last - first, self.steps.theta.dtype
        steps.set_masks(first)
        kept = outside.room(steps.plan, m, dtype)
        z = outside.forward(steps.plan, steps.theta, rows, m, first=first, kept=kept, n_threads=steps.n_threads)
        if not is_finite(z):
            return math.nan
        cost: float
        cost, G = steps.plan.own.at(steps.theta, z, *data.batch(first, last, order))
        steps.Delta[:] = 0
        outside.backward(steps.plan, steps.theta, rows, m, G, Delta=steps.Delta, first=first, kept=kept,
                         n_threads=steps.n_threads)
        return cost

    def _step(
        self, rows: Examples, first: int, last: int, slopes: Any, rule: _epoch.Rule | None, rates: NDArray[np.float64],
        m_b: float, scale: float, divisor: float,
    ) -> float:
        """The step along the slopes of a batch of few examples; returns the penalty before it."""
        steps, masks, theta = self.steps, self._masks(), self.steps.theta
        rate = float(rates[0]) if len(rates) else 0.0
        if rule is not None and self._few.step(
            rows, slopes, theta, rule, rate, m_b, *masks, divisor * scale, "loss"
        ):
            return float(rule.penalty)
        G = steps.plan.own.slopes(slopes, last - first, steps.plan.layer_sizes[-1], theta.dtype)
        D = self._few.backward(rows, G, theta, False, False, steps.Delta, *masks)
        if D is None:
            raise ValueError(MOVED)
        return self._learn(rule, rates, m_b, scale, divisor)

    def _learn(
        self, rule: _epoch.Rule | None, rates: NDArray[np.float64], m_b: float, scale: float, divisor: float,
    ) -> float:
        """The step along Delta; returns the penalty before it."""
        steps = self.steps
        if scale != 1:
            steps.Delta /= steps.Delta.dtype.type(scale)
        if rule is None:
            return float(steps.learn(m_b, scale, divisor))
        return _epoch.step(steps.net.plan.code, steps.theta, m_b, rule, rates, steps.Delta, divisor)
