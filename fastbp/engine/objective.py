"""J and D: the mean over the examples, and the penalties."""

import numpy as np

from .._types import Count, Floats, Sum
from .regularisation import Regularisation


def cost(theta: Floats, data: Sum, regularisation: Regularisation, n_threads: Count | None = None) -> float:
    """J"""
    mean = data.accumulate(theta, theta[:0].copy(), n_threads) / data.weight
    return mean + regularisation.penalty(data.plan, theta, data.weight)


def cost_and_gradient(
    theta: Floats, data: Sum, regularisation: Regularisation, n_threads: Count | None = None,
) -> tuple[float, Floats]:
    """J and D = dJ/dtheta, D a fresh array."""
    D = np.zeros_like(theta)
    mean = data.accumulate(theta, D, n_threads) / data.weight
    J = mean + regularisation.penalty(data.plan, theta, data.weight)
    return J, regularisation.regularise(data.plan, theta, D, data.weight)
