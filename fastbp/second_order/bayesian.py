"""Bayesian regularisation: the weight decay that maximises the evidence (MacKay 1992; Foresee and Hagan 1997).

F = beta E_D + alpha E_W, E_D = sum e^2, E_W = the sum of the squares of the parameters that decay. After a search,
gamma of the parameters are well determined, and

    gamma = P - 2 alpha tr(I_pen H^-1),   H = 2 beta B'B + 2 alpha I_pen
    alpha = (gamma - u) / (2 E_W),   beta = (N - gamma) / (2 E_D)

for P free parameters, u of them without decay, and N = m K targets. The search minimises F / (2 beta), whose decay is
lam = alpha / beta.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._types import Doubles
from .equations import Equations, inverse
from .lm import Search

FIRST_DECAY, FIRST_STEPS = 1e-3, 30     # c and the steps before the first update: with gamma = P at the start and
#                                         N < P all weights would collapse to 0
STEPS = 15      # most steps between two updates
SETTLED = 1e-6  # largest relative gain of a step after which an update is due
NEARER = 0.1    # fraction of the last change of alpha and beta to which theta settles before the next change: otherwise
#                 the two would chase each other forever. F is quadratic in the error of theta.
TOL = 1e-6      # relative change of alpha and beta that ends the search
LEAST = 1e-13   # lam, relative to the largest squared norm of a column of B: noise-free data lead to 0
SINGULAR = 1e-7     # least fraction of a column that is independent of the others if its parameter is determined
CONVERGED = "alpha and beta have converged"


class Evidence(NamedTuple):
    """The hyperparameters, and the logarithm of the probability of the targets under them."""

    alpha: float
    beta: float
    gamma: float
    log_evidence: float


class Bayesian:
    """A search whose decay follows the evidence.

    Parameters
    ----------
    search : Search
    decays : (n,) bool
        The parameters that decay.
    m, scale : float
        The sum of the weights, in units of scale.
    K : int
        Outputs.
    tol : float, optional
        Relative change of alpha and beta that ends the search.
    """

    def __init__(self, search: Search, decays: NDArray[np.bool_], m: float, scale: float, K: int, tol: float | None,
                 ) -> None:
        self.search, self._decays, self._m, self._scale = search, decays, m, scale
        self._N, self._tol = m * scale * K, TOL if tol is None else tol
        self._steps, self._limit, self._last = 0, FIRST_STEPS, (math.inf, math.inf)
        self._settled = SETTLED
        self.lam, self._exact = FIRST_DECAY * m, False
        search.set_decay(self._decay())

    @property
    def c(self) -> float:
        """The weight decay: alpha / (beta m)"""
        return self.lam / self._m

    def step(self) -> str | None:
        """Take one step, and an update if it is due; returns None, or why no step is left."""
        F = self.search.equations.F
        reason = self.search.step()
        self._steps += 1
        gain = F - self.search.equations.F
        if reason is None and gain > self._settled * F and self._steps < self._limit:
            return None
        return self._update()

    def _update(self) -> str | None:
        found, last = self.evidence(), self._last
        now = math.log(found.alpha), math.log(found.beta)
        self._steps, self._limit, self._last = 0, STEPS, now
        equations = self.search.equations
        least = LEAST * float((equations.diagonal - equations.decay).max())
        self.lam = max(found.alpha / (found.beta * self._scale), least)
        self.search.set_decay(self._decay())
        change = max(abs(now[0] - last[0]), abs(now[1] - last[1]))
        self._settled = min(SETTLED, (NEARER * change) ** 2)
        exact, self._exact = self._exact and self.lam == least, self.lam == least
        return CONVERGED if change <= self._tol or exact else None

    def _decay(self) -> Doubles:
        return np.where(self._decays, self.lam, 0.0)

    def evidence(self) -> Evidence:
        """The evidence at the last point and decay."""
        equations, x = self.search.equations, self.search.x
        return evidence(equations, x, self._decays, self.lam, self._N, self._scale)


def evidence(
    equations: Equations, x: Doubles, decays: NDArray[np.bool_], lam: float, N: float, scale: float,
) -> Evidence:
    """alpha, beta and gamma that follow from the decay lam at x, and the log evidence under them."""
    U = equations.factor()
    if U is None or not _determined(U, ~decays):
        raise ValueError("bayesian: the curvature is singular, since some parameters that do not decay have no "
                         "effect on the outputs; let the biases decay (decay_bias=True), or fix them (free=)")
    P, u = len(x), int((~decays).sum())
    diagonal = np.square(inverse(U)[decays]).sum(axis=1)        # of (B'B + lam I_pen)^-1
    gamma = P - lam * float(diagonal.sum())
    E_D, E_W = max(2 * equations.E * scale, 1e-300), max(float(x[decays] @ x[decays]), 1e-300)
    alpha, beta = max(gamma - u, 1e-12) / (2 * E_W), max(N - gamma, 1e-12 * N) / (2 * E_D)
    log_det = 2 * float(np.log(np.abs(np.diagonal(U))).sum()) + P * math.log(2 * beta * scale)
    log_evidence = (-beta * E_D - alpha * E_W - N / 2 * math.log(math.pi / beta) + (P - u) / 2 * math.log(2 * alpha)
                    - log_det / 2 + u / 2 * math.log(2 * math.pi))
    return Evidence(alpha, beta, gamma, log_evidence)


def _determined(U: Doubles, flat: NDArray[np.bool_]) -> bool:
    """Do the examples determine the parameters without decay? If some direction of these has no effect, the last column
    in it depends on the others."""
    pivots, norms = np.abs(np.diagonal(U))[flat], np.sqrt(np.square(U[:, flat]).sum(axis=0))
    return bool((pivots > SINGULAR * norms).all())
