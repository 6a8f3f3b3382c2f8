"""Losses that fastbp does not have, as functions f(z, Y, w) -> (costs, dcost_dz) in NumPy, of any dtype."""

import numpy as np
from reference import COSTS, OUTPUTS, PARAMETERS, erf, log_softmax, output_delta, pi, sigmoid, softmax, softplus


def weighed(costs, slopes, w):
    """Costs and derivatives, both multiplied by the weights if there are any"""
    return (costs, slopes) if w is None else (w * costs, w[:, None] * slopes)


def like(z, Y):
    """Y as numbers of z's dtype and shape"""
    return np.asarray(Y, z.dtype).reshape(len(z), -1)


def one_hot(z, labels):
    return (labels[:, None] == np.arange(z.shape[1])).astype(z.dtype)


def built_in(output, loss, parameter=None):
    """A pair of fastbp as a function, in long double, rounded once at the end"""
    more = () if parameter is None else (parameter,)

    def f(z, Y, w):
        z_, y = z.astype(np.longdouble), like(z, Y).astype(np.longdouble)
        costs = COSTS[output, loss](z_, y, *more)
        slopes = output_delta(z_, OUTPUTS[output][0](z_), y, output, loss, parameter)
        costs, slopes = weighed(costs, slopes, w)
        return costs.astype(float), slopes.astype(z.dtype)

    assert (parameter is None) == (loss not in PARAMETERS)
    return f


def log_cosh(z, Y, w):
    e = z - like(z, Y)
    return weighed((np.abs(e) + np.log1p(np.exp(-2 * np.abs(e))) - np.log(z.dtype.type(2))).sum(axis=1), np.tanh(e), w)


def asymmetric(z, Y, w):
    """Three times the squared error above y"""
    e = z - like(z, Y)
    slope = np.where(e > 0, 3, 1) * e
    return weighed((slope * e).sum(axis=1) / 2, slope, w)


def focal(z, Y, w):
    """-(1 - p)^2 log p, where p is the probability of the right one of two classes"""
    sign = 2 * like(z, Y) - 1
    p, q, log_p = sigmoid(sign * z), sigmoid(-sign * z), -softplus(-sign * z)
    return weighed((-q * q * log_p).sum(axis=1), sign * (2 * p * q * q * log_p - q**3), w)


def hinge(z, Y, w):
    """max(0, 1 + the largest wrong z - the right z) for labels Y"""
    right, rows = one_hot(z, Y), np.arange(len(z))
    rival = np.where(right, -np.inf, z).argmax(axis=1)
    costs = np.maximum(0, 1 + z[rows, rival] - z[rows, Y])
    slopes = -right
    slopes[rows, rival] += 1
    return weighed(costs, slopes * (costs > 0)[:, None], w)


def tweedie(z, Y, w):
    """Power 1.5, mean e^z"""
    y, p = like(z, Y), z.dtype.type(1.5)
    costs = (-y * np.exp((1 - p) * z) / (1 - p) + np.exp((2 - p) * z) / (2 - p)).sum(axis=1)
    return weighed(costs, -y * np.exp((1 - p) * z) + np.exp((2 - p) * z), w)


def gaussian_nll(z, Y, w):
    """z = (mean, log variance), one target"""
    e, precision = z[:, 0] - Y, np.exp(-z[:, 1])
    slopes = np.stack([e * precision, (1 - e * e * precision) / 2], axis=1)
    return weighed((z[:, 1] + e * e * precision) / 2, slopes, w)


def student_nll(z, Y, w):
    """z = (location, log scale), 4 degrees of freedom"""
    r, nu = (Y - z[:, 0]) * np.exp(-z[:, 1]), 4
    slopes = np.stack([-(nu + 1) * r * np.exp(-z[:, 1]) / (nu + r * r), 1 - (nu + 1) * r * r / (nu + r * r)], axis=1)
    return weighed(z[:, 1] + (nu + 1) / 2 * np.log1p(r * r / nu), slopes, w)


def crps(z, Y, w):
    """The loss of a normal distribution, z = (mean, log standard deviation)"""
    sigma = np.exp(z[:, 1])
    r, root = (Y - z[:, 0]) / sigma, np.sqrt(pi(z.dtype))
    inside, twice_phi = erf(r / np.sqrt(z.dtype.type(2))), np.sqrt(z.dtype.type(2)) * np.exp(-r * r / 2) / root
    slopes = np.stack([-inside, sigma * (twice_phi - 1 / root)], axis=1)
    return weighed(sigma * (r * inside + twice_phi - 1 / root), slopes, w)


def label_smoothing(z, Y, w):
    """Cross-entropy of softmax(z) with 0.9 of the label and 0.1 spread over all"""
    share = z.dtype.type(0.1)
    target = (1 - share) * one_hot(z, Y) + share / z.shape[1]
    return weighed(-(target * log_softmax(z)).sum(axis=1), softmax(z) - target, w)


def pairwise(z, Y, w):
    """log(1 + e^(z_j - z_i)) over all pairs of the batch with y_i > y_j, at example i"""
    above = (Y[:, None] > Y[None, :]) * (np.ones(len(z), z.dtype) if w is None else w)[:, None]
    apart = z[None, :, 0] - z[:, None, 0]
    pull = above * sigmoid(apart)
    return (above * softplus(apart)).sum(axis=1), (pull.sum(axis=0) - pull.sum(axis=1))[:, None]


def cox(z, Y, w):
    """Minus the partial log-likelihood; the columns of Y are time and event"""
    w = np.ones(len(z), z.dtype) if w is None else w
    time, event, risk = Y[:, 0], w * (Y[:, 1] > 0), z[:, 0]
    top = risk.max()
    at_risk = (time[None, :] >= time[:, None]) * (w * np.exp(risk - top))
    total = at_risk.sum(axis=1)
    costs = event * (top + np.log(total) - risk)
    return costs, (event / total @ at_risk - event)[:, None]


def quantiles(z, Y, w):
    """The pinball loss of three quantiles of one target"""
    q, e = np.array([0.1, 0.5, 0.9], z.dtype), np.asarray(Y, z.dtype)[:, None] - z
    return weighed(np.maximum(q * e, (q - 1) * e).sum(axis=1), np.where(e > 0, -q, 1 - q), w)


def targets(name, rng, m):
    """Y of this loss for m examples"""
    if name in ("hinge", "label_smoothing"):
        return rng.integers(0, 3, m)
    if name == "focal":
        return rng.integers(0, 2, m)
    if name == "cox":
        return np.stack([rng.exponential(size=m).round(1), rng.integers(0, 2, m)], axis=1)
    return rng.gamma(2.0, size=m) if name == "tweedie" else rng.standard_normal(m)


OUTPUTS_OF = {  # K of each
    "log_cosh": 1, "asymmetric": 1, "focal": 1, "hinge": 3, "tweedie": 1, "gaussian_nll": 2, "student_nll": 2,
    "crps": 2, "label_smoothing": 3, "pairwise": 1, "cox": 1, "quantiles": 3,
}
FOREIGN = {name: globals()[name] for name in OUTPUTS_OF}
