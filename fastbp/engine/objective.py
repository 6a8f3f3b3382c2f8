"""J and D: the mean over the examples, and the penalties."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._types import Count, Floats, Sum
from . import checks, sums
from .plan import Plan
from .regularisation import Regularisation


def cost(theta: Floats, data: Sum, regularisation: Regularisation, n_threads: Count | None = None) -> float:
    """J"""
    J = _few(theta, data, regularisation, n_threads, False)
    if J is not None:
        return J
    mean = data.accumulate(theta, theta[:0].copy(), n_threads) / data.weight
    return mean + regularisation.penalty(data.plan, theta, data.weight)


def cost_and_gradient(
    theta: Floats, data: Sum, regularisation: Regularisation, n_threads: Count | None = None,
) -> tuple[float, Floats]:
    """J and D = dJ/dtheta, D a fresh array."""
    result = _few(theta, data, regularisation, n_threads, True)
    if result is not None:
        return result
    D = np.zeros_like(theta)
    mean = data.accumulate(theta, D, n_threads) / data.weight
    J = mean + regularisation.penalty(data.plan, theta, data.weight)
    return J, regularisation.regularise(data.plan, theta, D, data.weight)


def _few(
    theta: Floats, data: Sum, regularisation: Regularisation, n_threads: Count | None, gradient: bool,
) -> Any:
    """J, or (J, D), of a few examples in one call of compiled code; None if the functions above must compute it."""
    if n_threads is not None:
        checks.count(n_threads, "n_threads")
    return data.few(theta, regularisation.c, regularisation.l1, gradient) if regularisation.in_J else None


def predict(plan: Plan, theta: Floats, dtype: np.dtype[Any], X: ArrayLike, out: Floats | None) -> Floats:
    """h(x) of each example, (m, K) or (K,), in out if given; all arguments are checked."""
    rows, one_row = checks.inputs(X, plan.layer_sizes[0], dtype, empty=True)
    checks.own_parameters(theta, plan, dtype)
    K = plan.layer_sizes[-1]
    shape = (K,) if one_row else (len(rows), K)
    if out is None:
        out = np.empty(shape, dtype)
    else:
        checks.output_array(out, shape, dtype)
        if np.may_share_memory(out, theta):
            raise ValueError("out must not be a part of net.theta")
        if np.may_share_memory(out, rows):
            rows = rows.copy()
    sums.predict(plan, theta, rows, out.reshape(len(rows), K))
    return out
