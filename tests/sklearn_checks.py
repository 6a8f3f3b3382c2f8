"""check_estimator over classes and solvers, as JSON: test_sklearn_suites.py runs it in a separate process.

python sklearn_checks.py fastbp|sklearn float64|float32 [max_iter] -> {"MLPRegressor sgd": {check: [status, exception]}}
"""

import json
import os
import sys
import warnings

os.environ["SCIPY_ARRAY_API"] = "1"     # before SciPy is imported

import numpy as np
import sklearn.neural_network
from sklearn.utils.estimator_checks import check_estimator, check_param_validation

import fastbp.sklearn
from fastbp.sklearn import inputs


def single():
    """Convert every checked X of a fit to float32: the same checks with float32 arithmetic."""
    checked = inputs.checked

    def in_single(estimator, X, *y, **how):
        found = checked(estimator, X, *y, **how)
        return (found[0].astype(np.float32), found[1]) if y else found

    inputs.checked = in_single


def run(whose, dtype, max_iter=100):
    module = fastbp.sklearn if whose == "fastbp" else sklearn.neural_network
    results = {}
    if dtype == "float32":
        single()
    for name in ("MLPClassifier", "MLPRegressor"):
        cls = getattr(module, name)
        for solver in ("lbfgs", "sgd", "adam"):
            # A check wants probabilities below 1, to which float32 rounds all above 1 - 3e-8, and above 0: it compares
            # predict_log_proba, which is finite here, with the logarithm of 0. Smaller weights keep them there.
            alpha = 1.0 if (name, solver) == ("MLPClassifier", "lbfgs") else 0.1 if dtype == "float32" else 1e-4
            estimator = cls(solver=solver, max_iter=int(max_iter), alpha=alpha)
            check_param_validation(name, estimator)
            found = check_estimator(estimator, on_fail=None, on_skip=None)
            results[f"{name} {solver}"] = {
                check["check_name"]: [check["status"], repr(check["exception"])] for check in found
            }
    return results


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(run(*sys.argv[1:])))
