"""check_estimator over classes and solvers, as JSON: run by test_sklearn_suites.py in a process of its own.

python sklearn_checks.py fastbp|sklearn float64|float32 [max_iter] -> {"MLPRegressor sgd": {check: [status, exception]}}
"""

import json
import os
import sys
import warnings

os.environ["SCIPY_ARRAY_API"] = "1"     # before SciPy is imported

import numpy as np
import sklearn.neural_network
from sklearn.utils.estimator_checks import check_estimator

import fastbp.sklearn


def single(cls):
    """The class with every X in float32 once it is checked: the same checks on float32 arithmetic."""

    def _validate_input(self, X, y, *args, **kwargs):
        X, y, target = cls._validate_input(self, X, y, *args, **kwargs)
        return X.astype(np.float32), y, target

    return type(cls.__name__, (cls,), {"_validate_input": _validate_input, "__module__": cls.__module__})


def run(whose, dtype, max_iter=100):
    module = fastbp.sklearn if whose == "fastbp" else sklearn.neural_network
    results = {}
    for name in ("MLPClassifier", "MLPRegressor"):
        cls = getattr(module, name)
        if dtype == "float32":
            # pickle finds a class by its name
            cls = globals()[name] = single(cls)
            cls.__module__ = __name__
        for solver in ("lbfgs", "sgd", "adam"):
            # a check wants probabilities below 1, to which float32 rounds all above 1 - 3e-8: smaller weights
            alpha = 0.1 if dtype == "float32" else 1e-4
            found = check_estimator(cls(solver=solver, max_iter=int(max_iter), alpha=alpha), on_fail=None, on_skip=None)
            results[f"{name} {solver}"] = {
                check["check_name"]: [check["status"], repr(check["exception"])] for check in found
            }
    return results


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(run(*sys.argv[1:])))
