"""Steps along gradients that come from outside, and their forward pass."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _epoch
from .._backprop import Examples
from .._types import Floats
from ..engine import checks, outside
from .steps import Steps

NO_PASS = ("with dropout, gradient belongs to the masks of a forward pass: call trainer.forward(X), with this same "
           "object X, before each step(X, gradient=G), and do not change theta in between")

NO_MASKS = 0, 0
NOTHING = None, None, None


class Outside:
    """Forward passes with the masks of the next step, and steps along G = dJ/dz(L) or along D.

    The last forward pass is kept: the step uses it if X is the same object and theta has not moved.
    """

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self._drops = bool(steps.dropout)
        self._few = outside.few(steps.plan, steps.theta.dtype, keeps=True)
        # The last forward pass: X as given, and as passed on; theta, masks and workspaces if there are more than a few
        # examples. It is replaced in one operation, since several threads may call.
        self._last: tuple[Any, Any, tuple[Any, ...] | None] = NOTHING

    def forward(self, X: ArrayLike) -> Floats:
        """z(L) of the examples, (m, K) or (K,)."""
        steps, masks = self.steps, self._masks() if self._drops else NO_MASKS
        theta = steps.theta
        self._last, kept = NOTHING, None
        z = self._few.forward(X, theta, *masks) if theta is steps.net._theta else None
        if z is not None:
            self._last = X, X, None
            return z
        rows, one_row = checks.inputs(X, steps.plan.layer_sizes[0], steps.theta.dtype)
        self._check()
        z = self._few.forward(rows, steps.theta, *masks)
        if z is None:
            rows = np.array(rows)   # the caller may change X before the step
            with steps.net._turn:   # for the masks too
                steps.set_masks()
                work = outside.room(steps.plan, len(rows), steps.theta.dtype)
                z = outside.forward(steps.plan, steps.theta, Examples(rows), len(rows), kept=work,
                                    n_threads=steps.n_threads)
                kept = steps.theta.copy(), masks, work
        self._last = X, rows, kept
        return z[0] if one_row else z

    def step(self, X: ArrayLike, G: Any) -> None:
        """Take one step along D for this G."""
        steps, (given, passed, kept) = self.steps, self._last
        rows: Any = passed if X is given else X
        m = float(len(G)) / steps.unit if steps._regularisation.batch_lam and np.ndim(G) > 1 else 1.0
        stepper = steps.prepared() if kept is None else None
        if stepper is None or not self._few.step(
            rows, G, steps.theta, stepper.rule, stepper.rate, m, *(self._masks() if self._drops else NO_MASKS)
        ):
            with steps.net._turn:
                self._follow(self._checked(X, G, rows, kept if rows is passed else None), "gradient", m)
        self._last = NOTHING

    def apply(self, D: ArrayLike) -> None:
        """Take one step along D."""
        if self.steps.regularisation.batch_lam:
            raise ValueError("batch_lam needs the number of examples, which apply(D) does not know; use weight_decay")
        self._follow(D, "D", 1.0)
        self._last = NOTHING

    def _masks(self) -> tuple[int, int]:
        """Seed and step of the masks of the next step."""
        return (self.steps.dropout_seed, int(self.steps.taken[0])) if self._drops else NO_MASKS

    def _check(self) -> Floats:
        """theta, finite, after a check that the network is still the same"""
        self.steps.check_network()
        return checks.own_parameters(self.steps.theta, self.steps.net.plan, self.steps.net.dtype)

    def _checked(self, X: ArrayLike, G: Any, rows: Any, kept: tuple[Any, ...] | None) -> Floats:
        """D for this G; all arguments are checked."""
        steps, plan = self.steps, self.steps.plan
        given, one_row = checks.inputs(X, plan.layer_sizes[0], steps.theta.dtype)
        K, theta = plan.layer_sizes[-1], self._check()
        slopes = checks.slopes(G, (K,) if one_row else (len(given), K), theta.dtype, "gradient")
        masks, again, work = self._masks(), True, None
        if kept is not None:
            then, others, work = kept
            again = masks != others or not np.array_equal(theta, then)
        else:
            rows = given if not isinstance(rows, np.ndarray) else rows
            D = self._few.backward(rows, slopes[0] if rows.ndim == 1 else slopes, theta, False, False, None, *masks)
            if D is not None:
                return D
        if again and self._drops:
            raise ValueError(NO_PASS)
        steps.set_masks()
        D = np.zeros_like(theta)
        outside.backward(plan, theta, Examples(given if again else rows), len(given), slopes, Delta=D,
                         kept=None if again else work, n_threads=steps.n_threads)
        if work is not None:
            self._last = NOTHING    # used up
        return D

    def _follow(self, D: ArrayLike, name: str, m: float) -> None:
        """Take one step of the rule along D, with penalties and clipping of a batch of m examples (units of weight)."""
        steps = self.steps
        stepper = steps.prepared()
        if stepper is not None and type(D) is np.ndarray and stepper.apply(D, m):
            return
        with steps.net._turn:
            self._follow_checked(D, name, m)

    def _follow_checked(self, D: ArrayLike, name: str, m: float) -> None:
        steps, theta = self.steps, self._check()
        if name != "D" and not np.isfinite(D).all():
            raise ValueError("gradient leads to a D that is not finite")
        steps.Delta[:] = checks.parameters(D, steps.net.plan, theta.dtype, name)
        if steps.compiled is None:
            steps.learn(m, steps.unit, 1.0)
        else:
            _epoch.step(steps.net.plan.code, theta, m, steps.compiled_rule(steps.unit), steps.rates(1),
                        steps.Delta, 1.0)
