"""Penalties added to J and D, and the clipping of D before the update rule."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .._types import Doubles, Floats, Layout, Number, PerLayer
from . import checks
from .plan import Plan


@dataclass(frozen=True)
class Regularisation:
    """Penalties and clipping, checked against one network; the readable twin of src/_update.pxd.

    J += sum_l (c_l/2) sum_ij Theta(l)_ij^2 + l1 sum_lij ``|Theta(l)_ij|``,  D(l) += c_l Theta(l) + l1 sign(Theta(l)),
    j >= 1; then every D_ij is cut to [-clip_value, clip_value], and D scaled so that ``|D|`` <= clip_norm.

    Attributes
    ----------
    c : tuple of float
        One for each Theta.
    l1 : float
    batch_lam : float
        A batch of weight m_b adds batch_lam / m_b to every c_l.
    clip_value, clip_norm : float
        Infinite if nothing is clipped. The norm is that of all layers together, after clip_value.
    """

    c: tuple[float, ...]
    l1: float = 0.0
    batch_lam: float = 0.0
    clip_value: float = inf
    clip_norm: float = inf

    @classmethod
    def of(
        cls, plan: Plan, m: float, *, weight_decay: PerLayer = 0.0, lam: Number | None = None, l1: Number = 0.0,
        batch_lam: Number = 0.0, clip_value: Number | None = None, clip_norm: Number | None = None,
    ) -> Self:
        """From a caller's arguments; m is the one of lam / m."""
        c = checks.coefficients(weight_decay, lam, m, len(plan.shapes))
        return cls(c, checks.number(l1, "l1"), checks.number(batch_lam, "batch_lam"),
                   checks.limit(clip_value, "clip_value"), checks.limit(clip_norm, "clip_norm"))

    def with_(self, **settings: Any) -> Self:
        """The same with other settings, checked."""
        return replace(self, **{name: CHECKS[name](self, value, name) for name, value in settings.items()})

    @property
    def decay_alone(self) -> bool:
        """Is D made of Delta and c alone, the same c for every batch?"""
        return self.l1 == self.batch_lam == 0 and self.clip_value == self.clip_norm == inf

    @property
    def in_J(self) -> bool:
        """Is D that of J, neither clipped nor of a batch?"""
        return self.batch_lam == 0 and self.clip_value == self.clip_norm == inf

    def code(self, scale: float = 1.0) -> Doubles:
        """The same for the compiled core; weights of examples are in units of scale."""
        return np.array([self.l1, self.batch_lam / scale, self.clip_value, self.clip_norm, *self.c])

    def coefficients(self, m: float) -> list[float]:
        """c of each Theta in a batch of weight m"""
        return [c + self.batch_lam / m for c in self.c]

    def check_batches(self, m_b: Any, scale: float = 1.0) -> None:
        """Raise a ValueError if weights make batch_lam / m_b too large for a batch; m_b is in units of scale."""
        if not self.batch_lam:
            return
        m_b = np.asarray(m_b, np.float64)
        with np.errstate(divide="ignore", over="ignore"):
            large = (m_b > 0) & (self.batch_lam / scale / m_b > checks.LARGEST_32) & (m_b * scale < 1)
        if large.any():
            raise ValueError(f"batch_lam / m_b (alpha / m_b of the estimators) is too large: batch_lam is "
                             f"{self.batch_lam:g}, and m_b, the sum of sample_weight in a batch, is "
                             f"{float(m_b[large].min()) * scale:g}")

    def penalty(self, plan: Layout, theta: Floats, m: float) -> float:
        """sum_l (c_l/2) sum Theta(l)_ij^2 + l1 sum ``|Theta(l)_ij|``, j >= 1"""
        total = 0.0
        with np.errstate(over="ignore"):
            for c, Theta in zip(self.coefficients(m), plan.views(theta), strict=True):
                if c != 0:
                    total += 0.5 * c * float(np.sum(np.square(Theta[:, 1:], dtype=np.float64)))
                if self.l1 != 0:
                    total += self.l1 * float(np.sum(np.abs(Theta[:, 1:]), dtype=np.float64))
        return total

    def regularise(
        self, plan: Layout, theta: Floats, Delta: Floats, m: float, scale: float = 1.0, divisor: float | None = None,
        free: NDArray[np.bool_] | None = None,
    ) -> Floats:
        """D = Delta / n + c_l Theta + l1 sign(Theta) (j >= 1);  D = Delta / n (j = 0), written into Delta.

        `clip` comes after it. D is 0 where theta is not free. n is the divisor; None: m. Weights of examples, and so m
        and the divisor, are in units of scale.
        """
        Delta /= m if divisor is None else divisor
        for c, D, Theta in zip(self.coefficients(m * scale), plan.views(Delta), plan.views(theta), strict=True):
            if c != 0:
                D[:, 1:] += Theta.dtype.type(c) * Theta[:, 1:]
            if self.l1 != 0:
                D[:, 1:] += Theta.dtype.type(self.l1) * np.sign(Theta[:, 1:])
        if free is not None:
            Delta[~free] = 0
        return Delta

    def clip(self, D: Floats) -> Floats:
        """D, clipped in place."""
        if self.clip_value < inf:
            np.clip(D, -self.clip_value, self.clip_value, out=D)
        if self.clip_norm < inf:
            norm = float(np.sqrt(np.sum(np.square(D, dtype=np.float64))))
            if norm > self.clip_norm:
                D *= D.dtype.type(self.clip_norm / norm)
        return D


# The check of each setting that may change between steps.
CHECKS: dict[str, Callable[[Regularisation, Any, str], Any]] = {
    "c": lambda self, value, _: checks.coefficients(value, None, 1, len(self.c)),
    "l1": lambda _, value, name: checks.number(value, name),
    "batch_lam": lambda _, value, name: checks.number(value, name),
    "clip_value": lambda _, value, name: checks.limit(value, name),
    "clip_norm": lambda _, value, name: checks.limit(value, name),
}


def none(plan: Plan) -> Regularisation:
    """No penalty, no clipping."""
    return Regularisation((0.0,) * len(plan.shapes))
