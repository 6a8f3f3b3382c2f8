"""Warnings of the estimators, in scikit-learn's words and from its frames."""

from contextlib import suppress

from sklearn.exceptions import ConvergenceWarning

from ..engine import explain

NON_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)
READ_ONLY = (
    "output array is read-only: call setflags(write=True) on the arrays of coefs_ and intercepts_ to train further"
)


def say(line):
    """Print a line of a verbose fit. A broken stream ends the reports, never the fit."""
    with suppress(Exception):
        print(line)


def warn(message, category=UserWarning):
    """Warn from a frame of scikit-learn if the call came through one, so that filters by the module "sklearn" work."""
    explain.warn(message, category, among=lambda module: module.startswith("sklearn."))


def warn_unless_converged(result, max_iter):
    """Warn as scikit-learn does if L-BFGS has not converged."""
    if result.status == 0:
        return
    iterations = min(result.nit, max_iter)
    more = f"\nIncrease the number of iterations to improve the convergence (max_iter={max_iter})."
    warn(
        f"lbfgs failed to converge after {iterations} iteration(s) (status={result.status}):\n{result.message}\n"
        f"{more if iterations == max_iter else ''}\nYou might also want to scale the data as shown in:\n"
        "    https://scikit-learn.org/stable/modules/preprocessing.html",
        ConvergenceWarning,
    )
