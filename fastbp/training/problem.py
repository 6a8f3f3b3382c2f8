"""The stages of `minimize`."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import words
from .._types import Doubles
from ..engine import blas, checks, explain, frozen, objective
from ..engine.initialize import warn_if_equal_units
from ..engine.regularisation import Regularisation
from ..network import Network
from . import curved, lbfgs

# Methods of scipy.optimize.minimize that take a gradient and need no Hessian, or products with it.
OF_SCIPY = ("L-BFGS-B", "CG", "BFGS", "TNC", "SLSQP", "trust-constr", *curved.METHODS)
METHODS = ("L-BFGS", *OF_SCIPY)
LIMITS = {"TNC": 3, "SLSQP": 9, "trust-constr": 0}     # status of a result that ended at a limit; 1 for all others
MANY = 2**31 - 1


@dataclass
class Problem:
    """The arguments of `minimize`, and its stages."""

    net: Network
    X: ArrayLike
    Y: ArrayLike
    sample_weight: ArrayLike | None
    method: Any
    penalties: dict[str, Any]
    """weight_decay, lam, l1"""
    maxiter: Any
    tol: Any
    callback: Callable[..., Any] | None
    options: dict[str, Any] | None
    n_threads: Any
    free: Any = None
    curvature: Any = None

    methods: ClassVar[tuple[str, ...]] = METHODS

    def told(self) -> dict[str, Any]:
        """The settings that must be the same on all ranks."""
        return {"method": self.method, **self.penalties, "maxiter": self.maxiter, "tol": self.tol,
                "options": self.options, "curvature": self.curvature}

    def solve(self) -> Any:
        """Run all stages; returns SciPy's result."""
        start = self.check()
        data = self.net.data(self.X, self.Y, self.sample_weight)
        warn_if_equal_units(self.net)
        return self.finish(self.search(start, data))

    def check(self) -> NDArray[np.float64]:
        """Check everything but the data; returns the theta to start from."""
        net, method = checks.network(self.net), self.method
        self.method = words.resolve(method, self.methods, words.METHODS) if isinstance(method, str) else None
        if self.method is None:
            raise ValueError(f"method is {method!r}; accepted are {', '.join(METHODS)}, lm")
        self.curvature = curved.check(self.curvature, self.method, net.plan)
        self.maxiter = checks.count(self.maxiter, "maxiter")
        if self.n_threads is not None:
            checks.count(self.n_threads, "n_threads")
        if self.tol is not None:
            self.tol = checks.number(self.tol, "tol")
        if self.callback is not None and not callable(self.callback):
            raise TypeError(f"callback must be callable; got {self.callback!r}")
        if self.options is not None and not isinstance(self.options, dict):
            raise TypeError(f"options must be a dict; got {self.options!r}")
        if self.method == "L-BFGS":
            self.options = {"maxiter": self.maxiter, **lbfgs.options({"maxfun": MANY} | (self.options or {}), self.tol)}
        self.free = frozen.mask(self.free, net.plan)
        self.regularisation(1.0)
        return checks.own_parameters(net.theta, net.plan, net.dtype).astype(np.float64)

    def regularisation(self, m: float) -> Regularisation:
        """The penalties of a cost over m examples."""
        return Regularisation.of(self.net.plan, m, **self.penalties)

    def search(self, start: NDArray[np.float64], data: Any) -> Any:
        """SciPy's result from this start."""
        dtype, regularisation = self.net.dtype, self.regularisation(data.weight * data.scale)

        def whole(x: Doubles) -> Doubles:
            """theta for these free parameters"""
            if self.free is None:
                return x
            theta = start.copy()
            theta[self.free] = x
            return theta

        hessp = None if self.curvature is None else curved.Curvature(
            self.curvature, data, regularisation, self.n_threads, whole, self.free, dtype)

        def J_and_D(x: Doubles) -> tuple[float, Doubles]:
            if hessp is not None and not np.isfinite(x).all():      # trust-krylov may propose NaN
                return math.inf, np.zeros_like(x)
            J, D = objective.cost_and_gradient(whole(x).astype(dtype, copy=False), data, regularisation, self.n_threads)
            return J, (D if self.free is None else D[self.free]).astype(np.float64, copy=False)

        first = start if self.free is None else start[self.free]
        if self.method == "L-BFGS":
            search = lbfgs.LBFGS(first, J_and_D, self.options or {})
            search.compile(data, regularisation, start.astype(dtype),
                           None if self.free is None else np.flatnonzero(self.free))
            result = self._run(search, whole)
        else:
            result = self._by_scipy(first, J_and_D, hessp)
        result.x = whole(result.x)
        return result

    def _by_scipy(
        self, first: NDArray[np.float64], J_and_D: Callable[..., Any], hessp: Callable[..., Any] | None,
    ) -> Any:
        from scipy.optimize import minimize

        limits = {"maxfun" if self.method == "TNC" else "maxiter": self.maxiter}
        if self.method == "L-BFGS-B":
            limits["maxfun"] = MANY     # SciPy's own limit of 15,000 would come first
        # SciPy's vectors are short, so BLAS threads do not pay off; trust-krylov multiplies NaN
        with blas.single_thread(everywhere=True), curved.quiet(self.curvature):
            return minimize(
                J_and_D, first, jac=True, hessp=hessp, method=self.method, tol=self.tol, callback=self.callback,
                options={**limits, **(self.options or {})},
            )

    def _run(self, search: lbfgs.LBFGS, whole: Callable[..., Any]) -> Any:
        """The result of our own L-BFGS. After Ctrl-C the network has the theta of the last iteration."""
        with blas.single_thread(everywhere=True):
            try:
                return search.finish(self.callback)
            except KeyboardInterrupt:
                _, x = search.best()
                if x is not None:
                    self.net.theta = whole(x)
                raise

    def finish(self, result: Any) -> Any:
        """theta := the best one found; returns the result. Ending at a limit is a warning."""
        self.net.theta = result.x
        if result.get("status") == LIMITS.get(self.method, 1):
            maxiter = (self.options or {}).get("maxiter", self.maxiter)
            explain.warn(f"minimize ended at its limit: {result.message}; maxiter is {maxiter}", RuntimeWarning)
        return result
