"""A diagonal layer in front of the first, in training: Theta(1) = [b, W diag(s)].

The network only has Theta(1): it predicts, and is measured and saved, like any other. W and s are part of the
optimizer's state, as `input_weights` (like Theta(1), flat, b in column 0) and `input_scale` (s_1,).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._types import Rule
from ..base import check_apart, entry
from ..engine import checks
from ..engine.plan import Plan

WEIGHTS, SCALE = NAMES = "input_weights", "input_scale"


class Diagonal:
    """The diagonal layer. An optimizer sees the parameters as one array: theta with W, then s.

    Attributes
    ----------
    factor : float
        Factor of the learning rate of s.
    inputs : int
        s_1.
    """

    def __init__(self, factor: Any, plan: Plan, free: NDArray[np.bool_] | None) -> None:
        self.factor = checks.number(factor, "input_scale", open_low=True)
        self.shape = plan.shapes[0]
        self.size, self.inputs = plan.offsets[1], plan.layer_sizes[0]
        self.free = None if free is None else free[: self.size].reshape(self.shape)
        if self.free is not None and not self.free[:, 1:].any():
            raise ValueError("input_scale needs weights of Theta(1) that are trained; free has none of them")

    def start(self, optimizer: Rule, theta: NDArray[Any], kept: Any = None) -> dict[str, Any]:
        """A new state of the optimizer, with W and s from the state `kept`, or with W = Theta(1) and s = 1."""
        state = optimizer.init(np.concatenate([theta, np.ones(self.inputs, theta.dtype)]))
        if type(state) is not dict:
            raise TypeError("input_scale needs an optimizer whose state is a dict, which holds s too; "
                            f"{optimizer!r:.100} has a {type(state).__name__}")
        if any(name in state for name in NAMES):
            raise ValueError(f"input_scale keeps {' and '.join(NAMES)} in the state; {optimizer!r:.100} has such an "
                             "entry too")
        state[WEIGHTS] = np.array(theta[: self.size]) if kept is None else kept[WEIGHTS]
        state[SCALE] = np.ones(self.inputs, theta.dtype) if kept is None else kept[SCALE]
        return state

    def biases(self, bias: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        """The indices of all parameters that do not decay: the biases of theta (n,), and s."""
        return np.concatenate([bias, np.arange(n, n + self.inputs)])

    def check(self, state: Any, theta: NDArray[Any]) -> None:
        """Raise an error unless the state has W and s as `start` makes them."""
        checks.dictionary(state, "state")
        arrays = {name: entry(state, name, (n,), theta.dtype)
                  for name, n in zip(NAMES, (self.size, self.inputs), strict=True)}
        check_apart(theta, arrays)

    def of(self, state: dict[str, Any]) -> tuple[NDArray[Any], NDArray[Any], float]:
        """(W, s, the factor of its learning rate) for the compiled rule."""
        return state[WEIGHTS], state[SCALE], self.factor

    def product(self, state: dict[str, Any]) -> NDArray[Any]:
        """[b, W diag(s)]"""
        Theta: NDArray[Any] = state[WEIGHTS].reshape(self.shape).copy()
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            Theta[:, 1:] *= state[SCALE]
        return Theta

    def follow(self, theta: NDArray[Any], state: dict[str, Any]) -> None:
        """Where the caller has changed Theta(1): W := Theta(1) / s with the present s, or s := 1 where that fails."""
        self.check(state, theta)
        Theta, W, s = theta[: self.size].reshape(self.shape), state[WEIGHTS].reshape(self.shape), state[SCALE]
        moved = self.product(state) != Theta
        if self.free is not None:
            moved &= self.free
        if not moved.any():
            return
        with np.errstate(all="ignore"):
            quotient = Theta[:, 1:] / s
        lost = (moved[:, 1:] & ~np.isfinite(quotient)).any(axis=0) | ~np.isfinite(s)
        s[lost], quotient[:, lost], moved[:, 1:][:, lost] = 1, Theta[:, 1:][:, lost], True
        np.copyto(W[:, 1:], quotient, where=moved[:, 1:])
        np.copyto(W[:, 0], Theta[:, 0], where=moved[:, 0])

    def parameters(self, theta: NDArray[Any], state: dict[str, Any]) -> NDArray[Any]:
        """theta with W in place of Theta(1), then s: (n_parameters + s_1,)."""
        return np.concatenate([state[WEIGHTS], theta[self.size :], state[SCALE]])

    def slopes(self, D: NDArray[Any], state: dict[str, Any]) -> NDArray[Any]:
        """The derivative of J with respect to these parameters, from D = dJ/dtheta."""
        W, s = state[WEIGHTS].reshape(self.shape)[:, 1:], state[SCALE]
        D_1 = D[: self.size].reshape(self.shape)[:, 1:]
        of_s = np.sum(D_1.astype(np.float64) * W, axis=0).astype(D.dtype)
        own = np.concatenate([D, of_s])
        own[: self.size].reshape(self.shape)[:, 1:] *= s
        return own

    def put(self, parameters: NDArray[Any], theta: NDArray[Any], state: dict[str, Any]) -> None:
        """theta, W and s := these parameters."""
        n = len(theta)
        state[WEIGHTS][:], state[SCALE][:] = parameters[: self.size], parameters[n:]
        theta[self.size :] = parameters[self.size : n]
        self.fold(theta, state)

    def fold(self, theta: NDArray[Any], state: dict[str, Any]) -> None:
        """Theta(1) := [b, W diag(s)]"""
        theta[: self.size] = self.product(state).ravel()
