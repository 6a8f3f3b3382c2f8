"""Levenberg-Marquardt: damped Gauss-Newton steps. The ratio of the gain to the predicted gain sets the damping.

Each step solves (B'B + decay + mu D) p = -g, where D holds the largest squared norms of the columns so far. mu follows
Nielsen (1999): mu max(1/3, 1 - (2 rho - 1)^3) after a step, mu nu after a failure, nu doubled each time.
"""

import math

import numpy as np

from .._types import Doubles
from .equations import Cholesky, Equations, Sums, Triangle

SMALL = 48          # free parameters up to which QR is fast enough
LARGEST_QR = 1500   # free parameters up to which QR finishes a search begun with Cholesky
START = 100.0       # mu of the first step with scaled columns; smaller values fail on NIST's BoxBOD
ROUNDING = 1e-13    # of F, relative
GAIN = (16 * np.finfo(np.float64).eps) ** 2     # smaller gains are rounding errors of the gradient
QUIET = 60          # steps in a row whose gain is below the rounding of F
MOST, TINY = 1e40, 1e-300   # mu

SMALL_STEP, NO_GAIN = "the step lies below rounding", "the predicted gain lies below rounding"
STUCK = "no step lowers J any more"


class Search:
    """A search from x.

    Attributes
    ----------
    x : (n,)
        The last accepted point; the equations are those at x.
    mu : float
    nit, nfev, njev : int
        Accepted steps; points at which only F was computed; points at which the equations were.
    """

    def __init__(self, sums: Sums, theta: Doubles, x: Doubles, decay: Doubles, mu: float = START, scaled: bool = True,
                 ) -> None:
        self._sums, self._theta, self._scaled = sums, theta, scaled
        self.equations: Equations = (Triangle if sums.n <= SMALL else Cholesky)(sums, theta, decay)
        self.x, self.mu, self._nu = x, mu, 2.0
        self.nit, self.nfev, self.njev, self._quiet = 0, 0, 0, 0
        self._largest = np.zeros(sums.n)
        self._form(x)

    def step(self) -> str | None:
        """Take one step; returns None, or why no step is left."""
        reason = self._step()
        if reason is None or isinstance(self.equations, Triangle) or self._sums.n > LARGEST_QR:
            return reason
        self.equations = Triangle(self._sums, self._theta, self.equations.decay)    # for the last digits
        self._quiet, self._nu, self.mu = 0, 2.0, min(self.mu, 1.0)
        self._form(self.x)
        return self._step()

    def set_decay(self, decay: Doubles) -> None:
        """Use another penalty from here on."""
        self.equations.set_decay(decay)
        self._quiet = 0

    def _form(self, x: Doubles) -> None:
        self.equations.form(x)
        self.njev += 1
        self._largest = np.maximum(self._largest, self.equations.diagonal)
        self._D = np.where(self._largest > 0, self._largest, 1.0) if self._scaled else np.ones_like(x)

    def _step(self) -> str | None:
        equations, eps = self.equations, np.finfo(np.float64).eps
        while True:
            damping = self.mu * self._D
            p = equations.solve(damping)
            if p is None or not np.isfinite(p).all():
                if self._fail():
                    return STUCK
                continue
            x = self.x + p
            if not (np.abs(p) > eps * np.abs(x)).any():
                return SMALL_STEP
            predicted = 0.5 * (float(damping @ (p * p)) - float(equations.g @ p))
            if predicted <= GAIN * equations.F:
                return NO_GAIN
            F, self.nfev = equations.cost(x), self.nfev + 1
            if predicted > ROUNDING * equations.F:
                rho, self._quiet = (equations.F - F) / predicted, 0
            else:   # the gain is below the rounding of F
                rho, self._quiet = float(F <= equations.F * (1 + ROUNDING)), self._quiet + 1
            if self._quiet > QUIET:
                return NO_GAIN
            if rho > 1e-4:      # False for NaN
                self.mu, self._nu = max(TINY, self.mu * max(1 / 3, 1 - (2 * min(rho, 2.0) - 1) ** 3)), 2.0
                self.x, self.nit = x, self.nit + 1
                self._form(x)
                return None
            if self._fail():
                return STUCK

    def _fail(self) -> bool:
        """Raise mu after a failure; returns True if it exceeds MOST."""
        self.mu, self._nu = self.mu * self._nu, self._nu * 2
        return not (self.mu < MOST and math.isfinite(self._nu))
