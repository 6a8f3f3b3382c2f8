"""Minimise J over all examples: our compiled L-BFGS, or scipy.optimize.minimize(jac=True) on J and D."""

from collections.abc import Callable
from typing import Any

from numpy.typing import ArrayLike

from .._types import Comm, Count, Free, Number, PerLayer
from ..distributed.group import Group
from ..keywords import explained
from ..network import Network
from .problem import Problem
from .ranks.minimize import RankProblem


@explained
def minimize(
    net: Network, X: ArrayLike, Y: ArrayLike, *, method: str = "L-BFGS-B", weight_decay: PerLayer = 0.0,
    lam: Number | None = None, l1: Number = 0.0, sample_weight: ArrayLike | None = None, maxiter: Count = 200,
    tol: Number | None = None, callback: Callable[..., object] | None = None, options: dict[str, Any] | None = None,
    n_threads: Count | None = None, comm: Comm | Group | None = None,
    free: Free | None = None, curvature: str | None = None,
) -> Any:  # scipy.optimize.OptimizeResult; importing it here would slow down every import of fastbp
    """Minimise J over all examples with a gradient method.

    Parameters
    ----------
    net : Network
        Its theta becomes the best found. SciPy works in float64, for float32 too.
    X, Y, weight_decay, lam, l1, sample_weight
        As for `Network.cost_and_gradient`. These methods ignore the kinks of l1: Theta_ij come near 0, but not to 0.
    method : str
        L-BFGS-B, CG, BFGS, TNC, SLSQP or trust-constr of SciPy, or with products of curvature Newton-CG, trust-ncg or
        trust-krylov; or L-BFGS: the compiled twin of L-BFGS-B. Its first iterates are the same (to rounding), and an
        iteration of a small network takes 3 to 8 us instead of 70 to 130.
    maxiter : int
        The largest number of iterations (for TNC of function evaluations).
    tol : float, optional
        Passed to SciPy; for L-BFGS it sets ftol and gtol, as it does for L-BFGS-B.
    callback : callable, optional
        Called after each iteration, as SciPy documents for the method; StopIteration stops.
    options : dict, optional
        Further options of the method; those of L-BFGS are maxcor, ftol, gtol, maxfun and maxls, as SciPy explains
        them for L-BFGS-B.
    n_threads : int, optional
        At most this many threads.
    comm : communicator, or fastbp.distributed.Group, optional
        Of mpi4py. Each rank passes its own rows and runs the same optimizer on J and D of all rows, from rank 0's
        theta. StopIteration on one rank stops all. See docs/distributed.md.
    free : (n_parameters,) bool, or list of int, optional
        The parameters that are searched: a mask like theta, or the numbers l of Theta(l), 1 .. L-1. All others keep
        their bits. SciPy, its callback and the arrays of its result but x know the free parameters alone.
    curvature : "hessian" or "gauss_newton", optional
        Of the last three methods: the exact second derivative of J (None means this one), or the Gauss-Newton matrix,
        which is positive semidefinite and converges linearly. See `Network.hessian_product`.

    Returns
    -------
    scipy.optimize.OptimizeResult
        x is the final theta (in float64), fun its J.

    Notes
    -----
    Nocedal and Wright, Numerical Optimization, algorithm 7.5, with the line search of Moré and Thuente (1994). Where J
    is not finite at the end of a step, L-BFGS halves the step. Ctrl-C in it leaves the theta of the last iteration.
    """
    problem = Problem(
        net, X, Y, sample_weight, method=method, penalties={"weight_decay": weight_decay, "lam": lam, "l1": l1},
        maxiter=maxiter, tol=tol, callback=callback, options=options, n_threads=n_threads, free=free,
        curvature=curvature,
    )
    return problem.solve() if comm is None else RankProblem(problem, comm).solve()
