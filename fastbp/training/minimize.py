"""SciPy's optimizers on the full batch: J and D are what scipy.optimize.minimize(jac=True) asks for."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeResult

from ._types import Comm, Count, Number, PerLayer
from .distributed import group as distributed
from .distributed.group import Group
from .distributed.shard import Shard
from .engine import blas, checks
from .engine.data import Data
from .engine.initialize import warn_if_equal_units
from .engine.regularisation import Regularisation
from .network import Network

# Methods of scipy.optimize.minimize that take a gradient and need no Hessian.
METHODS = ("L-BFGS-B", "CG", "BFGS", "TNC", "SLSQP", "trust-constr")


def minimize(
    net: Network, X: ArrayLike, Y: ArrayLike, *, method: str = "L-BFGS-B", weight_decay: PerLayer = 0.0,
    lam: Number | None = None, l1: Number = 0.0, sample_weight: ArrayLike | None = None, maxiter: Count = 200,
    tol: Number | None = None, callback: Callable[..., object] | None = None, options: dict[str, Any] | None = None,
    n_threads: Count | None = None, comm: Comm | Group | None = None,
) -> OptimizeResult:
    """Minimise J over all examples with a gradient method of SciPy.

    Parameters
    ----------
    net : Network
        Its theta becomes the best found; in float32 too SciPy works in float64.
    X, Y, weight_decay, lam, l1, sample_weight
        As for `Network.cost_and_gradient`. With l1 J has kinks that these methods do not know of: Theta_ij come near
        0, not to it.
    method : str
        L-BFGS-B, CG, BFGS, TNC, SLSQP or trust-constr.
    maxiter : int
        Iterations at most (for TNC function evaluations).
    tol : float, optional
        Passed to SciPy.
    callback : callable, optional
        Called after each iteration as SciPy documents it for the method; StopIteration stops.
    options : dict, optional
        Further options of the method.
    n_threads : int, optional
        At most this many threads.
    comm : communicator, or fastbp.distributed.Group, optional
        Of mpi4py: each rank passes its own rows, and runs the same optimizer on the J and D of all, from rank 0's
        theta; StopIteration on one rank stops all. docs/distributed.md

    Returns
    -------
    scipy.optimize.OptimizeResult
        x is the final theta (in float64), fun its J.
    """
    from scipy.optimize import minimize as scipy_minimize

    def check():
        nonlocal maxiter, tol
        checks.network(net)
        if not isinstance(method, str) or method.lower() not in [name.lower() for name in METHODS]:
            raise ValueError(f"method is {method!r}; accepted are {', '.join(METHODS)}")
        maxiter = checks.count(maxiter, "maxiter")
        if n_threads is not None:
            checks.count(n_threads, "n_threads")
        if tol is not None:
            tol = checks.number(tol, "tol")
        if callback is not None and not callable(callback):
            raise TypeError(f"callback must be callable; got {callback!r}")
        if options is not None and not isinstance(options, dict):
            raise TypeError(f"options must be a dict; got {options!r}")
        penalties(1.0)
        return checks.parameters(net.theta, net.plan, net.dtype, "net.theta").astype(np.float64)

    def penalties(m):
        return Regularisation.of(net.plan, m, weight_decay=weight_decay, lam=lam, l1=l1)

    group = distributed.group(comm)
    with group.guard():
        start = group.section(check)
        if group.together:
            data = _shared(group, net, X, Y, sample_weight, start, {
                "method": method, "weight_decay": weight_decay, "lam": lam, "l1": l1, "maxiter": maxiter, "tol": tol,
                "options": options})
            callback = _together(group, callback)
        else:
            data = net.data(X, Y, sample_weight)
        added = penalties(data.weight * data.scale)
        group.section(lambda: warn_if_equal_units(net, stacklevel=4) if group.rank == 0 else None)

        def objective(x):
            J, D = objective.cost_and_gradient(x.astype(net.dtype, copy=False), data, added, n_threads)
            return J, D.astype(np.float64, copy=False)

        limit = "maxfun" if method.upper() == "TNC" else "maxiter"
        try:
            result = scipy_minimize(
                objective, start, jac=True, method=method, tol=tol, callback=callback,
                options={limit: maxiter, **(options or {})},
            )
        except Exception as error:
            if not isinstance(error, MemoryError):      # of this rank alone
                group.alike(error)      # SciPy goes the same way on every rank
            raise
        if group.together:
            group.agree("minimize", {"result.x": result.x})
        net.theta = result.x
    return result


def _shared(group, net, X, Y, sample_weight, start, settings):
    """This rank's rows; start := that of rank 0"""
    settings |= {**net._settings(), "init": None, "scipy": scipy.__version__,
                 "BLAS": [getattr(library, "architecture", None) for library in blas.libraries()]}
    data = Shard(group, lambda: Data(net.plan, net.dtype, X, Y, sample_weight, shard=True), "minimize", settings)
    group.share(start)
    return data


def _together(group, callback):
    """The callback of each rank, those that have none among them, as a section; what stops one stops all."""
    if not group.agreed(None if callback is None else "there is one")[0]:
        return None

    def call(*args, **kwargs):
        try:
            return callback is not None and callback(*args, **kwargs) and "true", None
        except StopIteration:
            return None, "StopIteration"

    def told(*args, **kwargs):
        ended, stop = group.agreed(*(reason or None for reason in group.section(lambda: call(*args, **kwargs))))
        if stop:
            raise StopIteration
        return bool(ended)

    return told if callback is None else wraps(callback)(told)
