"""MLPClassifier and MLPRegressor with scikit-learn's interface and results, computed by fastbp, and with additions.

    from fastbp.sklearn import MLPClassifier, MLPRegressor

The estimators hold no arithmetic: they make scikit-learn's checks, then use Network and Trainer.
docs/from_scikit_learn.md lists what is the same and what differs.
"""

try:
    import sklearn
except ImportError as error:
    raise ImportError(
        "fastbp.sklearn needs scikit-learn 1.7 or newer: pip install 'fastbp[sklearn]'"
    ) from error

if tuple(int(part) for part in sklearn.__version__.split(".")[:2]) < (1, 7):
    raise ImportError(f"fastbp.sklearn needs scikit-learn 1.7 or newer; installed is {sklearn.__version__}")

from . import overrides
from .classifier import MLPClassifier
from .regressor import MLPRegressor

overrides.adopt(MLPClassifier, overrides.MLPClassifier)
overrides.adopt(MLPRegressor, overrides.MLPRegressor)

__all__ = ["MLPClassifier", "MLPRegressor"]
