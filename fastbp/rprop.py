"""RPROP, the optimizer that uses only the signs of D."""

from typing import Any

import numpy as np

from ._types import Floats, Number, State
from .base import Optimizer, slots_of
from .engine import checks
from .keywords import explained


class RPROP(Optimizer):
    """RPROP: a full-batch method that uses only the signs of the gradient.

    Each parameter has a step size in [least, most]. It is multiplied by eta_plus if D has the same sign as in the last
    step. It is multiplied by eta_minus, and D := 0, if the signs differ. Then theta := theta - sign(D) step.

    Igel & Huesken, Empirical evaluation of the improved Rprop learning algorithms, 2003: iRprop-, as torch.optim.Rprop.
    Use it with batch_size=None: the signs of D change by chance from batch to batch.

    Parameters
    ----------
    learning_rate : float
        The first step of every parameter.
    eta_minus, eta_plus : float
        eta_minus is in (0, 1], eta_plus at least 1.
    least, most : float
        Bounds of the steps.

    See Also
    --------
    LBFGS : It also needs all examples at once.

    Examples
    --------
    >>> import fastbp
    >>> X, y = fastbp.datasets.load_digits()
    >>> net = fastbp.Network([64, 20, 10], output="softmax", seed=0)
    >>> history = fastbp.train(net, X / 16, y, optimizer=fastbp.optimizers.RPROP(), epochs=5, batch_size=None, seed=0)
    >>> history.J[-1] < history.J[0]
    True
    """

    compiled = "rprop"
    slots: tuple[str, ...] = ("last", "step")

    @explained
    def __init__(
        self, learning_rate: Number = 0.01, eta_minus: Number = 0.5, eta_plus: Number = 1.2, least: Number = 1e-06,
        most: Number = 50.0,
    ) -> None:
        self.learning_rate = checks.number(learning_rate, "learning_rate", open_low=True)
        self.eta_minus = checks.number(eta_minus, "eta_minus", high=1, open_low=True, open_high=False)
        self.eta_plus = checks.number(eta_plus, "eta_plus", low=1)
        self.least = checks.number(least, "least", open_low=True)
        self.most = checks.number(most, "most", low=self.least)

    def init(self, theta: Floats) -> State:
        with np.errstate(over="ignore"):    # infinite if theta's dtype cannot hold the number
            return {**super().init(theta), "step": np.full_like(theta, self.learning_rate)}

    def update(self, theta: Floats, D: Floats, state: State) -> None:
        last, step = slots_of(state, theta, "last", "step")
        state["t"] += 1
        turn = np.sign(D) * np.sign(last)
        step[turn > 0] *= self.eta_plus
        step[turn < 0] *= self.eta_minus
        np.clip(step, self.least, self.most, out=step)
        last[:] = np.where(turn < 0, 0, D)
        theta -= np.sign(last) * step

    def settings(self) -> tuple[Any, ...]:
        return self.learning_rate, self.eta_minus, self.eta_plus, self.least, self.most


RPROP.__module__ = "fastbp.optimizers"     # its documented place, the name in files
