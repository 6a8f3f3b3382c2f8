"""Calibrated probabilities: one temperature for all logits, from held-out rows."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

Doubles = NDArray[np.float64]
BOUND = 3.0     # of |log T|


def log_softmax(z: Doubles) -> Doubles:
    """log p (m, K) of logits; a row does not depend on the others."""
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def temperature(z: Doubles, labels: NDArray[np.int64], weights: Doubles | None = None) -> float:
    """T that minimises the mean of -log p_y, p = softmax(z / T); Guo et al., On calibration of modern networks, 2017.

    z : (m, K) logits of rows that the network was not trained on. A pseudo-observation keeps T at 1 if there are few.
    """
    w = np.ones(len(z)) if weights is None else weights / weights.mean()
    at = np.arange(len(z))

    def cost(log_beta: float) -> float:
        log_p = log_softmax(math.exp(log_beta) * z)[at, labels]
        return float(-(w * log_p).sum() + log_beta**2 / 2)

    if not len(z):
        return 1.0
    return math.exp(-float(minimize_scalar(cost, bounds=(-BOUND, BOUND), method="bounded").x))


def probabilities(logits: list[NDArray[np.float32]], T: float) -> Doubles:
    """The mean over networks of softmax(z / T), (m, K)."""
    total = np.zeros(logits[0].shape)
    for z in logits:
        total += np.exp(log_softmax(z.astype(np.float64) / T))
    return total / total.sum(axis=1, keepdims=True)
