"""A search over networks with scikit-learn's tools: scaled digits, random settings, two jobs in threads.

    python examples/sklearn_search.py

The compiled steps release the GIL, so threads are as fast as processes, and nothing is copied.
"""

import time
import warnings

import joblib
from scipy.stats import loguniform
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import RandomizedSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastbp
from fastbp.sklearn import MLPClassifier

SETTINGS = {
    "mlpclassifier__hidden_layer_sizes": [(20,), (50,), (100,), (50, 20)],
    "mlpclassifier__activation": ["relu", "tanh", "gelu"],
    "mlpclassifier__alpha": loguniform(1e-4, 10),
    "mlpclassifier__learning_rate_init": loguniform(1e-3, 3e-2),
}


def main():
    X, y = fastbp.datasets.load_digits()
    X, X_test, y, y_test = train_test_split(X, y, random_state=0, stratify=y)
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(max_iter=30, random_state=0))
    search = RandomizedSearchCV(pipeline, SETTINGS, n_iter=20, cv=3, scoring="neg_log_loss", random_state=0)
    started = time.perf_counter()
    with joblib.parallel_config(backend="threading", n_jobs=2), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(X, y)
    print(f"{20 * 3 + 1} networks in {time.perf_counter() - started:.1f} s")
    for name, value in search.best_params_.items():
        print(f"  {name.removeprefix('mlpclassifier__')}: {value}")
    print(f"held-out accuracy: {100 * search.best_estimator_.score(X_test, y_test):.1f} %")


if __name__ == "__main__":
    main()
