"""Prediction intervals from held-out residuals: CV+ (Barber, Candes, Ramdas & Tibshirani, Predictive inference with
the jackknife+, Annals of Statistics 49, 2021)."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
STEPS = 64      # halvings: more than a double has digits


def cv_plus(predicted: Doubles, residuals: Sequence[Doubles], coverage: float) -> tuple[Doubles, Doubles]:
    """(lower, upper) ends (m,) of the intervals.

    lower is the floor(alpha (n + 1))-th smallest of all mu_k(x) - R_i, upper the ceil((1 - alpha)(n + 1))-th smallest
    of all mu_k(x) + R_i, where i runs over the n rows that network k has held out, and alpha = 1 - coverage. It is
    infinite if n is too small.

    Parameters
    ----------
    predicted : (networks, m)
        mu_k(x).
    residuals : list of (n_k,)
        R_i = |y_i - mu_k(x_i)| of the rows that network k has held out, in rising order.
    """
    n = sum(map(len, residuals))
    rank = math.ceil(coverage * (n + 1) - 1e-9)
    if rank > n:
        far = np.full(predicted.shape[1], np.inf)
        return -far, far
    upper = _of_rank(predicted, residuals, rank)
    return -_of_rank(-predicted, residuals, rank), upper     # mu - R is the mirror image of -mu + R


def _of_rank(centres: Doubles, residuals: Sequence[Doubles], rank: int) -> Doubles:
    """The rank-th smallest of all centres[k] + residuals[k][i], for each column, by halving."""
    most = max(float(r[-1]) for r in residuals if len(r))
    low, high = centres.min(axis=0) - 0.0, centres.max(axis=0) + most
    for _ in range(STEPS):
        middle = low + (high - low) / 2
        count = np.zeros(len(middle), np.int64)
        for centre, r in zip(centres, residuals, strict=True):
            count += np.searchsorted(r, middle - centre, side="right")
        enough = count >= rank
        high, low = np.where(enough, middle, high), np.where(enough, low, middle)
    return high
