"""The Gaussian around a trained network: its curvature, the noise, the evidence. docs/math.md has the formulas."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._types import Doubles
from .equations import inverse

CONDITION = 1e14    # condition of H, scaled to a unit diagonal, from which H is refused
ROUNDS = 1000       # most updates of alpha and beta, and of sigma^2
SETTLED = 1e-13     # relative change that ends the updates


@dataclass
class Curvature:
    """The sums over the examples.

    Attributes
    ----------
    A : (n, n)
        B'B
    E : float
        sum w cost, half of rss
    x : (n,)
        The free parameters.
    m, N : float
        Sum of the weights; number of targets.
    squared : bool
        Is the loss half the squared error? Its noise sigma^2 is estimated; that of other losses is 1.
    shift : (n,), or None
        A direction of length 1 that changes nothing (softmax) and is projected out.
    """

    A: Doubles
    E: float
    x: Doubles
    m: float
    N: float
    squared: bool
    shift: Doubles | None


@dataclass
class Posterior:
    """theta ~ Normal(x, H^-1), H = R U'U R with R = diag(root).

    Attributes
    ----------
    U : (n, n)
        Upper triangular.
    root : (n,)
        The square roots of the diagonal of H.
    sigma2, gamma, log_evidence : float
    c : float or None
        The weight decay, if the evidence has chosen it.
    """

    U: Doubles
    root: Doubles
    sigma2: float
    gamma: float
    log_evidence: float
    c: float | None

    def whiten(self, J: Doubles) -> Doubles:
        """J H^-1/2 of rows J (any, n): the sum of squares of a row is J H^-1 J'"""
        from scipy.linalg.blas import dtrsm

        scaled = J / self.root
        found = dtrsm(1.0, self.U.T, scaled.T, lower=1)     # U' y = J'; .T is in Fortran order
        return found.T

    def draw(self, normal: Doubles) -> Doubles:
        """H^-1/2 of standard normal numbers (n, any)"""
        from scipy.linalg.blas import dtrsm

        return dtrsm(1.0, self.U.T, np.asfortranarray(normal), lower=1, trans_a=1) / self.root[:, np.newaxis]


def fit(seen: Curvature, decay: Doubles, decays: NDArray[np.bool_], precision: Doubles, chosen: bool) -> Posterior:
    """The posterior with a prior of precision m c / sigma^2 for each parameter that decays.

    decay (n,) : m c of each parameter, 0 without decay; ignored if chosen
    decays (n,) : the parameters that decay
    precision (n,) : precision of a further prior, not in units of sigma^2
    chosen : the evidence chooses one c
    """
    if chosen:
        decay = np.where(decays, 1e-3 * seen.m, 0.0)
    n = len(seen.x) - (seen.shift is not None)
    sigma2 = 2 * seen.E / seen.N if seen.squared else 1.0
    E_W = max(float(seen.x[decays] @ seen.x[decays]), 1e-300)
    check(seen, decay + max(sigma2, 1e-300) * precision)
    for _ in range(ROUNDS):
        prior = decay + sigma2 * precision      # in units of sigma^2, as A
        inverses = np.square(inverse(_cholesky(seen, prior))).sum(axis=1)   # the diagonal of (A + prior)^-1
        gamma = n - float(prior @ inverses)
        old = sigma2, float(decay.max(initial=0))
        if seen.squared:
            if seen.N - gamma <= 1e-9 * seen.N:
                raise ValueError(f"Y has {seen.N:g} targets, which {gamma:.4g} parameters fit exactly: nothing is left "
                                 "to tell the noise; give more weight_decay, or more examples")
            sigma2 = 2 * seen.E / (seen.N - gamma)
            if not sigma2 > 0:
                raise ValueError("net fits Y exactly: the noise sigma^2 is 0, and there is no posterior")
        if chosen:
            known = float(decays.sum()) - float(decay[decays] @ inverses[decays])      # gamma - u
            decay = np.where(decays, max(known, 1e-12) / E_W * sigma2, 0.0)
        new = sigma2, float(decay.max(initial=0))
        if all(abs(a - b) <= SETTLED * b for a, b in zip(old, new, strict=True)):
            break
    prior = decay + sigma2 * precision
    U, root, log_det = _factor(seen, prior, sigma2)
    return Posterior(U, root, sigma2, gamma, _log_evidence(seen, prior, sigma2, n, log_det),
                     float(decay[decays].max() / seen.m) if chosen else None)


