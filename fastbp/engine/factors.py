"""Factors of the learning rate for groups of parameters: the weights and the biases of each Theta."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._types import Doubles
from . import checks
from .plan import Plan

NAME = "learning_rate_factors"
GROUPS = ("weights", "biases")


def of(given: Any, plan: Plan) -> Doubles | None:
    """(L - 1, 2), the factors of weights and biases of each Theta; None if all are 1.

    given : None; a dict of `weights` and `biases`, for every Theta; or a sequence with one entry for each Theta, a
    number, such a dict, or a pair (weights, biases).
    """
    n = len(plan.shapes)
    if given is None:
        return None
    if isinstance(given, dict):
        own = np.array([_pair(given, NAME)] * n)
    elif isinstance(given, (list, tuple)) or (isinstance(given, np.ndarray) and given.ndim):
        if len(given) != n:
            raise ValueError(f"{NAME} must have one entry for each Theta, {n} of them; got {len(given)}")
        own = np.array([_pair(entry, f"{NAME}[{l}]") for l, entry in enumerate(given)])
    else:
        raise TypeError(f"{NAME} must be a dict of 'weights' and 'biases', or a sequence with one entry for each "
                        f"Theta; got {given!r:.100}")
    return None if (own == 1).all() else own


def _pair(entry: Any, name: str) -> tuple[float, float]:
    """(weights, biases)"""
    if isinstance(entry, dict):
        if unknown := [key for key in entry if key not in GROUPS]:
            raise ValueError(f"{name} has {', '.join(map(repr, unknown)):.100}; accepted are 'weights' and 'biases'")
        pair = [entry.get(group, 1.0) for group in GROUPS]
    elif isinstance(entry, (list, tuple)) or (isinstance(entry, np.ndarray) and entry.ndim):
        if len(entry) != 2:
            raise ValueError(f"{name} must be a number or a pair (weights, biases); got {len(entry)} entries")
        pair = list(entry)
    else:
        pair = [entry, entry]
    weights, biases = (checks.number(value, f"{name}, {group}") for group, value in zip(GROUPS, pair, strict=True))
    return weights, biases


def told(own: Doubles | None) -> list[list[float]] | None:
    """The same as JSON."""
    return None if own is None else own.tolist()


def each(own: Doubles, plan: Plan, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The factor of each parameter, (n_parameters,)."""
    factors = np.empty(plan.n_parameters, dtype)
    for Theta, (weights, biases) in zip(plan.views(factors), own, strict=True):
        Theta[:, 0], Theta[:, 1:] = biases, weights
    return factors


def followed(
    factors: NDArray[Any] | None, n: int, more: int, factor: float, dtype: np.dtype[Any],
) -> NDArray[Any]:
    """These factors of n parameters (None: 1), followed by one factor for further parameters."""
    own = np.ones(n + more, dtype)
    own[:n] = 1 if factors is None else factors
    own[n:] = factor
    return own


@contextmanager
def scaling(theta: NDArray[Any], factors: NDArray[Any] | None) -> Iterator[None]:
    """Inside the block, every change of a parameter is multiplied by its factor."""
    before = None if factors is None else theta.copy()
    yield
    if before is not None:
        theta[:] = np.where(factors == 1, theta, before + factors * (theta - before))
