"""Minimise J over all examples by our compiled L-BFGS, by Levenberg-Marquardt, or by SciPy's optimizers."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from numpy.typing import ArrayLike

from .._types import Comm, Count, Examples, Flag, Free, Number, PerLayer
from ..distributed.group import Group
from ..keywords import explained
from ..network import Network
from .least_squares import LeastSquares, is_lm
from .problem import Problem
from .ranks.minimize import RankProblem


@explained
def minimize(
    net: Network, X: ArrayLike, Y: ArrayLike, *, method: str = "L-BFGS-B", weight_decay: PerLayer = 0.0,
    lam: Number | None = None, l1: Number = 0.0, sample_weight: ArrayLike | None = None, maxiter: Count = 200,
    tol: Number | None = None, callback: Callable[..., object] | None = None, options: dict[str, Any] | None = None,
    n_threads: Count | None = None, comm: Comm | Group | None = None,
    free: Free | None = None, bayesian: Flag = False, decay_bias: Flag | None = None,
    validation_data: Examples | None = None, max_fail: Count = 6, curvature: str | None = None,
) -> Any:  # scipy.optimize.OptimizeResult; importing it here would slow down every import of fastbp
    """Minimise J over all examples by L-BFGS, Levenberg-Marquardt, or SciPy's gradient and Newton methods.

    Parameters
    ----------
    net : Network
        Its theta becomes the best one found. The search runs in float64, also for float32 networks.
    X, Y, weight_decay, lam, l1, sample_weight
        As for `Network.cost_and_gradient`. These methods ignore the kinks of l1: Theta_ij come near 0, but not to 0.
    method : str
        - L-BFGS: the compiled twin of L-BFGS-B. Its first iterates are the same up to rounding, and an iteration of a
          small network takes 3 to 8 us instead of 30.
        - lm: Levenberg-Marquardt, by far the best for regression with up to some thousand parameters, for every loss
          except absolute_error, quantile and your own. It stores two arrays of n^2 numbers for n free parameters.
        - L-BFGS-B, CG, BFGS, TNC, SLSQP or trust-constr of SciPy; with curvature products also Newton-CG, trust-ncg or
          trust-krylov.
    maxiter : int
        Maximum number of iterations (for TNC, of function evaluations). Reaching it is a RuntimeWarning.
    tol : float, optional
        Passed to SciPy; for L-BFGS it sets ftol and gtol, as it does for L-BFGS-B. lm stops when max|D| <= tol, and
        with bayesian when the relative change of alpha and beta is below tol; None: when a step or its predicted gain
        is below rounding.
    callback : callable, optional
        Called after each iteration, as SciPy documents for the method. StopIteration stops; with lm, so does returning
        True.
    options : dict, optional
        Further options of the method. Those of L-BFGS are maxcor, ftol, gtol, maxfun and maxls, as SciPy explains them
        for L-BFGS-B. Those of lm are "mu", the first damping (100), and "scaling", "columns" or "none": the damping is
        mu times the largest squared norms of the columns of the Jacobian, or mu alone.
    n_threads : int, optional
        At most this many threads.
    comm : communicator, or fastbp.distributed.Group, optional
        A communicator of mpi4py. Each rank passes its own rows and runs the same optimizer on J and D of all rows, from
        rank 0's theta. StopIteration on one rank stops all. See docs/distributed.md.
    free : (n_parameters,) bool, or list of int, optional
        The parameters to optimise: a mask like theta, or the numbers l of Theta(l), 1 .. L-1. All others keep their
        bits. SciPy, its callback and the arrays of its result except x contain only the free parameters.
    bayesian : bool
        For lm with squared_error: the evidence chooses the weight decay (MacKay; Foresee and Hagan), without validation
        data.
    decay_bias : bool, optional
        For bayesian: do the biases decay? None: yes if there is a hidden layer, where it is necessary.
    validation_data : (X, Y) or (X, Y, sample_weight), optional
        For lm: it stops after max_fail steps in a row without a lower cost on these examples, and restores the best
        theta.
    max_fail : int
        See validation_data.
    curvature : "hessian" or "gauss_newton", optional
        For Newton-CG, trust-ncg and trust-krylov: the exact Hessian of J (the default), or the Gauss-Newton matrix,
        which is positive semidefinite and converges linearly. See `Network.hessian_product`.

    Returns
    -------
    scipy.optimize.OptimizeResult
        x is the final theta (in float64), fun its J. lm adds mu, val_J with validation_data, and alpha, beta, gamma,
        log_evidence and weight_decay with bayesian.

    Raises
    ------
    ValueError, TypeError
        The message names the argument. Nothing has changed.
    RankError
        Another rank has raised an exception.

    See Also
    --------
    train : Trains in batches, for larger data.
    Laplace : Error bars of the result.
    check_gradient

    Notes
    -----
    Nocedal and Wright, Numerical Optimization, algorithm 7.5, with the line search of Moré and Thuente (1994). Where J
    is not finite at the end of a step, L-BFGS halves the step. Ctrl-C in it or in lm leaves the theta of the last
    iteration.

    Examples
    --------
    >>> import numpy as np, fastbp
    >>> x = np.linspace(-1, 1, 41)[:, np.newaxis]
    >>> y = np.sin(3 * x) + 0.1 * np.random.default_rng(0).standard_normal(x.shape)
    >>> net = fastbp.Network([1, 20, 1], activation="tanh", output="identity", seed=0)
    >>> result = fastbp.minimize(net, x, y, method="lm", bayesian=True, maxiter=1000)
    >>> result.message
    'alpha and beta have converged'
    >>> bool(0.06 < (2 * result.beta) ** -0.5 < 0.12)      # the estimated noise
    True
    """
    arguments: dict[str, Any] = {
        "method": method, "penalties": {"weight_decay": weight_decay, "lam": lam, "l1": l1}, "maxiter": maxiter,
        "tol": tol, "callback": callback, "options": options, "n_threads": n_threads, "free": free,
        "curvature": curvature,
    }
    own: dict[str, Any] = {
        "bayesian": bayesian, "decay_bias": decay_bias, "validation_data": validation_data, "max_fail": max_fail,
    }
    problem: Problem
    if is_lm(method):
        problem = LeastSquares(net, X, Y, sample_weight, **arguments, **own)
    else:
        for (name, value), usual in zip(own.items(), (False, None, None, 6), strict=True):
            if value is not usual and not (isinstance(value, (bool, int)) and value == usual):
                raise ValueError(f"{name} goes with method='lm'; method is {method!r}")
        problem = Problem(net, X, Y, sample_weight, **arguments)
    with net._turn if isinstance(net, Network) else nullcontext():      # theta is read by its checks
        return problem.solve() if comm is None else RankProblem(problem, comm).solve()