def _matrix(seen: Curvature, prior: Doubles) -> Doubles:
    """A + prior, plus a term that gives the direction of the shift a curvature of its own"""
    H = seen.A + np.diag(prior)
    if seen.shift is not None:
        H += _weight(seen) * np.outer(seen.shift, seen.shift)
    return H


def _weight(seen: Curvature) -> float:
    """The curvature for the shift: that of its parameters. It cancels out of all results."""
    assert seen.shift is not None
    return float(np.diagonal(seen.A)[seen.shift != 0].mean()) or 1.0


def check(seen: Curvature, prior: Doubles) -> None:
    """Raise a ValueError if the condition shows that some direction is undetermined."""
    H = _matrix(seen, prior)
    d = np.diagonal(H)
    if not np.isfinite(H).all():
        raise ValueError("net has derivatives at these X that overflow")
    condition = math.inf
    if d.min() > 0:
        values = np.linalg.eigvalsh(H / np.sqrt(np.outer(d, d)))
        condition = values[-1] / values[0] if values[0] > 0 else math.inf
    if condition >= CONDITION:
        raise ValueError(f"weight_decay: the posterior is improper; scaled to a unit diagonal, its precision has a "
                         f"condition of {condition:.1e} (accepted is below {CONDITION:g}): parameters without decay "
                         "are not determined by these examples. Give bias_precision= for the biases, more "
                         "weight_decay, or fewer parameters (free=, last_layer=True)")


def _scaled(seen: Curvature, prior: Doubles) -> tuple[Doubles, Doubles]:
    """(A + prior scaled to a unit diagonal, the roots of its diagonal)"""
    H = _matrix(seen, prior)
    root = np.sqrt(np.diagonal(H))
    return H / np.outer(root, root), root


def _cholesky(seen: Curvature, prior: Doubles) -> Doubles:
    """U, U'U = A + prior"""
    H, root = _scaled(seen, prior)
    return _upper(H) * root


def _upper(H: Doubles) -> Doubles:
    U: Doubles = np.ascontiguousarray(np.linalg.cholesky(H).T)
    return U


def _factor(seen: Curvature, prior: Doubles, sigma2: float) -> tuple[Doubles, Doubles, float]:
    """(U, root, logdet H) of H = (A + prior) / sigma^2, without the shift in the determinant"""
    H, root = _scaled(seen, prior)
    U, root = _upper(H), root / math.sqrt(sigma2)
    log_det = 2 * float(np.log(np.diagonal(U)).sum() + np.log(root).sum())
    if seen.shift is not None:
        log_det -= math.log(_weight(seen) / sigma2)
    return U, root, log_det


def _log_evidence(seen: Curvature, prior: Doubles, sigma2: float, n: int, log_det: float) -> float:
    """-E / sigma^2 - prior x^2 / 2 - (N/2) log(2 pi sigma^2) + sum (1/2) log prior - logdet H / 2 + (u/2) log 2 pi"""
    on = prior > 0
    precision = prior[on] / sigma2
    total = -seen.E / sigma2 - 0.5 * float(precision @ seen.x[on] ** 2) + 0.5 * float(np.log(precision).sum())
    if seen.squared:
        total -= 0.5 * seen.N * math.log(2 * math.pi * sigma2)
    return total - 0.5 * log_det + 0.5 * (n - int(on.sum())) * math.log(2 * math.pi)
