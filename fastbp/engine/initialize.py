"""The start values of the parameters."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .. import _kernels, words
from .._types import Floats, Net, Number, Start
from . import checks, explain
from .plan import Plan

DEFAULT_EPS: dict[str, float | None] = {"glorot_uniform": None, "he_normal": None, "normal": 0.01, "uniform": 0.12,
                                         "nguyen_widrow": None}


def check(init: Start, eps: Number | None, plan: Plan, dtype: DTypeLike) -> tuple[str | Floats, float | None]:
    """(name, eps) of a scheme, or (the flat start values, None)."""
    if isinstance(init, str):
        known = words.resolve(init, DEFAULT_EPS, words.INITS)
        if known is None:
            raise ValueError(f"init is {init!r}; accepted are {', '.join(DEFAULT_EPS)}, or start values")
        init = known
        if eps is None:
            return init, DEFAULT_EPS[init]
        if DEFAULT_EPS[init] is None:
            raise ValueError(f"eps goes with init='normal' or 'uniform'; init is {init!r}")
        return init, checks.number(eps, "eps")
    if init is None:
        raise TypeError(f"init must be one of {', '.join(DEFAULT_EPS)}, or start values; got None")
    if eps is not None:
        raise ValueError("eps goes with init='normal' or 'uniform'; init holds start values")
    if isinstance(init, np.ndarray) and init.ndim == 1 and init.dtype != object:
        return checks.parameters(init, plan, dtype, "init").copy(), None
    if isinstance(init, (list, tuple)) and all(np.isscalar(value) for value in init):
        return checks.parameters(init, plan, dtype, "init").copy(), None
    return _from_matrices(init, plan, dtype), None


def _from_matrices(init: Start, plan: Plan, dtype: DTypeLike) -> Floats:
    if not isinstance(init, (list, tuple, np.ndarray)):
        raise TypeError(f"init must be one of {', '.join(DEFAULT_EPS)}, or start values; got {init!r}")
    if len(init) != len(plan.shapes):
        raise ValueError(f"init has {len(init)} matrices; the network has {len(plan.shapes)} Theta")
    for l, (Theta, shape) in enumerate(zip(init, plan.shapes, strict=True)):
        given = checks.array(Theta, f"init[{l}]").shape
        if given != shape:
            raise ValueError(f"init[{l}] must have shape {shape}; got {given}")
    return checks.parameters(np.concatenate([np.ravel(Theta) for Theta in init]), plan, dtype, "init").copy()


def draw(init: str | Floats, eps: float | Any, plan: Plan, dtype: DTypeLike, rng: np.random.Generator) -> Floats:
    """theta by the scheme, layer by layer; eps as `check` returns it.

    glorot_uniform: U(-r, r), r = sqrt(6 / (s_l + s_{l+1})) (Glorot & Bengio 2010), biases 0
    he_normal: N(0, 2 / s_l) (He et al. 2015), biases 0
    nguyen_widrow: hidden units spread over inputs in [-1, 1] (Nguyen & Widrow 1990), see `_spread`; the last Theta
    U(-0.5, 0.5); biases drawn too
    normal: N(0, eps^2) (UFLDL), biases drawn too;  uniform: U(-eps, eps) (Ng), biases drawn too
    """
    if not isinstance(init, str):
        return init
    theta = np.empty(plan.n_parameters, np.float64)
    for l, (Theta, (n, columns)) in enumerate(zip(plan.views(theta), plan.shapes, strict=True)):
        k, hidden = columns - 1, plan.activations
        if init == "glorot_uniform":
            Theta[:] = rng.uniform(-1, 1, Theta.shape) * np.sqrt(6 / (k + n))
            Theta[:, 0] = 0
        elif init == "he_normal":
            Theta[:] = rng.standard_normal(Theta.shape) * np.sqrt(2 / k)
            Theta[:, 0] = 0
        elif init == "nguyen_widrow":
            if l < len(hidden):
                _spread(Theta, hidden[l] == "sigmoid", l > 0 and hidden[l - 1] == "sigmoid", rng)
            else:
                Theta[:] = 0.5 * rng.uniform(-1, 1, Theta.shape)
        elif init == "normal":
            Theta[:] = eps * rng.standard_normal(Theta.shape)
        else:
            Theta[:] = eps * rng.uniform(-1, 1, Theta.shape)
    return theta.astype(dtype)


def _spread(Theta: NDArray[Any], steep: bool, halves: bool, rng: np.random.Generator) -> None:
    """Units whose active regions cover [-1, 1]^k evenly: rows of length beta = 0.7 n^(1/k), biases evenly in
    [-beta, beta], each with the sign of its first weight.

    steep : g is the sigmoid, tanh of half the argument;  halves : the inputs are sigmoids, in [0, 1]
    """
    n, k = len(Theta), Theta.shape[1] - 1
    beta, W = 0.7 * n ** (1 / k) * (2 if steep else 1), rng.uniform(-1, 1, (n, k))
    W *= beta / np.sqrt(np.square(W).sum(axis=1, keepdims=True))
    b = beta * np.linspace(-1, 1, n) * np.where(W[:, 0] < 0, -1, 1) if n > 1 else np.zeros(1)
    if halves:      # 2 a - 1 in place of a
        b, W = b - W.sum(axis=1), 2 * W
    Theta[:, 0], Theta[:, 1:] = b, W


def warn_if_equal_units(net: Net) -> None:
    """Warn if two hidden units have the same weights in and out: their gradients stay equal forever."""
    for l, (before, after) in enumerate(zip(net.Theta, net.Theta[1:], strict=False), 2):
        if len(before) < 2 or _kernels.units_differ(before, after):
            continue
        outgoing = after[:, 1:].T
        sums = before.sum(axis=1) + outgoing.sum(axis=1)
        if len(set(sums.tolist())) == len(sums):       # cheap, and almost always enough
            continue
        units = np.hstack([before, outgoing])
        equal = len(units) - len(np.unique(units, axis=0))
        if equal:
            explain.warn(
                f"{equal} of the {len(units)} units of hidden layer {l} start equal to another one: they get the "
                "same gradient and stay equal forever. Start from small random values (init=...).",
                UserWarning,
            )
            return
