"""F = sum w cost + sum decay_j x_j^2 / 2 at a point x of the free parameters, and the damped steps there."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import _normal
from .._types import Doubles


class Sums(Protocol):
    """The sums over the examples: `engine.normal.NormalEquations`, or those of several ranks."""

    n: int
    form: int
    places: NDArray[np.int64]

    def costs(self, theta: Doubles) -> float: ...

    def add(self, theta: Doubles, A: Doubles, total: Doubles) -> None: ...

    def triangle(self, theta: Doubles) -> tuple[Doubles, Doubles]: ...


class Equations:
    """The base of both ways of solving.

    Parameters
    ----------
    sums : Sums
    theta : (n_parameters,)
        Holds the parameters that are not free.
    decay : (n,)
        m c of each free parameter; 0 without decay.

    Attributes
    ----------
    E, F : float
        sum w cost at the last point of `form`, without and with the penalty.
    g : (n,)
        dF/dx
    diagonal : (n,)
        The squared norms of the columns of B, and decay.
    """

    def __init__(self, sums: Sums, theta: Doubles, decay: Doubles) -> None:
        self.sums, self.n, self._theta, self.decay = sums, sums.n, theta.copy(), decay
        self.E = self.F = np.inf
        self._x = self.g = self._own_g = self._own_diagonal = np.empty(0)

    def whole(self, x: Doubles) -> Doubles:
        """theta with these free parameters; the next call overwrites the array"""
        if self.n == len(self._theta):
            return x
        self._theta[self.sums.places] = x
        return self._theta

    def cost(self, x: Doubles) -> float:
        """F at x"""
        return self.sums.costs(self.whole(x)) + 0.5 * float(self.decay @ (x * x))

    def form(self, x: Doubles) -> None:
        """Compute the sums at x."""
        self._x, total = x, self._take(self.whole(x))
        self.E, self._own_g = float(total[0]), total[1:]
        self.set_decay(self.decay)

    def set_decay(self, decay: Doubles) -> None:
        """F, g and diagonal with another penalty."""
        self.decay = decay
        penalty = decay * self._x
        self.F, self.g = self.E + 0.5 * float(penalty @ self._x), self._own_g + penalty
        self.diagonal = self._own_diagonal + decay

    def _take(self, theta: Doubles) -> Doubles:
        """Sum at theta; returns (1 + n,): sum w cost and its gradient."""
        raise NotImplementedError   # pragma: no cover

    def solve(self, damping: Doubles) -> Doubles | None:
        """-(B'B + decay + damping)^-1 g; None where the matrix is singular to working precision"""
        raise NotImplementedError   # pragma: no cover

    def factor(self) -> Doubles | None:
        """U, upper triangular, U'U = B'B + decay; None where it is singular to working precision"""
        raise NotImplementedError   # pragma: no cover


class Cholesky(Equations):
    """Solve by the Cholesky factor of B'B + decay + damping."""

    def __init__(self, sums: Sums, theta: Doubles, decay: Doubles) -> None:
        super().__init__(sums, theta, decay)
        n = self.n
        self._A, self._factor, self._total = np.empty(n * n), np.empty(n * n), np.empty(1 + n)

    def _take(self, theta: Doubles) -> Doubles:
        self._A.fill(0)
        self._total.fill(0)
        self.sums.add(theta, self._A, self._total)
        self._own_diagonal = self._A[:: self.n + 1].copy()
        return self._total.copy()

    def solve(self, damping: Doubles) -> Doubles | None:
        p = np.empty(self.n)
        return p if _normal.solve(self._A, self.decay + damping, self.g, self._factor, p, self.n) else None

    def factor(self) -> Doubles | None:
        fine = _normal.solve(self._A, self.decay, self.g, self._factor, np.empty(self.n), self.n)
        return np.triu(self._factor.reshape(self.n, self.n)) if fine else None


class Triangle(Equations):
    """Solve by the QR decomposition of [B; sqrt(decay); sqrt(damping)], without B'B, which would square the condition.
    """

    def _take(self, theta: Doubles) -> Doubles:
        total, self._R = self.sums.triangle(theta)
        self._own_diagonal = np.einsum("ij,ij->j", self._R[:, :-1], self._R[:, :-1])
        return total

    def set_decay(self, decay: Doubles) -> None:
        super().set_decay(decay)
        on, root = np.flatnonzero(decay), np.sqrt(decay)
        rows = np.zeros((len(on), self.n + 1))
        rows[range(len(on)), on], rows[:, -1] = root[on], (root * self._x)[on]
        self._stack = np.vstack([self._R, rows])

    def solve(self, damping: Doubles) -> Doubles | None:
        rows = np.zeros((self.n, self.n + 1))
        rows[:, :-1].flat[:: self.n + 1] = np.sqrt(damping)
        R = triangle(np.vstack([self._stack, rows]))
        U = R[: self.n, : self.n]
        if not _regular(U):
            return None
        if self.sums.form == 0:     # half squared error: |B p + r| is least
            return -_solve(U, R[: self.n, -1])
        return -_solve(U, _solve(U, self.g, transposed=True))

    def factor(self) -> Doubles | None:
        R = triangle(self._stack)
        U = R[: self.n, : self.n]
        return U if len(U) == self.n and _regular(U) else None


def triangle(rows: Doubles) -> Doubles:
    """R of the QR decomposition"""
    R: Any = np.linalg.qr(rows, mode="r")
    return R


def _regular(U: Doubles) -> bool:
    diagonal = np.abs(np.diagonal(U))
    return bool(len(U) and np.isfinite(diagonal).all() and diagonal.min() > 0)


def _solve(U: Doubles, b: Any, transposed: bool = False) -> Any:
    """U^-1 b, or U'^-1 b"""
    from scipy.linalg.lapack import dtrtrs

    x, _ = dtrtrs(U.T, b, lower=1, trans=0 if transposed else 1)     # U.T is in Fortran order
    return x


def inverse(U: Doubles) -> Doubles:
    """U^-1 of an upper triangle"""
    from scipy.linalg.lapack import dtrtri

    found, _ = dtrtri(np.ascontiguousarray(U).T, lower=1)
    return found.T
