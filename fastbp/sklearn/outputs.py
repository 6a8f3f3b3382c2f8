"""Outputs from z(L): the functions that out_activation_ may name, and logarithms of probabilities."""

import numpy as np
from scipy.special import expit


def _softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _exp(z):
    with np.errstate(over="ignore"):
        return np.exp(z)


# h (m, K) of z (m, K)
FUNCTIONS = {
    "identity": lambda z: z,
    "logistic": expit,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "softmax": _softmax,
    "exp": _exp,
}
ALIASES = {"sigmoid": "logistic", "linear": "identity"}
# dh_k/dz_k from z and h; z, since 1 - h loses its digits near h = 1
SLOPES = {
    "identity": lambda z, h: np.ones_like(h),
    "logistic": lambda z, h: expit(z) * expit(-z),
    "tanh": lambda z, h: 4 * expit(2 * z) * expit(-2 * z),
    "relu": lambda z, h: (h > 0).astype(h.dtype),
    "exp": lambda z, h: h,
}


def named(output):
    """The name of a function of the outputs, aliases resolved."""
    name = ALIASES.get(output, output) if isinstance(output, str) else None
    if name not in FUNCTIONS:
        raise ValueError(f"out_activation_ must be one of {', '.join(FUNCTIONS)}; got {output!r}")
    return name


def apply(output, z):
    """h (m, K) of z (m, K)"""
    return FUNCTIONS[named(output)](z)


def slope(output, z, h, dz):
    """dh_k/dx_j (m, K, n) from z, h (m, K) and dz_k/dx_j (m, K, n)"""
    if named(output) == "softmax":      # the largest dz cancels in dh/dx, but would leave its rounding error
        dz = dz - np.take_along_axis(dz, z.argmax(axis=1)[:, None, None], axis=1)
        return h[:, :, None] * (dz - np.einsum("mk,mkj->mj", h, dz)[:, None])
    return SLOPES[named(output)](z, h)[:, :, None] * dz


def log_softmax(z):
    """log p (m, K) of the softmax of z, exact where p rounds to 0 or to 1.

    log p_k = z_k - z_max - log(1 + sum of exp(z_j - z_max) over all j but the largest)
    """
    below = z.astype(np.float64)
    largest = below.argmax(axis=1)[:, np.newaxis]
    below -= np.take_along_axis(below, largest, axis=1)
    e = np.exp(below)
    np.put_along_axis(e, largest, 0, axis=1)
    return (below - np.log1p(e.sum(axis=1, keepdims=True))).astype(z.dtype)


def log_sigmoid(z):
    """log 1 / (1 + exp(-z)) = -log(1 + exp(-z))"""
    return -np.logaddexp(0, -z.astype(np.float64)).astype(z.dtype)


def log_sigmoids(z, h):
    """log p of several labels, h = p. Above 1/2 it is log h: the labels keep their order in predict_proba."""
    return np.where(h > 0.5, np.log(h, out=np.zeros_like(h), where=h > 0.5), log_sigmoid(z))
