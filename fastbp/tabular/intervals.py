"""Prediction intervals from the residuals of cross-validation, around the mean of all networks.

The residual of a row is that of the networks that have held it out. The mean of all networks has a smaller error (the
ambiguity decomposition of Krogh & Vedelsby, Neural network ensembles, cross validation, and active learning, 1995):

    mean_k (y - mu_k)^2 = (y - mu)^2 + mean_k (mu_k - mu)^2,   mu = mean_k mu_k.

So the residuals are a little too large for mu. CV+ (Barber, Candes, Ramdas & Tibshirani, Predictive inference with the
jackknife+, Annals of Statistics 49, 2021) adds the spread of mu_k to them again and is wider still.
"""

import math

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def half_width(residuals: Doubles, coverage: float) -> float:
    """The ceil(coverage (n + 1))-th smallest of n residuals |y - mu|, in rising order; infinite if n is too small.

    A new residual from the same distribution is at most this with probability `coverage` or more.
    """
    n = len(residuals)
    rank = max(1, math.ceil(coverage * (n + 1) - 1e-9))
    return float(residuals[rank - 1]) if rank <= n else math.inf
