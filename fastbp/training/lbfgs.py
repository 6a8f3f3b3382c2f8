"""L-BFGS on J of all examples in compiled code, with an interface like `scipy.optimize.minimize`."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._lbfgs import Search
from .._types import Doubles, Floats
from ..engine import checks, sums, threads
from ..engine.regularisation import Regularisation

WANTS, STEPPED, FLAT, LEVEL, ABNORMAL, SETTLED = range(6)       # what a Search returns
OPTIONS = {"maxcor": 10, "ftol": 2.220446049250313e-09, "gtol": 1e-5, "maxfun": 15000, "maxls": 20}
MESSAGES = {    # SciPy's words
    FLAT: "CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL",
    LEVEL: "CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH",
    ABNORMAL: "ABNORMAL: ",
}
HALTED = "STOP: CALLBACK REQUESTED HALT"
ITERATIONS = "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT"
EVALUATIONS = "STOP: TOTAL NO. OF F,G EVALUATIONS EXCEEDS LIMIT"


def options(given: dict[str, Any] | None, tol: float | None) -> dict[str, Any]:
    """The options of the method, checked; tol sets ftol and gtol, as in SciPy."""
    own = dict(OPTIONS) if tol is None else {**OPTIONS, "ftol": tol, "gtol": tol}
    for name, value in (given or {}).items():
        if name == "maxiter":
            own[name] = checks.count(value, "options['maxiter']")
        elif name not in own:
            raise ValueError(f"options of method L-BFGS are maxiter, {', '.join(OPTIONS)}; got {name!r}")
        elif isinstance(OPTIONS[name], int):
            own[name] = checks.count(value, f"options[{name!r}]")
        else:
            own[name] = checks.number(value, f"options[{name!r}]")
    return own


class LBFGS:
    """A search for the x with the smallest f, from `start`.

    start : (n,) float64, copied
    value : f and its gradient (n,) float64 at an x
    settings : of `options`, and maxiter
    """

    def __init__(
        self, start: Doubles, value: Callable[[Doubles], tuple[float, Doubles]], settings: dict[str, Any],
    ) -> None:
        self.value, self.n, self.compiled = value, len(start), False
        self.maxiter, self.maxfun = settings["maxiter"], settings["maxfun"]
        self.search = Search(start, settings["maxcor"], settings["ftol"], settings["gtol"], settings["maxls"])

    def compile(
        self, data: Any, regularisation: Regularisation, theta: Floats, places: NDArray[np.int64] | None,
        most: float = np.inf,
    ) -> None:
        """Let compiled code compute J and D by itself where it can: for few examples, at theta with x at these places.

        data : of one process; if a panel of examples costs more than `most`, `value` computes them.
        """
        plan, few = data.plan, getattr(data, "is_few", False)
        height = sums.height(plan, data.m, theta.dtype)
        if few and regularisation.in_J and (most == np.inf or height >= data.m):
            self.search.attach(
                plan.code, theta, places, data.examples(), height, data.weight, regularisation.c, regularisation.l1,
                most,
            )
            self.compiled = True

    def read(self, what: str) -> Doubles:
        """x, g or x0 (the x at the start of the iteration), each (n,), or S or Y (pairs, n)"""
        of_pairs = what in ("S", "Y")
        out = np.empty(self.n * self.search.pairs if of_pairs else self.n)
        self.search.read(what, out)
        return out.reshape(-1, self.n) if of_pairs else out

    def best(self) -> tuple[float, Doubles | None]:
        """f and x at the end of the last iteration; x is None before the first value."""
        return self.search.f0, self.read("x0") if self.search.evaluations else None

    def advance(self, iterations: int) -> int:
        """Continue to this total number of iterations, or to the end, but return after a while."""
        search = self.search
        if self.compiled and not search.asks:
            return search.run(threads.SLICE, iterations, self.maxfun)
        return search.tell(*self.value(self.read("x")))

    def finish(self, callback: Callable[..., Any] | None) -> Any:
        """Search until the end; returns SciPy's OptimizeResult, x of the searched parameters."""
        search, report, status, message = self.search, reporter(callback), WANTS, ""
        while not message:
            if status in (WANTS, SETTLED):      # settled: interrupted by its time limit
                status = self.advance(self.maxiter if report is None else search.iterations + 1)
            elif status == STEPPED:
                message = self._after_iteration(report)
                status = status if message else search.go_on()
            else:
                message = MESSAGES[status]
        return self.result(message, status)

    def _after_iteration(self, report: Callable[[Doubles, float], bool] | None) -> str:
        """The reason why the search ends after this iteration; empty if it continues."""
        search = self.search
        halted = report is not None and report(self.read("x"), search.f)
        if search.iterations >= self.maxiter:
            return ITERATIONS
        if search.evaluations > self.maxfun:
            return EVALUATIONS
        return HALTED if halted else ""

    def result(self, message: str, status: int) -> Any:
        from scipy.optimize import LbfgsInvHessProduct, OptimizeResult

        search, converged = self.search, status in (FLAT, LEVEL)
        limited = search.iterations >= self.maxiter or search.evaluations > self.maxfun
        return OptimizeResult(
            fun=search.f, jac=self.read("g"), nfev=search.evaluations, njev=search.evaluations, nit=search.iterations,
            status=0 if converged else 1 if limited else 2, message=message, x=self.read("x"), success=converged,
            hess_inv=LbfgsInvHessProduct(self.read("S"), self.read("Y")),
        )


def reporter(callback: Callable[..., Any] | None) -> Callable[[Doubles, float], bool] | None:
    """Calls the callback as SciPy does, with x or intermediate_result; returns True if it raises StopIteration."""
    if callback is None:
        return None
    named = _wants_result(callback)

    def report(x: Doubles, f: float) -> bool:
        from scipy.optimize import OptimizeResult

        try:
            if named:
                callback(intermediate_result=OptimizeResult(x=x, fun=f))
            else:
                callback(x)
        except StopIteration:
            return True
        return False

    return report


def _wants_result(callback: Callable[..., Any]) -> bool:
    try:
        return set(inspect.signature(callback).parameters) == {"intermediate_result"}
    except (TypeError, ValueError):     # a callable without a signature
        return False
