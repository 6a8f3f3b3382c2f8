"""SciPy's optimizers on the full batch: J and D are what scipy.optimize.minimize(jac=True) asks for."""

import numpy as np

from . import checks, gradient
from .initialize import warn_if_equal_units
from .regularisation import Regularisation

# Methods of scipy.optimize.minimize that take a gradient and need no Hessian.
METHODS = ("L-BFGS-B", "CG", "BFGS", "TNC", "SLSQP", "trust-constr")


def minimize(
    net, X, Y, *, method="L-BFGS-B", weight_decay=0.0, lam=None, l1=0.0, sample_weight=None, maxiter=200, tol=None,
    callback=None, options=None, n_threads=None,
):
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

    Returns
    -------
    scipy.optimize.OptimizeResult
        x is the final theta (in float64), fun its J.
    """
    from scipy.optimize import minimize as scipy_minimize

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
    data = net.data(X, Y, sample_weight)
    penalties = Regularisation.of(net.plan, data.weight * data.scale, weight_decay=weight_decay, lam=lam, l1=l1)
    start = checks.parameters(net.theta, net.plan, net.dtype, "net.theta").astype(np.float64)
    warn_if_equal_units(net, stacklevel=2)

    def objective(x):
        J, D = gradient.cost_and_gradient(net.plan, x.astype(net.dtype, copy=False), data, penalties, n_threads)
        return J, D.astype(np.float64, copy=False)

    limit = "maxfun" if method.upper() == "TNC" else "maxiter"
    result = scipy_minimize(
        objective, start, jac=True, method=method, tol=tol, callback=callback,
        options={limit: maxiter, **(options or {})},
    )
    net.theta = result.x
    return result
