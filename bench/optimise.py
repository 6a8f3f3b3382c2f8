"""SciPy's L-BFGS-B for the peers that bring J and D of their own."""

import numpy as np
from scipy.optimize import minimize


def lbfgs(objective, start, iterations):
    """Return SciPy's theta after so many iterations."""
    options = {"maxiter": iterations, "ftol": 0, "gtol": 0}
    return minimize(objective, start.astype(np.float64), jac=True, method="L-BFGS-B", options=options).x
