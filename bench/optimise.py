"""SciPy's L-BFGS-B for the peers that provide J and D."""

import numpy as np
from scipy.optimize import minimize


def lbfgs(objective, start, iterations):
    """Return SciPy's theta after this many iterations."""
    options = {"maxiter": iterations, "ftol": 0, "gtol": 0}
    return minimize(objective, start.astype(np.float64), jac=True, method="L-BFGS-B", options=options).x
